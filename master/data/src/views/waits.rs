//! Why a request waits: the one answer that REST, the pages and `muster cluster status` give.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::{
    BuilderId, RequestId, Timestamp, WorkerId,
    retries::{self, Streak},
};
use muster_store::{Result, Tx, builds, reasons, views, workers};

use super::{MAX_RUNNING, MAX_WORKERS, RunningBuild, WorkerLine};
use crate::now;

/// Workers whose state is told one by one; the others are counted.
const TOLD: usize = 3;
/// Free workers whose last builds are looked at; that others of a builder rest is not told.
const LOOKED_AT: usize = 50;

/// Why each of these requests, which nobody has taken, waits.
pub(crate) async fn waits_because(
    tx: &Tx,
    requests: &[(RequestId, BuilderId)],
) -> Result<BTreeMap<RequestId, String>> {
    if requests.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<RequestId> = requests.iter().map(|(id, _)| *id).collect();
    let mut reasons = after_retries(tx, &ids, now()).await?;
    let builders: BTreeSet<BuilderId> = requests.iter().map(|(_, builder)| *builder).collect();
    let floor = Floor::read(tx, &builders).await?;
    for (id, builder) in requests {
        reasons.entry(*id).or_insert_with(|| floor.why(*builder));
    }
    Ok(reasons)
}

/// Those of the requests that wait because of how their last builds ended, and the words for that.
async fn after_retries(
    tx: &Tx,
    requests: &[RequestId],
    now: Timestamp,
) -> Result<BTreeMap<RequestId, String>> {
    let past = builds::past_of_requests(tx, requests).await?;
    let waits = past.into_iter().filter_map(|(request, past)| {
        let streak = retries::of_request(past)?;
        let why = || format!("its last {}", retried(&streak, request.0, "it waits"));
        (!streak.left(request.0, now).is_zero()).then(|| (request, why()))
    });
    Ok(waits.collect())
}

/// Such as `4 builds ended RETRY at once: it waits until 22:13:20 UTC`.
fn retried(streak: &Streak, id: i64, what: &str) -> String {
    let until = streak.until(id).0.rem_euclid(24 * 3600);
    let (hour, minute, second) = (until / 3600, until / 60 % 60, until % 60);
    let more = if streak.builds as usize >= retries::LOOKED_AT { " (or more)" } else { "" };
    format!(
        "{}{more} builds ended RETRY at once: {what} until {hour:02}:{minute:02}:{second:02} UTC",
        streak.builds
    )
}

/// The masters, the workers and what they do: enough to say why a builder's requests wait.
#[derive(Default)]
struct Floor {
    workers: BTreeMap<WorkerId, WorkerLine>,
    of_builder: BTreeMap<BuilderId, BTreeSet<WorkerId>>,
    /// Masters that have a builder and take no builds, where no other does.
    stopping: BTreeMap<BuilderId, String>,
    running: Vec<RunningBuild>,
    /// How many builds a worker may run at a time.
    limits: BTreeMap<WorkerId, i64>,
    /// Workers that get no builds for a while, and why.
    resting: BTreeMap<WorkerId, String>,
    /// What the masters say, which know more than the rows show.
    said: BTreeMap<Option<BuilderId>, String>,
}

/// What keeps a worker from taking a build.
#[derive(Debug, PartialEq, Eq)]
enum Hindrance {
    None,
    /// It is not connected.
    Missing,
    Other(String),
}

impl Floor {
    async fn read(tx: &Tx, builders: &BTreeSet<BuilderId>) -> Result<Floor> {
        let only = match builders.len() {
            1 => builders.first().copied(),
            _ => None,
        };
        let workers = views::workers(tx, MAX_WORKERS).await?;
        let mut of_builder: BTreeMap<BuilderId, BTreeSet<WorkerId>> = BTreeMap::new();
        for pair in views::workers_of_builders(tx, only).await? {
            of_builder.entry(pair.builder).or_default().insert(pair.worker);
        }
        let mut floor = Floor {
            workers: workers.into_iter().map(|worker| (worker.id, worker)).collect(),
            of_builder,
            stopping: stopping(views::masters_of_builders(tx, only).await?),
            running: views::running(tx, MAX_RUNNING).await?,
            limits: workers::limits(tx).await?,
            resting: BTreeMap::new(),
            said: reasons::of_masters(tx).await?.into_iter().collect(),
        };
        let wanted: BTreeSet<WorkerId> =
            builders.iter().filter_map(|builder| floor.of_builder.get(builder)).flatten().copied().collect();
        let free = wanted.into_iter().filter(|id| floor.is_free(*id));
        for id in free.take(LOOKED_AT).collect::<Vec<_>>() {
            let streak = retries::of_worker(builds::past_of_worker(tx, id).await?);
            if let Some(streak) = streak.filter(|streak| !streak.left(id.0, now()).is_zero()) {
                floor.resting.insert(id, retried(&streak, id.0, "it gets none"));
            }
        }
        Ok(floor)
    }

