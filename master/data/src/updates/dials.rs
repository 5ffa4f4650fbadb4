//! Workers come and go.

use muster_core::{MasterId, WorkerId};
use muster_store::{
    Error, Result, query, runs,
    runs::{RunKey, RunRow},
    workers::{self, Dial, DialOutcome},
};
use serde_json::{Map, Value};

use super::{
    control::{event_about, worker_event},
    runs::adopt,
};
use crate::{Data, now};

/// A worker that dials a master.
#[derive(Clone, Debug)]
pub struct WorkerDial {
    /// Which one.
    pub worker: WorkerId,
    /// The life of its process.
    pub boot_id: String,
    /// Higher than that of any dial before, over all its lives.
    pub dial_no: i64,
    /// The incarnation of the gateway that dials for a stock worker.
    pub gateway: Option<String>,
    /// What of its information is kept.
    pub info: Map<String, Value>,
}

/// What a worker's dial came to.
#[derive(Clone, Debug)]
pub enum Dialled {
    /// The session is here now.
    Won {
        /// Builds on this worker that another master had.
        moved: Vec<RunRow>,
        /// All runs on this worker: they are this master's now.
        runs: Vec<RunKey>,
    },
    /// A later dial of the worker was here already.
    Lost {
        /// A number that the worker's next dial has to surpass.
        highest: i64,
    },
}

/// Where the clock is at least: one that begins in 1970 must not keep workers out.
const AT_LEAST: i64 = 1_750_000_000;
/// How far the number of a dial may be ahead of the clock: ten years, as the session protocol has it.
const MAX_AHEAD: i64 = 10 * 366 * 24 * 3600;

/// The highest number of a dial that can be a worker's: it counts on from the seconds since 1970.
pub fn plausible_dial() -> i64 {
    now().0.max(AT_LEAST) + MAX_AHEAD
}

impl Data {
    /// Workers dial this master, each one once. If a dial wins the session, the builds on that worker come along: a build
    /// follows its worker, and its former owner is fenced. The answers are in the order of the dials.
    pub async fn workers_dial(&self, master: MasterId, dials: &[WorkerDial]) -> Result<Vec<Dialled>> {
        self.may_act()?;
        let mut infos = Vec::with_capacity(dials.len());
        for dial in dials {
            infos.push(muster_store::json_text(&dial.info)?);
        }
        let for_session: Vec<Dial> = dials
            .iter()
            .map(|dial| Dial {
                worker: dial.worker,
                boot_id: dial.boot_id.clone(),
                dial_no: dial.dial_no,
                gateway: dial.gateway.clone(),
            })
            .collect();
        let (for_session, infos) = (&for_session, &infos);
        let committed = self.db().tx("workers_dial", |tx| async move {
            let outcomes = workers::win_sessions(&tx, for_session, master, plausible_dial()).await?;
            let won: Vec<(WorkerId, String)> = for_session
                .iter()
                .zip(infos)
                .zip(&outcomes)
                .filter(|(_, outcome)| **outcome == DialOutcome::Won)
                .map(|((dial, info), _)| (dial.worker, info.clone()))
                .collect();
            let here: Vec<WorkerId> = won.iter().map(|(worker, _)| *worker).collect();
            workers::connected(&tx, master, &won).await?;
            let moved = adopt(&tx, runs::of_workers_elsewhere(&tx, &here, master).await?, master).await?;
            let keys = runs::keys_on(&tx, &here).await?;
            let dialled = |(dial, outcome): (&Dial, DialOutcome)| match outcome {
                DialOutcome::Lost { highest } => Dialled::Lost { highest },
                DialOutcome::Won => Dialled::Won {
                    moved: moved.iter().filter(|run| run.worker == dial.worker).cloned().collect(),
                    runs: keys
                        .iter()
                        .filter(|(worker, _)| *worker == dial.worker)
                        .map(|(_, key)| *key)
                        .collect(),
                },
            };
            let dialled: Vec<Dialled> = for_session.iter().zip(outcomes).map(dialled).collect();
            let connected = query::workers::by_ids(&tx, &here).await?;
            let both = |worker| ["connected", "state_updated"].map(|what| event_about(worker, what));
            let events = connected.iter().flat_map(both).collect();
            Ok::<_, Error>((dialled, events))
        });
        Ok(self.tell(committed.await?))
    }

    /// A worker's connection is gone.
    pub async fn worker_is_gone(&self, master: MasterId, worker: WorkerId) -> Result<()> {
        let committed = self.db().tx("worker_is_gone", |tx| async move {
            workers::disconnected(&tx, master, worker).await?;
            Ok::<_, Error>(((), vec![worker_event(&tx, worker, "disconnected").await?]))
        });
        self.tell(committed.await?);
        Ok(())
    }
}
