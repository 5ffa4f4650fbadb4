//! Stock workers' connections: gateways agree on them here.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use muster_core::{Timestamp, WorkerId};
use muster_store::{
    Error, Result, runs,
    stock::{self, Connection},
    workers,
};

use crate::{Data, now};

/// How long after its last sign of life a master's builders count for the union that stock workers are told: a
/// worker that deletes left-over directories must not lose those of a master that is being moved or mended.
const BUILDERS_KEPT: i64 = 7 * 24 * 3600;

/// Dials that a gateway may make for one connection of a stock worker: one for each engine that it is led to, at most one
/// a second for twelve days. Then the connection is closed, and the worker comes anew.
const DIALS: i64 = 1 << 20;

/// A stock worker that has come to a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StockArrival {
    /// Which one.
    pub worker: WorkerId,
    /// It asks for the first time.
    pub is_first: bool,
    /// Whoever has the worker had time enough to object.
    pub insists: bool,
}

/// How it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StockStanding {
    /// It is this gateway's.
    Taken {
        /// The JSON of what may still run on it.
        commands: String,
        /// Numbers for the dials under its name, until it is lost again.
        dials: Range<i64>,
    },
    /// Another gateway was asked for its word.
    Waits,
    /// The other one keeps it.
    Busy,
    /// A third one was asked about later.
    Late,
    /// There is no such worker.
    Unknown,
}

/// What one row says to one arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Take,
    Displace,
    Challenge,
    Wait,
    Busy,
    Late,
}

impl Data {
    /// Settles whose connections these workers' are, for the gateway of this incarnation. Each worker stands there once.
    pub async fn stock_workers_arrive(
        &self,
        gateway: &str,
        arrivals: &[StockArrival],
    ) -> Result<Vec<StockStanding>> {
        let mut ids: Vec<WorkerId> = arrivals.iter().map(|arrival| arrival.worker).collect();
        ids.sort_unstable();
        let ids = &ids;
        let settled = self.db().tx("stock_workers_arrive", |tx| async move {
            let rows = stock::lock(&tx, ids).await?;
            let foreign =
                rows.iter().any(|row| row.holder.as_deref().is_some_and(|holder| holder != gateway));
            let live = if foreign { stock::live_incarnations(&tx).await? } else { Default::default() };
            let is_live = |incarnation: &str| live.contains(incarnation);
            let verdicts: HashMap<WorkerId, (Verdict, Connection)> = rows
                .into_iter()
                .filter_map(|row| {
                    let arrival = arrivals.iter().find(|arrival| arrival.worker == row.worker)?;
                    Some((row.worker, (verdict(&row, arrival, gateway, &is_live), row)))
                })
                .collect();
            let with = |wanted: Verdict| -> Vec<WorkerId> {
                ids.iter()
                    .copied()
                    .filter(|id| verdicts.get(id).is_some_and(|found| found.0 == wanted))
                    .collect()
            };
            let (mut taken, displaced) = (with(Verdict::Take), with(Verdict::Displace));
            stock::take(&tx, &taken, gateway).await?;
            stock::displace(&tx, &displaced, gateway).await?;
            stock::challenge(&tx, &with(Verdict::Challenge), gateway).await?;
            taken.extend(displaced);
            // After the lock of the connection: a dial of whoever had it before has a lower number, however late it comes.
            let dials = workers::reserve_dials(&tx, &taken, DIALS, super::dials::plausible_dial()).await?;
            let dials = |worker: &WorkerId| {
                let last = dials.get(worker).copied().unwrap_or_default();
                last + 1..last + DIALS
            };
            let standing = |arrival: &StockArrival| match verdicts.get(&arrival.worker) {
                None => StockStanding::Unknown,
                Some((Verdict::Take | Verdict::Displace, row)) => {
                    StockStanding::Taken { commands: row.commands.clone(), dials: dials(&row.worker) }
                }
                Some((Verdict::Challenge | Verdict::Wait, _)) => StockStanding::Waits,
                Some((Verdict::Busy, _)) => StockStanding::Busy,
                Some((Verdict::Late, _)) => StockStanding::Late,
            };
            Ok::<_, Error>(arrivals.iter().map(standing).collect::<Vec<StockStanding>>())
        });
        settled.await.map(|committed| committed.into_inner())
    }

    /// These workers have no connection at this gateway any more.
    pub async fn stock_workers_leave(&self, gateway: &str, workers: &[WorkerId]) -> Result<()> {
        let left = self
            .db()
            .tx("stock_workers_leave", |tx| async move { stock::leave(&tx, workers, gateway).await });
        left.await.map(|committed| committed.into_inner())
    }

    /// Workers of this gateway that others want, and whether they have them already. Each loss is told once.
    pub async fn stock_workers_wanted(&self, gateway: &str) -> Result<Vec<(WorkerId, bool)>> {
        let anything =
            self.db().read("stock_workers_wanted", |tx| async move { stock::is_anything_wanted(&tx).await });
        if !anything.await? {
            return Ok(Vec::new());
        }
        let wanted =
            self.db().tx("stock_workers_wanted", |tx| async move { stock::wanted(&tx, gateway).await });
        wanted.await.map(|committed| committed.into_inner())
    }

    /// This gateway keeps a worker that was challenged.
    pub async fn stock_worker_stays(&self, gateway: &str, worker: WorkerId) -> Result<()> {
        let kept =
            self.db().tx("stock_worker_stays", |tx| async move { stock::keep(&tx, worker, gateway).await });
        kept.await.map(|committed| committed.into_inner())
    }

