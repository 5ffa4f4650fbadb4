//! Whether this master may act: until two thirds of its lease after the moment before it asked for the last renewal.
//!
//! Others expire a master only after its counter has stood still for longer than a whole lease, so one that can't renew
//! stops before anybody takes over. The clock is the machine's own and counts the time it was suspended, too: a process
//! that was stopped finds out at its next look, before it does anything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use muster_core::lease::TRUST;
use tokio::sync::watch;

use crate::clock;

/// How long a wait for trust sleeps at most before it looks again; renewals wake it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Nobody has a lease to lose.
const FOR_EVER: u64 = u64::MAX;

/// A moment on the clock that counts suspended time, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// Now.
    pub fn now() -> Moment {
        Moment(clock::uptime())
    }

    /// So much later.
    pub fn plus(self, time: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The time that has passed since.
    pub fn elapsed(self) -> Duration {
        Duration::from_nanos(Moment::now().0.saturating_sub(self.0))
    }
}

/// Whether this master may act. Clones are the same trust.
#[derive(Clone)]
pub struct Trust(Arc<Inner>);

struct Inner {
    until: AtomicU64,
    /// The moment when it was held again after it had lapsed.
    since: AtomicU64,
    /// Counts renewals.
    renewed: watch::Sender<u64>,
    /// Counts those that came after the trust had lapsed.
    regained: watch::Sender<u64>,
}

impl Trust {
    /// Of a process that has no lease and needs none: a command, a test of one part.
    pub fn unlimited() -> Trust {
        Trust::ending_at(FOR_EVER)
    }

    /// Of a master that has not asked for its lease yet.
    pub fn none() -> Trust {
        Trust::ending_at(0)
    }

    fn ending_at(until: u64) -> Trust {
        Trust(Arc::new(Inner {
            until: AtomicU64::new(until),
            since: AtomicU64::new(0),
            renewed: watch::Sender::new(0),
            regained: watch::Sender::new(0),
        }))
    }

    /// The lease was renewed; `asked` is the moment before the renewal was sent.
    pub fn renew(&self, asked: Moment) {
        let had_lapsed = !self.is_held();
        if had_lapsed {
            self.0.since.store(Moment::now().0, Ordering::SeqCst);
        }
        self.0.until.fetch_max(asked.plus(TRUST).0, Ordering::SeqCst);
        self.0.renewed.send_modify(|count| *count += 1);
        if had_lapsed && self.is_held() {
            self.0.regained.send_modify(|count| *count += 1);
        }
    }

    /// The lease is lost, whatever the clock says.
    pub fn end(&self) {
        self.0.until.store(0, Ordering::SeqCst);
        self.0.renewed.send_modify(|count| *count += 1);
    }

    /// Whether this master may act now. Ask right before the act.
    pub fn is_held(&self) -> bool {
        let until = self.0.until.load(Ordering::SeqCst);
        until == FOR_EVER || Moment::now().0 < until
    }

    /// For how long this master has been able to act without a break; `None` while it can't.
    pub fn held_for(&self) -> Option<Duration> {
        if self.0.until.load(Ordering::SeqCst) == FOR_EVER {
            return Some(Duration::MAX);
        }
        self.is_held().then(|| Moment(self.0.since.load(Ordering::SeqCst)).elapsed())
    }

    /// Waits until this master may act. Safe to cancel.
    pub async fn held(&self) {
        let mut renewed = self.0.renewed.subscribe();
        while !self.is_held() {
            // An error means that the time is up; this handle holds the sender.
            let _ = tokio::time::timeout(LOOK_AGAIN, renewed.changed()).await;
        }
    }

    /// Tells when this master may act again after it could not.
    pub fn regained(&self) -> watch::Receiver<u64> {
        self.0.regained.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_counts_from_before_the_renewal_was_sent() {
        let trust = Trust::none();
        assert!(!trust.is_held());
        let now = Moment::now();
        trust.renew(Moment(now.0.saturating_sub(TRUST.as_nanos() as u64 + 1)));
        assert!(!trust.is_held(), "the answer took longer than the trust");
        trust.renew(now);
        assert!(trust.is_held());
        trust.end();
        assert!(!trust.is_held());
        assert!(Trust::unlimited().is_held());
    }

    #[test]
    fn a_break_begins_the_count_anew() {
        let trust = Trust::none();
        assert_eq!(trust.held_for(), None);
        trust.renew(Moment::now());
        let regained = trust.0.since.load(Ordering::SeqCst);
        trust.renew(Moment::now());
        assert_eq!(trust.0.since.load(Ordering::SeqCst), regained, "a renewal in time is no break");
        trust.end();
        assert_eq!(trust.held_for(), None);
        trust.renew(Moment::now());
        assert!(trust.held_for().is_some() && trust.0.since.load(Ordering::SeqCst) > regained);
        assert_eq!(Trust::unlimited().held_for(), Some(Duration::MAX));
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_with_the_next_renewal() {
        let trust = Trust::none();
        let waiting = tokio::spawn({
            let trust = trust.clone();
            async move { trust.held().await }
        });
        trust.renew(Moment::now());
        tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    }
}
