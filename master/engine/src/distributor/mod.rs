//! The distributor: ready requests × free workers (`docs/compat/behaviour-2-builds.md` 2.2).
//!
//! Builders whose configuration asks Python (`nextWorker`, `nextBuild`, `canStartBuild`, …) are looked after by a task
//! each, so that a slow answer delays the builder that asked and nobody else.

mod asking;
mod holds;
mod order;
mod queue;
mod waiting;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use muster_bus::Subscription;
use muster_config::snapshot::BuilderConfig;
use muster_core::{
    BuilderId, BuildsetId, RequestId,
    retries::{self, Past},
};
use muster_data::{NewRun, Started};
use muster_store::{Error, builds, buildsets::Pending, workers};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use asking::Asking;
pub(crate) use holds::Holds;
use order::Ordering;
use queue::Queue;
use waiting::Waiting;

use crate::{
    Active, Engine,
    places::Reservation,
    plan::Plan,
    reasons::From,
    run::{
        locks,
        properties::{self, Asked},
    },
    runner::Begin,
    sessions::Slot,
};

/// How often work is looked for although no event came.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long a database that refuses is left alone, whatever events come meanwhile.
const AFTER_ERROR: Duration = Duration::from_millis(500);
/// Builds that are started in one transaction.
const BATCH: usize = 32;

/// Distributes until `leaving`.
pub(crate) async fn run(engine: Engine, leaving: CancellationToken) {
    let mut events = engine.data().bus().subscribe();
    let mut workers = engine.slots().changes();
    let mut ends = engine.0.runs.ends();
    let mut releases = engine.0.releases.subscribe();
    let mut collapses = engine.data().collapse_questions().changes();
    let asking = Asking::default();
    let mut queue = Queue::default();
    let mut ordering = Ordering::default();
    let mut in_vain = 0;
    let tasks = TaskTracker::new();
    while !leaving.is_cancelled() {
        workers.mark_unchanged();
        ends.mark_unchanged();
        releases.mark_unchanged();
        collapses.mark_unchanged();
        while let Some(received) = events.try_next() {
            queue.hear(&received);
        }
        let look = Look { engine: &engine, active: engine.active(), leaving: &leaving };
        match look.once(&mut queue, &mut ordering, &asking, &tasks).await {
            // There may be more than one look considers.
            Ok(Outcome::Began) => {
                in_vain = 0;
                continue;
            }
            Ok(Outcome::Nothing) => in_vain = 0,
            Ok(Outcome::InVain) => in_vain += 1,
            Err(error) => {
                tracing::error!(%error, "can't look for build requests; trying again");
                queue.forget();
                let _ = tokio::time::timeout(AFTER_ERROR, leaving.cancelled()).await;
            }
        }
        let due = [queue.due(), engine.0.holds.next()].into_iter().flatten().min();
        let reading_is_due = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = hear_news(&mut events, &mut queue) => {}
            () = reading_is_due => {}
            _ = workers.changed() => {}
            _ = ends.changed() => {}
            _ = releases.changed() => {}
            _ = collapses.changed() => {}
            () = tokio::time::sleep(pause_after(in_vain)) => {}
            () = leaving.cancelled() => {}
        }
        queue.look_again();
    }
    tasks.close();
    tasks.wait().await;
}

/// How long nothing is looked at unless something happens, after so many looks that tried requests and got none of them.
fn pause_after(in_vain: u32) -> Duration {
    match in_vain {
        0 => LOOK_AGAIN,
        // Another master was faster, and there may be more; or a worker is not ours any more, and that will show.
        _ => LOOK_AGAIN.min(Duration::from_millis(5) * 2_u32.pow(in_vain.min(10))),
    }
}

/// Waits for an event that is worth a look.
async fn hear_news(events: &mut Subscription, queue: &mut Queue) {
    while let Some(received) = events.next().await {
        if queue.hear(&received) {
            return;
        }
    }
    // The bus is gone; the timer still works.
    std::future::pending().await
}

