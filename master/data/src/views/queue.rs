//! What waits, and why.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::{
    BuilderId, RequestId, Timestamp, WorkerId,
    retries::{self, Streak},
};
use muster_store::{Result, Tx, builds, reasons, views};
use serde::Serialize;

use super::{MAX_PENDING, MAX_RUNNING, MAX_WORKERS, PendingLine, PendingSummary, RunningBuild, WorkerLine};
use crate::{Data, now};

/// A request that waits, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Waiting {
    /// The request.
    #[serde(flatten)]
    pub request: PendingLine,
    /// Its place in the queue of its builder, from 1.
    pub position: usize,
    /// Why it waits, for people.
    pub why: String,
}

/// The queue.
#[derive(Clone, Debug, Serialize)]
pub struct PendingPage {
    /// What waits, next first.
    pub waiting: Vec<Waiting>,
    /// Figures over all of it.
    pub summary: PendingSummary,
}

/// How much there is to do, in the whole cluster.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What waits.
    pub pending: PendingSummary,
    /// Builds that run under a Muster master.
    pub running: i64,
}

impl Data {
    /// How much there is to do.
    pub async fn load(&self) -> Result<Load> {
        self.db()
            .read("load", |tx| async move {
                let pending = views::pending_summary(&tx).await?;
                Ok(Load { pending, running: views::running_count(&tx).await? })
            })
            .await
    }

    /// The queue.
    pub async fn pending_page(&self) -> Result<PendingPage> {
        self.db().read("page_pending", |tx| async move { pending_page(&tx, None).await }).await
    }
}

/// What waits, of one builder or of all.
pub(super) async fn pending_page(tx: &Tx, only: Option<BuilderId>) -> Result<PendingPage> {
    let requests = views::pending(tx, only, MAX_PENDING).await?;
    let mut summary = views::pending_summary(tx).await?;
    if only.is_some() {
        summary.count = requests.len() as i64;
        summary.oldest = requests.iter().map(|request| request.submitted_at).min();
    }
    if requests.is_empty() {
        return Ok(PendingPage { waiting: Vec::new(), summary });
    }
    let floor = Floor::read(tx).await?;
    let waits = waits(tx, &requests.iter().map(|request| request.id).collect::<Vec<_>>(), now()).await?;
    let mut positions: BTreeMap<BuilderId, usize> = BTreeMap::new();
    let waiting = |request: PendingLine| {
        let position = positions.entry(request.builder).or_default();
        *position += 1;
        let why = waits.get(&request.id).cloned().unwrap_or_else(|| floor.why(request.builder));
        Waiting { why, position: *position, request }
    };
    Ok(PendingPage { waiting: requests.into_iter().map(waiting).collect(), summary })
}

/// Those of the requests that wait because of how their last builds ended, and the words for that.
pub(crate) async fn waits(
    tx: &Tx,
    requests: &[RequestId],
    now: Timestamp,
) -> Result<BTreeMap<RequestId, String>> {
    let past = builds::past_of_requests(tx, requests).await?;
    let waits = past.into_iter().filter_map(|(request, past)| {
        let streak = retries::of_request(past)?;
        (!streak.left(request.0, now).is_zero()).then(|| (request, wait_after(&streak, request)))
    });
    Ok(waits.collect())
}

fn wait_after(streak: &Streak, request: RequestId) -> String {
    let until = streak.until(request.0).0.rem_euclid(24 * 3600);
    let (hour, minute, second) = (until / 3600, until / 60 % 60, until % 60);
    let more = if streak.builds as usize >= retries::LOOKED_AT { " (or more)" } else { "" };
    format!(
        "its last {}{more} builds ended RETRY at once: it waits until {hour:02}:{minute:02}:{second:02} UTC",
        streak.builds
    )
}

/// The workers and what they do: enough to say why a builder's requests wait.
struct Floor {
    workers: BTreeMap<WorkerId, WorkerLine>,
    of_builder: BTreeMap<BuilderId, BTreeSet<WorkerId>>,
    running: Vec<RunningBuild>,
    /// What the masters say, which know more than the rows show.
    said: BTreeMap<Option<BuilderId>, String>,
}

impl Floor {
    async fn read(tx: &Tx) -> Result<Floor> {
        let workers = views::workers(tx, MAX_WORKERS).await?;
        let mut of_builder: BTreeMap<BuilderId, BTreeSet<WorkerId>> = BTreeMap::new();
        for pair in views::workers_of_builders(tx, None).await? {
            of_builder.entry(pair.builder).or_default().insert(pair.worker);
        }
        Ok(Floor {
            workers: workers.into_iter().map(|worker| (worker.id, worker)).collect(),
            of_builder,
            running: views::running(tx, MAX_RUNNING).await?,
            said: reasons::of_masters(tx).await?.into_iter().collect(),
        })
    }

    fn why(&self, builder: BuilderId) -> String {
        let Some(ids) = self.of_builder.get(&builder) else {
            return "no running master has this builder with a worker".to_owned();
        };
        let workers: Vec<&WorkerLine> = ids.iter().filter_map(|id| self.workers.get(id)).collect();
        let connected: Vec<&WorkerLine> = workers.iter().copied().filter(|worker| worker.connected).collect();
        if connected.is_empty() {
            return format!("{} not connected", listed(&workers));
        }
        let usable: Vec<&WorkerLine> =
            connected.iter().copied().filter(|worker| !worker.paused && !worker.graceful).collect();
        if usable.is_empty() {
            return paused(&connected);
        }
        if let Some(said) = self.said.get(&Some(builder)).or_else(|| self.said.get(&None)) {
            return said.clone();
        }
        let busy: Vec<String> = usable.iter().filter_map(|worker| self.busy(worker)).collect();
        match busy.len() < usable.len() {
            true => "a worker is free: it waits for a lock, or starts in a moment".to_owned(),
            false => busy.join(", "),
        }
    }

    fn busy(&self, worker: &WorkerLine) -> Option<String> {
        let build = self.running.iter().find(|build| build.worker == Some(worker.id))?;
        Some(format!("{} runs {} #{}", worker.name, build.builder_name, build.number))
    }
}

/// Names of some workers with their verb, such as `w1 and 3 others are`.
fn listed(workers: &[&WorkerLine]) -> String {
    match workers {
        [] => "its worker is".to_owned(),
        [one] => format!("{} is", one.name),
        [one, two] => format!("{} and {} are", one.name, two.name),
        [one, rest @ ..] => format!("{} and {} others are", one.name, rest.len()),
    }
}

fn paused(workers: &[&WorkerLine]) -> String {
    let reason =
        workers.iter().find_map(|worker| worker.pause_reason.clone()).filter(|reason| !reason.is_empty());
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("{} paused{reason}", listed(workers))
}

#[cfg(test)]
mod tests {
    use muster_core::BuildId;

    use super::*;

    #[test]
    fn a_wait_is_told_with_its_reason_and_its_end() {
        let streak = Streak { builds: 4, last: BuildId(9), ended: Timestamp(1_700_000_000) };
        let until = streak.until(7);
        assert!(until.0 > 1_700_000_005 && until.0 < 1_700_000_012);
        let clock = format!("22:13:{:02}", until.0 - 1_699_999_980);
        let wanted = format!("its last 4 builds ended RETRY at once: it waits until {clock} UTC");
        assert_eq!(wait_after(&streak, RequestId(7)), wanted);
        let many = Streak { builds: retries::LOOKED_AT as u32, ..streak };
        assert!(wait_after(&many, RequestId(7)).starts_with("its last 12 (or more) builds"));
    }
}
