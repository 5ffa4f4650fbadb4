//! Other masters: one that stands still is taken over.
//!
//! A peer is expired only by an observer that has seen its counter stand still for lease and margin on the observer's
//! own clock, while it could read the database all the time. So no wall clock matters, and a database that was away
//! expires nobody.

use std::{collections::HashMap, time::Duration};

use muster_core::MasterId;
use muster_data::Lease;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::Engine;

/// How often peers are looked at: as often as they raise their counters.
const LOOK: Duration = Duration::from_millis(1500);
/// How long a counter may stand still: the lease of 6 s and a margin of a third.
const STANDSTILL: Duration = Duration::from_secs(8);

/// Watches the peers until `leaving`.
pub(crate) async fn run(engine: Engine, leaving: CancellationToken) {
    let mut observer = Observer::default();
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = leaving.cancelled() => return,
        }
        match engine.data().leases_of_others(engine.master()).await {
            Ok(leases) => {
                for lease in observer.standing_still(leases, Instant::now()) {
                    take_over(&engine, &lease, &leaving).await;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "can't look at other masters");
                observer = Observer::default();
            }
        }
    }
}

async fn take_over(engine: &Engine, lease: &Lease, leaving: &CancellationToken) {
    match engine.data().take_over(lease, engine.master()).await {
        Ok(Some(runs)) => {
            tracing::warn!(master = %lease.master, builds = runs.len(), "a master stands still; taking over");
            engine.take_up(runs, leaving).await;
            engine.0.runs.poke();
        }
        Ok(None) => {}
        Err(error) => tracing::error!(master = %lease.master, %error, "can't take over from a master"),
    }
}

/// What was seen of the peers' counters.
#[derive(Default)]
struct Observer(HashMap<MasterId, (Lease, Instant)>);

impl Observer {
    /// Notes the leases as they are now; answers those that have stood still for too long.
    fn standing_still(&mut self, leases: Vec<Lease>, now: Instant) -> Vec<Lease> {
        let mut seen = HashMap::with_capacity(leases.len());
        let mut still = Vec::new();
        for lease in leases {
            let since = match self.0.get(&lease.master) {
                Some((known, since)) if *known == lease => *since,
                _ => now,
            };
            if now.duration_since(since) >= STANDSTILL {
                still.push(lease.clone());
            }
            seen.insert(lease.master, (lease, since));
        }
        self.0 = seen;
        still
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(counter: i64) -> Lease {
        Lease { master: MasterId(1), incarnation: "a".to_owned(), counter }
    }

    #[test]
    fn only_a_counter_that_stands_still_for_long_is_expired() {
        let mut observer = Observer::default();
        let start = Instant::now();
        assert!(observer.standing_still(vec![lease(1)], start).is_empty());
        assert!(observer.standing_still(vec![lease(1)], start + STANDSTILL / 2).is_empty());
        assert!(observer.standing_still(vec![lease(2)], start + STANDSTILL).is_empty());
        assert!(observer.standing_still(vec![lease(2)], start + STANDSTILL * 3 / 2).is_empty());
        assert_eq!(observer.standing_still(vec![lease(2)], start + STANDSTILL * 2), [lease(2)]);
    }

    #[test]
    fn a_new_incarnation_starts_anew() {
        let mut observer = Observer::default();
        let start = Instant::now();
        assert!(observer.standing_still(vec![lease(1)], start).is_empty());
        let restarted = Lease { incarnation: "b".to_owned(), ..lease(1) };
        assert!(observer.standing_still(vec![restarted], start + STANDSTILL).is_empty());
    }
}
