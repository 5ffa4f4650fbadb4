//! The queue of pending requests, kept between two looks, and the workers that may take none.
//!
//! To find the best of all requests costs what all of them cost: Buildbot's table has no index by priority. So they are
//! read together, at the beginning and every few seconds, and in between events say which rows are worth a look. What was
//! read may be old; the claim is the judge.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use muster_bus::{Event, Received};
use muster_core::{BuilderId, BuildsetId, RequestId, Timestamp, WorkerId};
use muster_data::Data;
use muster_store::{
    Error, Result, Tx,
    buildsets::{self, Pending},
    workers,
};
use serde_json::Value;
use tokio::time::Instant;

use super::{LOOK_AGAIN, waiting::Waiting};

/// Pending requests that are read together, best first; of those that are kept, half. Some megabytes.
const CONSIDERED: usize = 20_000;
/// Pending requests of a builder that stay when others need the room.
const OF_EACH: usize = 20;
/// Pending requests of a builder that asks Python, which is shown all of them.
const SHOWN: usize = 500;
/// Rows that are looked at one by one; more news than these, and all are read.
const NEWS: usize = 500;
/// The share of the time that reading everything may take: one in so many.
const SHARE: u32 = 10;

/// What is known of the queue.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Waiting,
    /// Workers that are paused or asked to go, as of when they were looked for. The claim looks again.
    barred: BTreeSet<WorkerId>,
    /// The builders it was read for.
    builders: Arc<BTreeSet<BuilderId>>,
    /// The last one that was read, when there are more.
    last: Option<Rank>,
    /// Builders that were looked at behind it, too: how far, when there are more.
    beyond: BTreeMap<BuilderId, Option<Rank>>,
    /// Requests of which something was heard since.
    news: BTreeSet<RequestId>,
    /// Some worker has been paused, or may go on.
    workers_changed: bool,
    /// Builders of which a request was completed since that was asked for.
    completed: BTreeSet<BuilderId>,
    /// Requests that were tried and did not get a build: somebody else has them, or their worker was gone.
    in_vain: Vec<RequestId>,
    /// Anything may have changed since it was read.
    stale: bool,
    /// `None` until it was read, and after that has failed.
    read_at: Option<Instant>,
    cost: Duration,
    /// Somebody could build.
    wanted: bool,
}

/// In which order requests are read: priority, age, id.
type Rank = (Reverse<i64>, Timestamp, RequestId);

fn rank(pending: &Pending) -> Rank {
    (Reverse(pending.priority), pending.submitted_at, pending.id)
}

/// The pending requests of one builder, best first.
pub(super) async fn pending(data: &Data, builder: BuilderId) -> Result<Vec<Pending>> {
    let read = data
        .db()
        .look("pending_requests", |tx| async move { buildsets::pending(&tx, &[builder], SHOWN).await });
    Ok(read.await?.into_iter().collect::<Waiting>().of(builder).cloned().collect())
}

impl Queue {
    /// A look has failed: everything is read again at the next one.
    pub(super) fn forget(&mut self) {
        self.read_at = None;
    }

    /// Notes what an event tells; whether that is worth a look.
    pub(super) fn hear(&mut self, received: &Received) -> bool {
        let Received::Event(event) = received else {
            self.stale = true;
            return true;
        };
        match What::of(event) {
            Some(What::New(pending)) => self.add(vec![pending]),
            Some(What::MayBePending(request)) if self.news.len() < NEWS => {
                self.news.insert(request);
            }
            Some(What::MayBePending(_)) => self.stale = true,
            Some(What::Gone(request)) => {
                self.completed.extend(completed_builder(event));
                self.waiting.remove(request);
                return false;
            }
            Some(What::Worker) => self.workers_changed = true,
            None => return false,
        }
        true
    }

