//! Other masters: one that stands still is taken over.
//!
//! A peer is expired only by an observer that has seen its counter stand still for lease and margin on the observer's
//! own clock, while it could read the database all the time. So no wall clock matters, and a database that was away
//! expires nobody.

use std::collections::HashMap;

use muster_core::{
    MasterId,
    lease::{RENEWAL, STANDSTILL},
};
use muster_data::{Data, Lease};
use muster_store::runs::{RunKey, RunRow};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::Engine;

/// Looks at the masters between two looks at runs without an owner and at Buildbot's masters: those are rare, and mostly
/// found at once.
const LOOKS_BETWEEN: u32 = 3;

/// Watches the peers until `stop`. A master without an engine expires them, too; only an engine takes over their builds.
pub async fn watch_peers(data: Data, me: MasterId, engine: Option<Engine>, stop: CancellationToken) {
    let mut observer = Observer::default();
    let mut orphans = Orphans::default();
    let mut looks = 0;
    let mut regained = data.trust().regained();
    // As often as they raise their counters.
    let mut ticks = interval(RENEWAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        // Who could not renew its own lease has not seen what the others did.
        if !data.trust().is_held() {
            observer = Observer::default();
            continue;
        }
        regained.mark_unchanged();
        match data.leases_of_others(me).await {
            // A database that hung has held up the others' renewals as well: nobody is to blame for that time.
            Ok(_) if !data.trust().is_held() || regained.has_changed().unwrap_or(true) => {
                observer = Observer::default();
            }
            Ok(leases) => {
                for lease in observer.standing_still(leases, Instant::now()) {
                    end(&data, me, engine.as_ref(), &lease).await;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "can't look at other masters");
                observer = Observer::default();
            }
        }
        looks += 1;
        if looks % LOOKS_BETWEEN == 0 {
            expire_buildbots(&data).await;
        }
        if let Some(engine) = engine.as_ref().filter(|_| looks % LOOKS_BETWEEN == 0) {
            engine.adopt_orphans(&mut orphans).await;
        }
    }
}

async fn expire_buildbots(data: &Data) {
    match data.expire_buildbots().await {
        Ok(expired) => {
            for master in expired {
                tracing::warn!(%master, "a Buildbot master was silent for ten minutes; what it had is free");
            }
        }
        Err(error) => tracing::debug!(%error, "can't look at Buildbot's masters"),
    }
}

async fn end(data: &Data, me: MasterId, engine: Option<&Engine>, lease: &Lease) {
    let taken = match engine {
        Some(engine) => engine.take_over(lease).await,
        None => data.expire(lease).await.map(|expired| expired.then_some(0)),
    };
    match taken {
        Ok(Some(builds)) => {
            tracing::warn!(master = %lease.master, builds, "a master stands still; its lease is ended");
            metrics::counter!("muster_masters_expired_total").increment(1);
        }
        Ok(None) => {}
        Err(error) => tracing::error!(%me, master = %lease.master, %error, "can't end the lease of a master"),
    }
}

impl Engine {
    async fn take_over(&self, lease: &Lease) -> muster_store::Result<Option<usize>> {
        let Some(runs) = self.data().take_over(lease, self.master()).await? else { return Ok(None) };
        let builds = runs.len();
        self.go_on_with(runs).await;
        Ok(Some(builds))
    }

    /// Takes over the runs of masters that are gone. Somebody without an engine may have ended their lease, or they
    /// stopped and don't come back.
    async fn adopt_orphans(&self, orphans: &mut Orphans) {
        self.go_on_with(self.0.runs.again()).await;
        let adopted = async {
            let due = orphans.due(self.data().orphaned_runs().await?, Instant::now());
            self.data().adopt_orphans(due, self.master()).await
        };
        match adopted.await {
            Ok(runs) if runs.is_empty() => {}
            Ok(runs) => {
                tracing::warn!(builds = runs.len(), "takes over builds of masters that are gone");
                self.go_on_with(runs).await;
            }
            Err(error) => tracing::error!(%error, "can't look for builds without a master; trying again"),
        }
    }

    async fn go_on_with(&self, runs: Vec<RunRow>) {
        if runs.is_empty() {
            return;
        }
        self.take_up(runs, &self.0.leaving).await;
        self.0.runs.poke();
    }
}

/// Runs of masters that stopped, and since when they are seen: such a master mostly comes back for them at once.
#[derive(Default)]
struct Orphans(HashMap<RunKey, Instant>);

impl Orphans {
    fn due(&mut self, orphans: Vec<(RunRow, bool)>, now: Instant) -> Vec<RunRow> {
        let mut seen = HashMap::new();
        let mut due = Vec::new();
        for (run, stopped) in orphans {
            let since = self.0.get(&run.key).copied().unwrap_or(now);
            seen.insert(run.key, since);
            if !stopped || now.duration_since(since) >= STANDSTILL {
                due.push(run);
            }
        }
        self.0 = seen;
        due
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