    fn is_free(&self, id: WorkerId) -> bool {
        let here = |worker: &WorkerLine| worker.connected && !worker.paused && !worker.graceful;
        self.workers.get(&id).is_some_and(here) && !self.running.iter().any(|build| build.worker == Some(id))
    }

    fn why(&self, builder: BuilderId) -> String {
        let Some(ids) = self.of_builder.get(&builder) else {
            return "no running master has this builder with a worker".to_owned();
        };
        if let Some(masters) = self.stopping.get(&builder) {
            return masters.clone();
        }
        let workers: Vec<&WorkerLine> = ids.iter().filter_map(|id| self.workers.get(id)).collect();
        let hindered: Vec<(&WorkerLine, Hindrance)> =
            workers.iter().map(|worker| (*worker, self.hindrance(worker, builder))).collect();
        let said = self.said.get(&Some(builder)).or_else(|| self.said.get(&None));
        if let Some((free, _)) = hindered.iter().find(|(_, hindrance)| *hindrance == Hindrance::None) {
            return said.cloned().unwrap_or_else(|| format!("{} is free: it starts in a moment", free.name));
        }
        let mut why = told(&hindered);
        // It will wait for that, too.
        if let Some(said) =
            said.filter(|said| said.contains(" failed (") || said.contains(" has not answered"))
        {
            why = format!("{why}; {said}");
        }
        why
    }

    fn hindrance(&self, worker: &WorkerLine, builder: BuilderId) -> Hindrance {
        if !worker.connected {
            return Hindrance::Missing;
        }
        let name = &worker.name;
        if worker.paused {
            let reason = worker.pause_reason.as_deref().filter(|reason| !reason.is_empty());
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            return Hindrance::Other(format!("{name} is paused{reason}"));
        }
        if worker.graceful {
            return Hindrance::Other(format!("{name} ends when its builds are done"));
        }
        let running: Vec<&RunningBuild> =
            self.running.iter().filter(|build| build.worker == Some(worker.id)).collect();
        let builds = || {
            let named = running.iter().map(|build| format!("{} #{}", build.builder_name, build.number));
            let mut named: Vec<String> = named.take(TOLD).collect();
            if running.len() > TOLD {
                named.push(format!("{} more", running.len() - TOLD));
            }
            named.join(", ")
        };
        if let Some(same) = running.iter().find(|build| build.builder == builder) {
            return Hindrance::Other(format!("{name} runs {} #{}", same.builder_name, same.number));
        }
        match self.limits.get(&worker.id) {
            Some(max) if running.len() as i64 >= *max => {
                return Hindrance::Other(format!("{name} runs {} (its max_builds is {max})", builds()));
            }
            _ => {}
        }
        match self.resting.get(&worker.id) {
            Some(why) => Hindrance::Other(format!("{name}: its last {why}")),
            None => Hindrance::None,
        }
    }
}

/// Of each builder that only masters have which take no builds any more, who they are.
fn stopping(masters: Vec<views::BuilderMaster>) -> BTreeMap<BuilderId, String> {
    let mut all: BTreeMap<BuilderId, Vec<views::BuilderMaster>> = BTreeMap::new();
    for master in masters {
        all.entry(master.builder).or_default().push(master);
    }
    let takes = |master: &views::BuilderMaster| {
        // One of Buildbot's may be active where one of ours has stopped.
        master.state.as_deref().is_none_or(|state| matches!(state, "running" | "starting" | "stopped"))
    };
    all.retain(|_, masters| !masters.iter().any(takes));
    let words = |masters: Vec<views::BuilderMaster>| {
        let told: Vec<String> = masters
            .iter()
            .take(TOLD)
            .map(|master| format!("{} is {}", master.name, master.state.as_deref().unwrap_or_default()))
            .collect();
        format!("{}, and no other running master has this builder", told.join(", "))
    };
    all.into_iter().map(|(builder, masters)| (builder, words(masters))).collect()
}