    /// When it should be looked at again because everything has to be read and it was too early for that.
    pub(super) fn due(&self) -> Option<Instant> {
        self.read_at.filter(|_| self.stale && self.wanted).map(|at| at + self.cost * SHARE)
    }

    /// Brings it up to date. `all` are the builders of the configuration, `is_able` tells which of them could build now.
    pub(super) async fn refresh(
        &mut self,
        data: &Data,
        all: &Arc<BTreeSet<BuilderId>>,
        is_able: impl Fn(BuilderId) -> bool,
    ) -> Result<()> {
        self.wanted = all.iter().any(|builder| is_able(*builder));
        if !self.wanted {
            return Ok(());
        }
        self.stale |= !Arc::ptr_eq(all, &self.builders);
        if self.must_be_read() { self.read(data, all.clone()).await } else { self.read_news(data).await }
    }

    /// Reads what is hidden behind requests that can't be built now, because their builders' locks are held or no worker is
    /// free: those of builders that could build and of which nothing is known. Whether there are some.
    pub(super) async fn read_beyond(
        &mut self,
        data: &Data,
        is_able: impl Fn(BuilderId) -> bool,
    ) -> Result<bool> {
        let hidden: Vec<BuilderId> =
            self.builders.iter().copied().filter(|builder| self.may_be_hidden(*builder)).collect();
        let hidden: Vec<BuilderId> = hidden.into_iter().filter(|builder| is_able(*builder)).collect();
        if hidden.is_empty() {
            return Ok(false);
        }
        if self.waiting.len() > CONSIDERED {
            self.make_room();
        }
        let ids = hidden.as_slice();
        let read = data
            .db()
            .look("pending_requests", |tx| async move { buildsets::pending(&tx, ids, CONSIDERED).await });
        let requests = read.await?;
        let last = requests.last().filter(|_| requests.len() == CONSIDERED).map(rank);
        self.beyond.extend(hidden.into_iter().map(|builder| (builder, last)));
        let found = !requests.is_empty();
        requests.into_iter().for_each(|pending| self.waiting.insert(pending));
        Ok(found)
    }

    /// Whether a builder has nothing here, and may have something that was not read.
    fn may_be_hidden(&self, builder: BuilderId) -> bool {
        self.read_to(builder).is_some() && self.waiting.of(builder).next().is_none()
    }

    /// The last request up to which a builder's are known; `None`: all are.
    fn read_to(&self, builder: BuilderId) -> Option<Rank> {
        self.beyond.get(&builder).copied().unwrap_or(self.last)
    }

    /// Keeps the best of each builder: there is room for others, and what goes is found again when it is missed.
    fn make_room(&mut self) {
        let builders: Vec<BuilderId> = self.waiting.builders().collect();
        for builder in builders {
            let mut ranked: Vec<(Rank, RequestId)> =
                self.waiting.of(builder).map(|pending| (rank(pending), pending.id)).collect();
            if ranked.len() <= OF_EACH {
                continue;
            }
            ranked.sort_unstable();
            self.beyond.insert(builder, Some(ranked[OF_EACH - 1].0));
            ranked.drain(..OF_EACH);
            ranked.into_iter().for_each(|(_, request)| self.waiting.remove(request));
        }
    }

    fn must_be_read(&self) -> bool {
        let Some(read_at) = self.read_at else { return true };
        let age = read_at.elapsed();
        (self.stale && age >= self.cost * SHARE) || age >= LOOK_AGAIN
    }

    async fn read(&mut self, data: &Data, builders: Arc<BTreeSet<BuilderId>>) -> Result<()> {
        let begin = Instant::now();
        let ids: Vec<BuilderId> = builders.iter().copied().collect();
        let ids = ids.as_slice();
        let read = data.db().look("pending_requests", |tx| async move {
            let barred = barred(&tx).await?;
            Ok::<_, Error>((buildsets::pending(&tx, ids, CONSIDERED).await?, barred))
        });
        let (requests, barred) = read.await?;
        self.last = requests.last().filter(|_| requests.len() == CONSIDERED).map(rank);
        self.beyond.clear();
        self.waiting = requests.into_iter().collect();
        self.barred = barred;
        self.builders = builders;
        self.news.clear();
        (self.workers_changed, self.stale) = (false, false);
        self.cost = begin.elapsed();
        self.read_at = Some(Instant::now());
        Ok(())
    }

