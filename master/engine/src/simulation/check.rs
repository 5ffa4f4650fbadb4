//! What must hold in the end, whatever happened.

use std::time::Duration;

use muster_core::{
    Build, BuildId, CommandId, Log, LogKind, Results, Step, Timestamp,
    invariants::{self, RequestFacts},
};
use muster_store::{query, steps as step_rows};

use super::World;

/// How long a build's owner may take to hear of an order to stop: the database may hang for six seconds, twice.
const HEARING: Duration = Duration::from_secs(15);

/// How long a stopped build may take to end when nothing fails any more: its worker is waited for, and masters that are gone
/// are found to be so.
const STOPPING: Duration = Duration::from_secs(90);

impl World {
    pub(super) async fn open_requests(&self) -> usize {
        let read = self
            .data
            .db()
            .read("open", |tx| async move { query::requests::list(&tx, &query::Select::all()).await });
        read.await.unwrap().iter().filter(|request| !request.complete).count()
    }

    pub(super) async fn running_builds(&self) -> Vec<BuildId> {
        let read = self
            .data
            .db()
            .read("running", |tx| async move { query::builds::list(&tx, &query::Select::all()).await });
        let builds = read.await.unwrap().into_iter();
        builds.filter(|build| build.results.is_none()).map(|build| build.id).collect()
    }

    pub(super) async fn what_is_open(&self) -> String {
        let read = self.data.db().read("open", |tx| async move {
            let requests = query::requests::list(&tx, &query::Select::all()).await?;
            Ok::<_, muster_store::Error>((requests, query::builds::list(&tx, &query::Select::all()).await?))
        });
        let (mut requests, mut builds) = read.await.unwrap();
        requests.retain(|request| !request.complete);
        builds.retain(|build| build.results.is_none());
        let ids: Vec<_> = self.masters.iter().map(|master| master.id).collect();
        format!("not over: {requests:#?}\n{builds:#?}\nmasters {ids:?}")
    }

    pub(super) async fn check(&self) {
        invariants::executed_once(self.truth.executions.lock().unwrap().iter().copied()).unwrap();
        let read = self.data.db().read("all", |tx| async move {
            let requests = query::requests::list(&tx, &query::Select::all()).await?;
            Ok::<_, muster_store::Error>((requests, query::builds::list(&tx, &query::Select::all()).await?))
        });
        let (requests, builds) = read.await.unwrap();
        assert_eq!(requests.len(), self.size.requests);
        for request in requests {
            self.trace.note(format_args!("{request:?}"));
            let of_it = || builds.iter().filter(|build| build.request == request.id);
            let facts = RequestFacts {
                complete: request.complete,
                claimed: request.claim.is_some(),
                running: of_it().filter(|build| build.results.is_none()).count(),
                final_builds: of_it()
                    .filter(|build| build.results.is_some_and(|results| results != Results::Retry))
                    .count(),
            };
            invariants::request_is_kept(facts).unwrap_or_else(|broken| panic!("{broken}: {request:?}"));
            let was_stopped = of_it().any(|build| self.stops.contains_key(&build.id));
            let is_as_wanted = match request.results {
                Some(Results::Success) => true,
                // Whether it was ordered in time is a question to its build.
                Some(Results::Cancelled) => was_stopped,
                _ => false,
            };
            if !is_as_wanted {
                let of_it: Vec<_> = builds.iter().filter(|build| build.request == request.id).collect();
                panic!("{request:#?}\n{of_it:#?}\n{}", self.why(&of_it).await);
            }
        }
        for build in &builds {
            self.check_build(build).await;
        }
    }

    /// The steps and their texts, for whoever looks for the reason.
    async fn why(&self, builds: &[&Build]) -> String {
        let mut said = String::new();
        for (step, log) in self.logs(builds.last().unwrap().id).await {
            let text = self.data.log_lines(&log, 0, i64::MAX).await.unwrap();
            said += &format!("step {} {:?} {}:\n{text}\n", step.number, step.results, log.name);
        }
        said
    }

    async fn logs(&self, build: BuildId) -> Vec<(Step, Log)> {
        let read = self.data.db().read("logs", |tx| async move {
            let mut logs = Vec::new();
            for step in step_rows::of_build(&tx, build).await? {
                let select = query::logs::of_step(query::Select::all(), step.id);
                logs.extend(
                    query::logs::list(&tx, &select).await?.into_iter().map(|log| (step.clone(), log)),
                );
            }
            Ok::<_, muster_store::Error>(logs)
        });
        read.await.unwrap()
    }

    async fn check_build(&self, build: &Build) {
        self.trace.note(format_args!("{build:?}"));
        let id = build.id;
        self.check_stop(build);
        for (step, log) in self.logs(id).await {
            assert!(log.complete && step.results.is_some(), "{step:?} {log:?}");
            if log.kind != LogKind::Stdio {
                continue;
            }
            let text = self.data.log_lines(&log, 0, i64::MAX).await.unwrap();
            self.trace.note(format_args!("{log:?}\n{text}"));
            let shown: String =
                text.lines().filter_map(|line| Some(line.strip_prefix('o')?.to_owned() + "\n")).collect();
            let wrote = self.wrote(id, step.number as u32);
            let whole = step.results == Some(Results::Success);
            let agrees = if whole { shown == wrote } else { wrote.starts_with(&shown) };
            assert!(agrees, "{build:?} {step:?}: the log has\n{shown}and the command wrote\n{wrote}");
        }
    }

    fn check_stop(&self, build: &Build) {
        let time = |since: Timestamp, until: Timestamp| {
            Duration::from_secs(u64::try_from(until.0 - since.0).unwrap_or_default())
        };
        let (Some(results), Some(end)) = (build.results, build.complete_at) else { return };
        let ordered = self.stops.get(&build.id).copied();
        let before = ordered.map(|order| time(order, end));
        let broken = |broken| panic!("{broken}: {build:#?}\n{}", self.trace.last(60));
        invariants::stopped_as_ordered(before, HEARING, results == Results::Cancelled).unwrap_or_else(broken);
        if let Some(order) = ordered {
            let took = time(order.max(self.calm_since), end);
            invariants::stopped_build_ends(took, STOPPING).unwrap_or_else(broken);
        }
    }

    fn wrote(&self, build: BuildId, step: u32) -> String {
        let wrote = self.truth.wrote.lock().unwrap();
        let of_it = |(command, text): (&CommandId, &String)| {
            ((command.build, command.step) == (build, step)).then(|| text.clone())
        };
        wrote.iter().filter_map(of_it).collect()
    }
}