/// What keeps all of them from taking a build.
fn told(hindered: &[(&WorkerLine, Hindrance)]) -> String {
    let missing: Vec<&WorkerLine> =
        hindered.iter().filter(|(_, why)| *why == Hindrance::Missing).map(|(worker, _)| *worker).collect();
    let others: Vec<&String> = hindered
        .iter()
        .filter_map(|(_, why)| match why {
            Hindrance::Other(text) => Some(text),
            _ => None,
        })
        .collect();
    let mut parts: Vec<String> = others.iter().take(TOLD).map(|text| (*text).clone()).collect();
    if others.len() > TOLD {
        parts.push(format!("{} more workers are paused or busy", others.len() - TOLD));
    }
    if !missing.is_empty() || parts.is_empty() {
        parts.push(format!("{} not connected", listed(&missing)));
    }
    parts.join(", ")
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

#[cfg(test)]
mod tests {
    use muster_core::{BuildId, MasterId};

    use super::*;

    const BUILDER: BuilderId = BuilderId(1);

    fn worker(id: i64) -> WorkerLine {
        WorkerLine {
            id: WorkerId(id),
            name: format!("w{id}"),
            info: serde_json::Value::Null,
            paused: false,
            pause_reason: None,
            graceful: false,
            connected: true,
            configured: true,
        }
    }

    fn floor(workers: impl IntoIterator<Item = WorkerLine>) -> Floor {
        let workers: BTreeMap<WorkerId, WorkerLine> =
            workers.into_iter().map(|worker| (worker.id, worker)).collect();
        let ids = workers.keys().copied().collect();
        Floor { workers, of_builder: [(BUILDER, ids)].into(), ..Floor::default() }
    }

    fn running(worker: i64, builder: i64, number: i64) -> RunningBuild {
        RunningBuild {
            id: BuildId(number),
            number,
            builder: BuilderId(builder),
            builder_name: format!("b{builder}"),
            worker: Some(WorkerId(worker)),
            worker_name: None,
            master: MasterId(1),
            started_at: Timestamp(0),
            state_string: String::new(),
        }
    }

    #[test]
    fn a_wait_is_told_with_its_reason_and_its_end() {
        let streak = Streak { builds: 4, last: BuildId(9), ended: Timestamp(1_700_000_000) };
        let until = streak.until(7);
        assert!(until.0 > 1_700_000_005 && until.0 < 1_700_000_012);
        let clock = format!("22:13:{:02}", until.0 - 1_699_999_980);
        let wanted = format!("4 builds ended RETRY at once: it waits until {clock} UTC");
        assert_eq!(retried(&streak, 7, "it waits"), wanted);
        let many = Streak { builds: retries::LOOKED_AT as u32, ..streak };
        assert!(retried(&many, 7, "it waits").starts_with("12 (or more) builds"));
    }

    #[test]
    fn workers_that_are_not_there_or_take_nothing_are_named() {
        assert_eq!(floor([]).why(BuilderId(2)), "no running master has this builder with a worker");
        let away = |id| WorkerLine { connected: false, ..worker(id) };
        assert_eq!(floor([away(1)]).why(BUILDER), "w1 is not connected");
        assert_eq!(floor([away(1), away(2), away(3)]).why(BUILDER), "w1 and 2 others are not connected");
        let paused = WorkerLine { paused: true, pause_reason: Some("disk full".into()), ..worker(2) };
        let ends = WorkerLine { graceful: true, ..worker(3) };
        assert_eq!(
            floor([away(1), paused, ends]).why(BUILDER),
            "w2 is paused (disk full), w3 ends when its builds are done, w1 is not connected"
        );
        assert_eq!(floor([worker(1)]).why(BUILDER), "w1 is free: it starts in a moment");
    }

    #[test]
    fn a_worker_is_busy_with_the_same_builder_or_up_to_its_max_builds() {
        let mut floor = floor([worker(1)]);
        floor.running = vec![running(1, 2, 7)];
        assert_eq!(floor.why(BUILDER), "w1 is free: it starts in a moment", "it has no limit");
        floor.limits = [(WorkerId(1), 1)].into();
        assert_eq!(floor.why(BUILDER), "w1 runs b2 #7 (its max_builds is 1)");
        floor.running = (0..5).map(|number| running(1, 2 + number, number)).collect();
        floor.limits = [(WorkerId(1), 5)].into();
        assert_eq!(floor.why(BUILDER), "w1 runs b2 #0, b3 #1, b4 #2, 2 more (its max_builds is 5)");
        floor.running = vec![running(1, 1, 9)];
        assert_eq!(floor.why(BUILDER), "w1 runs b1 #9");
    }

    #[test]
    fn what_a_master_says_is_told_where_a_worker_is_free_and_a_failure_everywhere() {
        let mut floor = floor([worker(1)]);
        let locked = "the lock db is held by b2 #7";
        floor.said = [(Some(BUILDER), locked.to_owned())].into();
        assert_eq!(floor.why(BUILDER), locked);
        floor.running = vec![running(1, 1, 9)];
        assert_eq!(floor.why(BUILDER), "w1 runs b1 #9", "no worker could take it, whoever has the lock");
        floor.said =
            [(None, "prioritizeBuilders failed (KeyError: 'x'): the usual order holds".into())].into();
        assert_eq!(
            floor.why(BUILDER),
            "w1 runs b1 #9; prioritizeBuilders failed (KeyError: 'x'): the usual order holds"
        );
    }

    #[test]
    fn a_worker_that_rests_and_masters_that_stop_are_named() {
        let mut resting = floor([worker(1)]);
        resting.resting =
            [(WorkerId(1), "3 builds ended RETRY at once: it gets none until 10:00:00 UTC".into())].into();
        assert_eq!(
            resting.why(BUILDER),
            "w1: its last 3 builds ended RETRY at once: it gets none until 10:00:00 UTC"
        );
        let master = |name: &str, state: Option<&str>| views::BuilderMaster {
            builder: BUILDER,
            name: name.into(),
            state: state.map(str::to_owned),
        };
        let mut floor = floor([worker(1)]);
        floor.stopping = stopping(vec![master("a", Some("finishing"))]);
        assert_eq!(floor.why(BUILDER), "a is finishing, and no other running master has this builder");
        for other in [master("b", Some("running")), master("b", None)] {
            assert!(stopping(vec![master("a", Some("finishing")), other]).is_empty());
        }
    }
}