    async fn read_news(&mut self, data: &Data) -> Result<()> {
        if self.news.is_empty() && !self.workers_changed {
            return Ok(());
        }
        let news: Vec<RequestId> = self.news.iter().copied().collect();
        let (news, workers_changed) = (news.as_slice(), self.workers_changed);
        let read = data.db().look("news_of_requests", |tx| async move {
            let barred = if workers_changed { Some(barred(&tx).await?) } else { None };
            Ok::<_, Error>((buildsets::pending_among(&tx, news).await?, barred))
        });
        let (requests, barred) = read.await?;
        self.add(requests);
        self.barred = barred.unwrap_or_else(|| std::mem::take(&mut self.barred));
        self.news.clear();
        self.workers_changed = false;
        Ok(())
    }

    /// What goes behind all that was read is found by the next reading: there may be others before it.
    fn add(&mut self, requests: Vec<Pending>) {
        for pending in requests {
            let is_behind = self.read_to(pending.builder).is_some_and(|last| rank(&pending) > last);
            if is_behind || !self.builders.contains(&pending.builder) {
                continue;
            }
            if self.waiting.len() < 2 * CONSIDERED {
                self.waiting.insert(pending);
            } else {
                self.stale = true;
            }
        }
    }

    /// Builders of which requests were completed since the last call.
    pub(super) fn take_completed(&mut self) -> BTreeSet<BuilderId> {
        std::mem::take(&mut self.completed)
    }

    pub(super) fn barred(&self) -> &BTreeSet<WorkerId> {
        &self.barred
    }

    pub(super) fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// These are tried now.
    pub(super) fn remove(&mut self, tried: &[RequestId]) {
        tried.iter().for_each(|request| self.waiting.remove(*request));
    }

    /// Whether some that were tried in vain wait to be tried again.
    pub(super) fn has_tried_in_vain(&self) -> bool {
        !self.in_vain.is_empty()
    }

    /// These got no build. Not at once, they would be tried again and again; but after the next event they may.
    pub(super) fn tried_in_vain(&mut self, requests: impl IntoIterator<Item = RequestId>) {
        self.in_vain.extend(requests);
    }

    /// Something has happened: what was tried in vain may be tried again.
    pub(super) fn look_again(&mut self) {
        self.workers_changed |= !self.in_vain.is_empty();
        self.stale |= self.news.len() + self.in_vain.len() > NEWS;
        let room = NEWS.saturating_sub(self.news.len());
        self.news.extend(self.in_vain.drain(..).take(room));
    }
}

async fn barred(tx: &Tx) -> Result<BTreeSet<WorkerId>> {
    Ok(workers::barred(tx).await?.into_iter().collect())
}

/// What an event tells about the queue.
enum What {
    /// A request is new; the event says all about it that the row does.
    New(Pending),
    /// A request is new, was given back, or has another priority: its row is to be looked at.
    MayBePending(RequestId),
    /// A request was claimed or completed.
    Gone(RequestId),
    /// A worker's state has changed.
    Worker,
}

impl What {
    fn of(event: &Event) -> Option<What> {
        event.topics.iter().find_map(|topic| {
            let [kind, id, what] = topic.0.as_slice() else { return None };
            let request = || id.parse().ok().map(RequestId);
            match (kind.as_str(), what.as_str()) {
                ("buildrequests", "new") => {
                    new_request(&event.payload).map(What::New).or_else(|| request().map(What::MayBePending))
                }
                ("buildrequests", "unclaimed" | "update") => request().map(What::MayBePending),
                ("buildrequests", "claimed" | "complete") => request().map(What::Gone),
                ("workers", "state_updated") => Some(What::Worker),
                _ => None,
            }
        })
    }
}