    /// Notes what a worker may run (JSON). `false`: it is not this gateway's.
    pub async fn stock_worker_runs(&self, gateway: &str, worker: WorkerId, commands: &str) -> Result<bool> {
        let noted = self
            .db()
            .tx("stock_worker_runs", |tx| async move { stock::note(&tx, worker, gateway, commands).await });
        noted.await.map(|committed| committed.into_inner())
    }

    /// The names of workers whose connections a gateway has and on which builds run.
    pub async fn stock_workers_building(&self, gateway: &str) -> Result<HashSet<String>> {
        self.db()
            .read("stock_workers_building", |tx| async move { stock::building(&tx, gateway).await })
            .await
    }

    /// Of these workers those whose last life as a stock worker is over for good, by boot id: nothing comes of its commands
    /// any more.
    pub async fn lost_stock_lives(&self, workers: &[WorkerId]) -> Result<Vec<(WorkerId, String)>> {
        self.db().read("lost_stock_lives", |tx| async move { stock::lost_lives(&tx, workers).await }).await
    }

    /// The numbers of the snapshots that any master of the cluster has in force.
    pub async fn snapshots_in_force(&self) -> Result<Vec<i64>> {
        let since = Timestamp(now().0 - BUILDERS_KEPT);
        self.db().read("snapshots_in_force", |tx| async move { stock::in_force(&tx, since).await }).await
    }

    /// The numbers of the snapshots that other masters of the cluster have in force.
    pub async fn snapshots_in_force_elsewhere(&self) -> Result<Vec<i64>> {
        let since = Timestamp(now().0 - BUILDERS_KEPT);
        let me = self.collapse_policy().master;
        let read = self.db().read("snapshots_in_force_elsewhere", |tx| async move {
            stock::in_force_elsewhere(&tx, since, me).await
        });
        read.await
    }

    /// The text of a snapshot.
    pub async fn snapshot(&self, id: i64) -> Result<Option<String>> {
        self.db().read("snapshot", |tx| async move { runs::snapshot(&tx, id).await }).await
    }
}

/// A holder keeps its worker until it says otherwise, is dead, or was silent for too long. Of several that want a worker
/// the latest one gets it.
fn verdict(
    row: &Connection,
    arrival: &StockArrival,
    gateway: &str,
    is_live: &dyn Fn(&str) -> bool,
) -> Verdict {
    let Some(holder) = row.holder.as_deref().filter(|holder| *holder != gateway && is_live(holder)) else {
        let other =
            row.challenger.as_deref().filter(|challenger| *challenger != gateway && is_live(challenger));
        // The holder has just made way for somebody else, who looks again in a moment.
        let made_way = row.holder.is_none() && other.is_some() && !arrival.is_first;
        return if made_way { Verdict::Late } else { Verdict::Take };
    };
    debug_assert_ne!(holder, gateway);
    if arrival.is_first {
        return Verdict::Challenge;
    }
    match (row.refused.as_deref(), row.challenger.as_deref()) {
        (Some(refused), _) if refused == gateway => Verdict::Busy,
        (_, Some(challenger)) if challenger != gateway && is_live(challenger) => Verdict::Late,
        _ if arrival.insists => Verdict::Displace,
        (_, Some(_)) => Verdict::Wait,
        // Somebody else's question was settled meanwhile.
        (_, None) => Verdict::Challenge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: StockArrival = StockArrival { worker: WorkerId(1), is_first: true, insists: false };
    const AGAIN: StockArrival = StockArrival { is_first: false, ..FIRST };
    const INSISTS: StockArrival = StockArrival { insists: true, ..AGAIN };

    /// Gateway `b` asks; `dead` is not alive.
    fn asked(
        arrival: StockArrival,
        holder: Option<&str>,
        challenger: Option<&str>,
        refused: Option<&str>,
    ) -> Verdict {
        let row = Connection {
            worker: WorkerId(1),
            holder: holder.map(str::to_owned),
            challenger: challenger.map(str::to_owned),
            refused: refused.map(str::to_owned),
            commands: "[]".into(),
        };
        verdict(&row, &arrival, "b", &|incarnation| incarnation != "dead")
    }

    #[test]
    fn a_worker_without_a_live_holder_is_taken() {
        for holder in [None, Some("b"), Some("dead")] {
            assert_eq!(asked(FIRST, holder, None, None), Verdict::Take, "{holder:?}");
        }
        assert_eq!(asked(AGAIN, None, Some("b"), None), Verdict::Take, "the holder made way");
    }

    #[test]
    fn a_live_holder_is_asked_and_waited_for_but_not_for_ever() {
        assert_eq!(
            asked(FIRST, Some("a"), None, Some("b")),
            Verdict::Challenge,
            "an old refusal is forgotten"
        );
        assert_eq!(asked(AGAIN, Some("a"), Some("b"), None), Verdict::Wait);
        assert_eq!(asked(AGAIN, Some("a"), None, Some("b")), Verdict::Busy);
        assert_eq!(asked(INSISTS, Some("a"), Some("b"), None), Verdict::Displace);
    }

    #[test]
    fn of_two_challengers_the_later_one_wins() {
        assert_eq!(asked(FIRST, Some("a"), Some("c"), None), Verdict::Challenge);
        assert_eq!(asked(AGAIN, Some("a"), Some("c"), None), Verdict::Late);
        assert_eq!(asked(AGAIN, None, Some("c"), None), Verdict::Late);
        assert_eq!(asked(AGAIN, Some("a"), Some("dead"), None), Verdict::Wait);
    }
}