/// One look at requests and workers, under one configuration.
struct Look<'a> {
    engine: &'a Engine,
    active: Arc<Active>,
    leaving: &'a CancellationToken,
}

/// What a look came to.
enum Outcome {
    /// There was nothing to try.
    Nothing,
    /// Requests were tried, and somebody else has them, or their workers.
    InVain,
    Began,
}

/// A request that got a worker.
struct Match {
    pending: Pending,
    slot: Slot,
    reservation: Reservation,
}

/// What a request got.
enum Choice {
    Found(Box<Match>),
    /// There are workers, and locks are held: which, and by whom.
    Locked(String),
    /// There is no room on a worker.
    Full,
}

impl Look<'_> {
    /// Starts what can be started at once, and tasks for builders that ask Python.
    async fn once(
        &self,
        queue: &mut Queue,
        ordering: &mut Ordering,
        asking: &Asking,
        tasks: &TaskTracker,
    ) -> muster_store::Result<Outcome> {
        let begin = Instant::now();
        let mut ready = self.connected_workers();
        let all = &self.active.builder_ids;
        queue.refresh(self.engine.data(), all, |builder| self.is_able(builder, &ready)).await?;
        ready.retain(|slot| !queue.barred().contains(&slot.id()));
        let order = self.order(queue, ordering, &ready).await?;
        let mut matches = self.matches(queue.waiting(), &order, &ready, asking, tasks).await?;
        if matches.is_empty()
            && queue.read_beyond(self.engine.data(), |builder| self.is_able(builder, &ready)).await?
        {
            let order = self.order(queue, ordering, &ready).await?;
            matches = self.matches(queue.waiting(), &order, &ready, asking, tasks).await?;
        }
        if matches.is_empty() {
            // Those that were tried along with others which began are not forgotten.
            return Ok(if queue.has_tried_in_vain() { Outcome::InVain } else { Outcome::Nothing });
        }
        let tried: Vec<RequestId> = matches.iter().map(|found| found.pending.id).collect();
        queue.remove(&tried);
        let chosen = Instant::now();
        let started = self.start(matches).await?;
        queue.tried_in_vain(tried.into_iter().filter(|request| !started.contains(request)));
        if started.is_empty() {
            return Ok(Outcome::InVain);
        }
        metrics::histogram!("muster_distributor_seconds", "part" => "choose").record(chosen - begin);
        metrics::histogram!("muster_distributor_seconds", "part" => "start").record(chosen.elapsed());
        Ok(Outcome::Began)
    }

    /// Workers for the best requests.
    async fn matches(
        &self,
        waiting: &Waiting,
        order: &[BuilderId],
        ready: &[Slot],
        asking: &Asking,
        tasks: &TaskTracker,
    ) -> muster_store::Result<Vec<Match>> {
        let mut matches = Vec::new();
        let (mut locked, mut asked) = (BTreeMap::new(), BTreeSet::new());
        for id in order.iter().copied() {
            let Some(builder) = self.builder(id) else { continue };
            if asking::asks(&self.active.snapshot, builder) {
                asked.insert(id);
                asking::look_after(self.engine, id, asking, tasks, self.leaving);
                continue;
            }
            for pending in waiting.of(id).filter(|pending| self.may_build(pending)) {
                if matches.len() == BATCH {
                    return Ok(matches);
                }
                // What one request of a builder does not get, the others don't get either.
                match self.choose(pending, builder, ready).await? {
                    Choice::Found(found) => matches.push(*found),
                    Choice::Locked(why) => {
                        locked.insert(id, why);
                        break;
                    }
                    Choice::Full => break,
                }
            }
        }
        let reasons = &self.engine.0.reasons;
        reasons.keep(From::Locks, &locked.keys().copied().collect());
        reasons.keep(From::Choice, &asked);
        for (id, why) in locked {
            reasons.say(Some(id), From::Locks, why);
        }
        Ok(matches)
    }

    fn connected_workers(&self) -> Vec<Slot> {
        let holds = &self.engine.0.holds;
        let all = self.engine.slots().all().into_iter();
        all.filter(|slot| slot.is_ready() && !holds.has_worker(slot.id())).collect()
    }

    /// Whether a request may be built here, and doesn't wait because of how its last builds ended.
    fn may_build(&self, pending: &Pending) -> bool {
        self.engine.takes(pending) && !self.engine.0.holds.has_request(pending.id)
    }

    /// The workers that may take builds.
    async fn ready_workers(&self) -> muster_store::Result<Vec<Slot>> {
        let mut ready = self.connected_workers();
        if !ready.is_empty() {
            let data = self.engine.data();
            let read = data.db().look("barred_workers", |tx| async move { workers::barred(&tx).await });
            let barred = read.await?;
            ready.retain(|slot| !barred.contains(&slot.id()));
        }
        Ok(ready)
    }

    /// Whether a builder has a free worker among these.
    fn is_able(&self, builder: BuilderId, ready: &[Slot]) -> bool {
        ready.iter().any(|slot| self.is_candidate(slot, builder))
    }

    fn builder(&self, id: BuilderId) -> Option<&BuilderConfig> {
        self.active.builder(id)
    }

    /// The workers of a builder that could take a build of it now.
    fn candidates(&self, builder: BuilderId, ready: &[Slot]) -> Vec<Slot> {
        ready.iter().filter(|slot| self.is_candidate(slot, builder)).cloned().collect()
    }

    fn is_candidate(&self, slot: &Slot, builder: BuilderId) -> bool {
        self.active.may_build(slot.name(), builder)
            && self.engine.0.runs.reservations.has_room(builder, slot.name(), self.max_builds(slot))
    }

    fn max_builds(&self, slot: &Slot) -> Option<u32> {
        self.active.worker(slot.name())?.max_builds
    }

    /// A worker for a request, at random, whose locks and the builder's look free.
    async fn choose(
        &self,
        pending: &Pending,
        builder: &BuilderConfig,
        ready: &[Slot],
    ) -> muster_store::Result<Choice> {
        let mut candidates = self.candidates(pending.builder, ready);
        fastrand::shuffle(&mut candidates);
        let mut choice = Choice::Full;
        for slot in candidates {
            if let Some(why) = self.locks_in_the_way(builder, &slot).await? {
                choice = Choice::Locked(why);
                continue;
            }
            if let Some(reservation) = self.reserve(pending.builder, &slot) {
                return Ok(Choice::Found(Box::new(Match { pending: pending.clone(), slot, reservation })));
            }
        }
        Ok(choice)
    }

    fn reserve(&self, builder: BuilderId, slot: &Slot) -> Option<Reservation> {
        self.engine.0.runs.reservations.reserve(builder, slot.name(), self.max_builds(slot))
    }

    /// What keeps a build from taking its locks, and those of the worker.
    async fn locks_in_the_way(
        &self,
        builder: &BuilderConfig,
        slot: &Slot,
    ) -> muster_store::Result<Option<String>> {
        let snapshot = &self.active.snapshot;
        let mut wishes = locks::wishes(snapshot, locks::known(&builder.locks), slot.name());
        if let Some(worker) = self.active.worker(slot.name()) {
            wishes.extend(locks::wishes(snapshot, locks::known(&worker.locks), slot.name()));
        }
        self.engine.data().locks_in_the_way(&wishes).await
    }

    /// Starts the runs together. When one has something that won't ever be stored, the others begin without it.
    async fn start_runs(&self, wanted: &[NewRun]) -> muster_store::Result<Vec<Started>> {
        let (data, master) = (self.engine.data(), self.engine.master());
        match data.start_runs(master, wanted).await {
            Err(Error::Unstorable { .. }) => {}
            started => return started,
        }
        let mut started = Vec::new();
        for run in wanted {
            match data.start_runs(master, std::slice::from_ref(run)).await {
                Ok(began) => started.extend(began),
                Err(error @ Error::Unstorable { .. }) => {
                    tracing::error!(request = %run.request, %error, "a build can't begin: its request has to be cancelled");
                }
                Err(error) => return if started.is_empty() { Err(error) } else { Ok(started) },
            }
        }
        Ok(started)
    }

    /// Those that don't have to wait because of how the last builds of their request, or on their worker, ended.
    async fn let_wait(
        &self,
        matches: Vec<(Match, Asked)>,
        past: &BTreeMap<RequestId, Vec<Past>>,
    ) -> muster_store::Result<Vec<(Match, Asked)>> {
        let holds = &self.engine.0.holds;
        let mut begin = Vec::with_capacity(matches.len());
        for (found, asked) in matches {
            let Match { pending, slot, .. } = &found;
            if slot.is_doubtful() {
                let (db, worker) = (self.engine.data().db(), slot.id());
                let read =
                    db.look("past_of_worker", |tx| async move { builds::past_of_worker(&tx, worker).await });
                let streak = retries::of_worker(read.await?);
                if streak.is_none() {
                    slot.trust();
                }
                holds.note_worker(worker, slot.name(), streak);
            }
            let streak = past.get(&pending.id).and_then(|past| retries::of_request(past.iter().copied()));
            let waits = streak.is_some() && holds.note_request(pending.id, streak);
            if !waits && !holds.has_worker(slot.id()) {
                begin.push((found, asked));
            }
        }
        Ok(begin)
    }

    /// Claims the requests and begins the builds that were won; answers which.
    async fn start(&self, matches: Vec<Match>) -> muster_store::Result<BTreeSet<RequestId>> {
        let mut wanted = Vec::with_capacity(matches.len());
        let mut ready: BTreeMap<RequestId, (Match, Asked)> = BTreeMap::new();
        let sets: Vec<BuildsetId> = matches.iter().map(|found| found.pending.buildset).collect();
        let requests: Vec<RequestId> = matches.iter().map(|found| found.pending.id).collect();
        let (asked, past) = Asked::load_with_past(self.engine.data().db(), &sets, &requests).await?;
        for (found, asked) in self.let_wait(matches.into_iter().zip(asked).collect(), &past).await? {
            let Some(plan) = self.active.plan(found.pending.builder) else { continue };
            let properties = properties::assemble(&self.active, found.pending.builder, &found.slot, &asked);
            wanted.push(NewRun {
                request: found.pending.id,
                builder: found.pending.builder,
                worker: found.slot.id(),
                snapshot: self.active.ids.snapshot,
                plan,
                properties: self.engine.data().storable(&properties),
            });
            ready.insert(found.pending.id, (found, asked));
        }
        if wanted.is_empty() {
            return Ok(BTreeSet::new());
        }
        let started = self.start_runs(&wanted).await?;
        let won = started.iter().map(|run| run.request).collect();
        let mut properties: BTreeMap<RequestId, _> =
            wanted.into_iter().map(|run| (run.request, run.properties)).collect();
        for run in started {
            let (Some((found, asked)), Some(mut properties)) =
                (ready.remove(&run.request), properties.remove(&run.request))
            else {
                continue;
            };
            let Some(builder) = self.builder(found.pending.builder) else { continue };
            properties.set("buildnumber", run.number, "Build");
            let begin = Begin {
                key: run.key,
                request: run.request,
                builder: found.pending.builder,
                number: run.number,
                plan: Plan::of(builder),
                slot: found.slot,
                properties,
                sources: asked.sources,
                rows: Vec::new(),
                ordered: None,
                carried_out: None,
                reservation: Some(found.reservation),
            };
            self.engine.begin(begin, self.leaving);
        }
        Ok(won)
    }
}