/// The builder of the request that an event tells to be complete.
fn completed_builder(event: &Event) -> Option<BuilderId> {
    event.payload.get("complete").and_then(Value::as_bool).filter(|complete| *complete)?;
    event.payload.get("builderid").and_then(Value::as_i64).map(BuilderId)
}

/// The request that an event shows. `None`: it isn't shown whole, or isn't pending any more.
fn new_request(payload: &Value) -> Option<Pending> {
    let int = |field| payload.get(field).and_then(Value::as_i64);
    let flag = |field| payload.get(field).and_then(Value::as_bool);
    if flag("claimed")? || flag("complete")? {
        return None;
    }
    Some(Pending {
        id: RequestId(int("buildrequestid")?),
        buildset: BuildsetId(int("buildsetid")?),
        builder: BuilderId(int("builderid")?),
        priority: int("priority")?,
        submitted_at: Timestamp(int("submitted_at")?),
        waited_for: flag("waited_for")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pending(id: i64, builder: i64) -> Pending {
        Pending {
            id: RequestId(id),
            buildset: BuildsetId(1),
            builder: BuilderId(builder),
            priority: 0,
            submitted_at: Timestamp(id),
            waited_for: false,
        }
    }

    fn read(requests: &[Pending], cost: Duration) -> Queue {
        Queue {
            waiting: requests.iter().cloned().collect(),
            builders: Arc::new([1, 2, 3].map(BuilderId).into()),
            read_at: Some(Instant::now()),
            cost,
            wanted: true,
            ..Queue::default()
        }
    }

    fn event(path: &str, payload: Value) -> Received {
        Received::Event(Arc::new(Event::new([path.to_owned()], payload)))
    }

    #[test]
    fn events_say_what_is_worth_a_look() {
        let mut queue = read(&[pending(1, 1), pending(2, 1)], Duration::ZERO);
        assert!(!queue.hear(&event("builds/3/new", json!({}))));
        assert!(queue.hear(&event("buildrequests/7/new", json!({}))));
        assert!(queue.hear(&event("buildrequests/8/unclaimed", json!({}))));
        assert!(queue.hear(&event("buildrequests/9/update", json!({}))));
        assert_eq!(queue.news, [7, 8, 9].map(RequestId).into());
        assert!(!queue.hear(&event("buildrequests/2/claimed", json!({}))), "there is only less to do");
        assert_eq!(queue.waiting.of(BuilderId(1)).map(|pending| pending.id.0).collect::<Vec<_>>(), [1]);
        assert!(queue.hear(&event("workers/4/state_updated", json!({}))) && queue.workers_changed);
        assert!(!queue.stale && !queue.must_be_read(), "none of it takes reading everything");
        assert!(queue.hear(&Received::Missed(1)) && queue.stale && queue.must_be_read());
    }

    #[test]
    fn a_new_request_that_an_event_shows_whole_is_not_looked_for() {
        let mut queue = read(&[], Duration::ZERO);
        let shown = json!({
            "buildrequestid": 7, "buildsetid": 3, "builderid": 2, "priority": 4, "submitted_at": 1_700_000_000,
            "waited_for": false, "claimed": false, "complete": false, "results": -1,
        });
        assert!(queue.hear(&event("buildrequests/7/new", shown.clone())));
        let known: Vec<Pending> = queue.waiting.of(BuilderId(2)).cloned().collect();
        let wanted = Pending {
            id: RequestId(7),
            buildset: BuildsetId(3),
            builder: BuilderId(2),
            priority: 4,
            submitted_at: Timestamp(1_700_000_000),
            waited_for: false,
        };
        assert_eq!((known, queue.news.len()), (vec![wanted], 0));
        for (field, value) in [("claimed", json!(true)), ("complete", json!(true)), ("priority", Value::Null)]
        {
            let mut queue = read(&[], Duration::ZERO);
            let mut shown = shown.clone();
            shown[field] = value;
            assert!(queue.hear(&event("buildrequests/7/new", shown)));
            assert_eq!((queue.waiting.len(), queue.news.len()), (0, 1), "{field}");
        }
    }

    #[test]
    fn more_news_than_are_looked_at_one_by_one_make_it_stale() {
        let mut queue = read(&[], Duration::ZERO);
        for id in 0..=NEWS {
            queue.hear(&event(&format!("buildrequests/{id}/new"), json!({})));
        }
        assert!(queue.stale && queue.news.len() == NEWS);
    }

    #[test]
    fn what_is_tried_in_vain_waits_for_the_next_event() {
        let mut queue = read(&[], Duration::ZERO);
        queue.tried_in_vain([RequestId(5)]);
        assert!(queue.news.is_empty());
        queue.look_again();
        assert!(queue.news.contains(&RequestId(5)) && queue.workers_changed);
    }

    #[test]
    fn new_ones_do_not_overtake_those_that_were_not_read() {
        let mut queue = read(&[pending(1, 1), pending(5, 2)], Duration::ZERO);
        queue.last = Some(rank(&pending(5, 2)));
        queue.add(vec![pending(4, 1), pending(6, 1), pending(3, 9)]);
        assert_eq!(queue.waiting.of(BuilderId(1)).map(|pending| pending.id.0).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(queue.waiting.len(), 3, "and builder 9 is not this master's");
    }

    #[test]
    fn what_was_read_further_for_some_builders_is_known_for_them() {
        let mut queue = read(&[pending(1, 1)], Duration::ZERO);
        queue.last = Some(rank(&pending(5, 1)));
        assert!(queue.may_be_hidden(BuilderId(2)) && !queue.may_be_hidden(BuilderId(1)));
        queue.beyond = [(BuilderId(2), None), (BuilderId(3), Some(rank(&pending(9, 3))))].into();
        assert!(!queue.may_be_hidden(BuilderId(2)) && queue.may_be_hidden(BuilderId(3)));
        queue.add(vec![pending(6, 1), pending(7, 2), pending(8, 3), pending(10, 3)]);
        let ids = |builder| queue.waiting.of(BuilderId(builder)).map(|known| known.id.0).collect::<Vec<_>>();
        assert_eq!((ids(1), ids(2), ids(3)), (vec![1], vec![7], vec![8]));
    }

    #[test]
    fn the_best_of_each_builder_stay_when_others_need_room() {
        let requests: Vec<Pending> = (0..100).map(|id| pending(id, 1 + id % 2)).collect();
        let mut queue = read(&requests, Duration::ZERO);
        queue.make_room();
        let ids: Vec<i64> = queue.waiting.of(BuilderId(1)).map(|known| known.id.0).collect();
        assert_eq!(ids, (0..40).step_by(2).collect::<Vec<i64>>());
        assert_eq!(queue.read_to(BuilderId(1)), Some(rank(&pending(38, 1))));
        queue.waiting = Waiting::default();
        assert!(queue.may_be_hidden(BuilderId(1)) && !queue.may_be_hidden(BuilderId(3)));
    }

    #[test]
    fn everything_is_read_now_and_then_but_not_all_the_time() {
        let mut queue = read(&[pending(1, 1)], Duration::from_secs(60));
        assert_eq!((queue.must_be_read(), queue.due()), (false, None));
        queue.stale = true;
        assert!(!queue.must_be_read() && queue.due().is_some_and(|due| due > Instant::now()));
        queue.wanted = false;
        assert_eq!(queue.due(), None, "nobody could build");
        queue.forget();
        assert!(queue.must_be_read());
    }
}
