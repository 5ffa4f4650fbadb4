//! The head of the queue of pending requests, kept between two looks, and the workers that may take none.
//!
//! Reading it costs what all pending requests together cost, and a look comes with every build that ends. So what was
//! read is used up first; the claim tells what is pending no longer. News make it be read again, but never so often
//! that the database would do nothing else.

use std::{collections::BTreeSet, time::Duration};

use muster_core::{BuilderId, RequestId, WorkerId};
use muster_data::Data;
use muster_store::{
    Error, Result,
    buildsets::{self, Pending},
    workers,
};
use tokio::time::Instant;

use super::LOOK_AGAIN;

/// Pending requests that are read at once, best first.
const CONSIDERED: usize = 500;
/// The share of the time that reading may take while the queue is not used up: one in so many.
const SHARE: u32 = 10;

/// What is known of the queue.
#[derive(Default)]
pub(super) struct Queue {
    requests: Vec<Pending>,
    /// Workers that are paused or asked to go, as of then. The claim looks again.
    barred: BTreeSet<WorkerId>,
    /// The builders it was read for.
    builders: BTreeSet<BuilderId>,
    /// There are more than were read.
    more: bool,
    /// Something may have changed since it was read.
    stale: bool,
    /// `None` until it was read, and after that has failed.
    read_at: Option<Instant>,
    cost: Duration,
    /// Somebody could build.
    wanted: bool,
}

/// The pending requests of builders that could build, best first.
pub(super) async fn pending(data: &Data, builders: &[BuilderId]) -> Result<Vec<Pending>> {
    let read = data
        .db()
        .look("pending_requests", |tx| async move { buildsets::pending(&tx, builders, CONSIDERED).await });
    read.await
}

impl Queue {
    /// Something has changed: it is read again, as soon as that is not too much.
    pub(super) fn is_stale(&mut self) {
        self.stale = true;
    }

    /// A look has failed: it is read again at the next one.
    pub(super) fn forget(&mut self) {
        self.read_at = None;
    }

    /// When it should be looked at again because news wait for it.
    pub(super) fn due(&self) -> Option<Instant> {
        self.read_at.filter(|_| self.stale && self.wanted).map(|at| at + self.cost * SHARE)
    }

    /// The pending requests of the builders that could build, as far as they are considered, and the workers that may take
    /// none of them. `able` tells which builders could, if these workers don't.
    pub(super) async fn of(
        &mut self,
        data: &Data,
        able: impl Fn(&BTreeSet<WorkerId>) -> Vec<BuilderId> + Sync,
    ) -> Result<(Vec<Pending>, &BTreeSet<WorkerId>)> {
        self.wanted = !able(&BTreeSet::new()).is_empty();
        if !self.wanted {
            return Ok((Vec::new(), &self.barred));
        }
        if self.must_be_read(&able(&self.barred)) {
            let begin = Instant::now();
            let able = &able;
            let read = data.db().look("pending_requests", |tx| async move {
                let barred: BTreeSet<WorkerId> = workers::barred(&tx).await?.into_iter().collect();
                let builders = able(&barred);
                let requests = match builders.as_slice() {
                    [] => Vec::new(),
                    builders => buildsets::pending(&tx, builders, CONSIDERED).await?,
                };
                Ok::<_, Error>((requests, barred, builders))
            });
            let builders;
            (self.requests, self.barred, builders) = read.await?;
            self.builders = builders.into_iter().collect();
            self.more = self.requests.len() == CONSIDERED;
            self.stale = false;
            self.cost = begin.elapsed();
            self.read_at = Some(Instant::now());
        }
        let able: BTreeSet<BuilderId> = able(&self.barred).into_iter().collect();
        let of_them = self.requests.iter().filter(|pending| able.contains(&pending.builder));
        Ok((of_them.cloned().collect(), &self.barred))
    }

    fn must_be_read(&self, able: &[BuilderId]) -> bool {
        let Some(read_at) = self.read_at else { return true };
        let known = able.iter().all(|builder| self.builders.contains(builder));
        let used_up = self.more && !self.requests.iter().any(|pending| able.contains(&pending.builder));
        let news = self.stale && read_at.elapsed() >= self.cost * SHARE;
        !known || used_up || news || read_at.elapsed() >= LOOK_AGAIN
    }

    /// These were tried: they are taken, by this master or by another one.
    pub(super) fn remove(&mut self, tried: &BTreeSet<RequestId>) {
        self.requests.retain(|pending| !tried.contains(&pending.id));
    }
}

#[cfg(test)]
mod tests {
    use muster_core::{BuildsetId, Timestamp};

    use super::*;

    fn read(builders: &[i64], more: bool, cost: Duration) -> Queue {
        let pending = |builder: &i64| Pending {
            id: RequestId(*builder),
            buildset: BuildsetId(1),
            builder: BuilderId(*builder),
            priority: 0,
            submitted_at: Timestamp(0),
            waited_for: false,
        };
        Queue {
            requests: builders.iter().map(pending).collect(),
            barred: BTreeSet::new(),
            builders: [1, 2, 3].map(BuilderId).into(),
            more,
            stale: false,
            read_at: Some(Instant::now()),
            cost,
            wanted: true,
        }
    }

    #[test]
    fn what_was_read_is_used_up_first() {
        let mut queue = read(&[1, 2], true, Duration::ZERO);
        assert!(!queue.must_be_read(&[BuilderId(1)]));
        queue.remove(&[RequestId(1)].into());
        assert!(queue.must_be_read(&[BuilderId(1)]), "there may be more");
        assert!(!queue.must_be_read(&[BuilderId(1), BuilderId(2)]));
        assert!(queue.must_be_read(&[BuilderId(4)]), "it was not read for this one");
        let queue = read(&[], false, Duration::ZERO);
        assert!(!queue.must_be_read(&[BuilderId(1)]), "there was nothing, and nothing has changed");
    }

    #[test]
    fn news_are_looked_at_but_not_all_the_time() {
        let mut queue = read(&[1], false, Duration::ZERO);
        assert_eq!(queue.due(), None);
        queue.is_stale();
        assert!(queue.due().is_some() && queue.must_be_read(&[BuilderId(1)]));
        let mut costly = read(&[1], false, Duration::from_secs(60));
        costly.is_stale();
        assert!(!costly.must_be_read(&[BuilderId(1)]));
        assert!(costly.due().is_some_and(|due| due > Instant::now()));
        costly.wanted = false;
        assert_eq!(costly.due(), None, "nobody could build");
        costly.forget();
        assert!(costly.must_be_read(&[BuilderId(1)]));
    }
}
