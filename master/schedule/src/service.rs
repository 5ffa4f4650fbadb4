//! Runs the schedulers and change sources of the newest snapshot, as far as this master owns them
//! (`docs/compat/behaviour-3-changes-schedulers.md` 3.9).

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use jiff::tz::TimeZone;
use muster_config::{
    Host,
    snapshot::{ChangeSourceConfig, SchedulerConfig, Snapshot, SourceRef},
};
use muster_core::{MasterId, render::Callable};
use muster_data::Data;
use tokio::sync::{Mutex, watch};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{
    callables::Callables,
    tasks::{self, Shared},
};

/// Runs schedulers and change sources.
pub struct Schedulers;

impl Schedulers {
    /// Follows `snapshot` until `shutdown`: starts what is new, stops what is gone, restarts what changed. All tasks run
    /// on `tasks`; when they have ended, everything that was owned is given back. Relative paths begin at `basedir`;
    /// calendars follow the clock of this machine.
    pub fn start(
        data: Data,
        host: Option<Host>,
        master: MasterId,
        basedir: PathBuf,
        snapshot: watch::Receiver<Arc<Snapshot>>,
        tasks: &TaskTracker,
        shutdown: CancellationToken,
    ) {
        let shared = Shared {
            data,
            callables: Callables::new(host),
            master,
            basedir,
            zone: TimeZone::system(),
            making_repositories: Arc::new(Mutex::new(())),
        };
        let supervisor = Supervisor { shared, tasks: tasks.clone(), shutdown, running: BTreeMap::new() };
        tasks.spawn(supervisor.run(snapshot));
    }
}

/// What one task does.
#[derive(Clone, Debug, PartialEq)]
enum Job {
    Scheduler(Box<SchedulerConfig>),
    /// With the function that names the codebase of its changes.
    ChangeSource(Box<ChangeSourceConfig>, Option<Callable>),
}

/// Schedulers and change sources have names of their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum JobName {
    Scheduler(String),
    ChangeSource(String),
}

struct Running {
    job: Job,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<()>,
}

struct Supervisor {
    shared: Shared,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    running: BTreeMap<JobName, Running>,
}

impl Supervisor {
    async fn run(mut self, mut snapshot: watch::Receiver<Arc<Snapshot>>) {
        // The tracker isn't empty while this runs, even between two jobs.
        let _token: TaskTrackerToken = self.tasks.token();
        loop {
            let newest = snapshot.borrow_and_update().clone();
            self.apply(&newest).await;
            tokio::select! {
                () = self.shutdown.cancelled() => break,
                changed = snapshot.changed() => if changed.is_err() {
                    self.shutdown.cancelled().await;
                    break;
                },
            }
        }
        // Their tokens are children of `shutdown`: they are stopping already.
        for running in std::mem::take(&mut self.running).into_values() {
            wait_for_end(running).await;
        }
    }

    async fn apply(&mut self, snapshot: &Arc<Snapshot>) {
        let wanted = jobs(snapshot);
        let outdated: Vec<JobName> = self
            .running
            .iter()
            .filter(|(name, running)| wanted.get(name) != Some(&running.job))
            .map(|(name, _)| name.clone())
            .collect();
        for name in outdated {
            if let Some(running) = self.running.remove(&name) {
                running.stop.cancel();
                wait_for_end(running).await;
            }
        }
        let names: Vec<String> = snapshot.schedulers.iter().map(|scheduler| scheduler.name.clone()).collect();
        if let Err(error) = self.shared.data.keep_schedulers(&names).await {
            tracing::warn!("can't forget the schedulers that are gone from the configuration: {error}");
        }
        for (name, job) in wanted {
            if !self.running.contains_key(&name) {
                let running = self.begin(job);
                self.running.insert(name, running);
            }
        }
    }

    fn begin(&self, job: Job) -> Running {
        let stop = self.shutdown.child_token();
        let shared = self.shared.clone();
        let ended = match job.clone() {
            Job::Scheduler(config) => self.tasks.spawn(tasks::run_scheduler(shared, *config, stop.clone())),
            Job::ChangeSource(config, generator) => {
                self.tasks.spawn(tasks::run_change_source(shared, *config, generator, stop.clone()))
            }
        };
        Running { job, stop, ended }
    }
}

async fn wait_for_end(running: Running) {
    if let Err(error) = running.ended.await {
        tracing::error!("a scheduler or change source ended badly: {error}");
    }
}

/// What the snapshot wants to run. Where something stands in the file doesn't matter.
fn jobs(snapshot: &Snapshot) -> BTreeMap<JobName, Job> {
    let scheduler = |config: &SchedulerConfig| {
        let config = SchedulerConfig { source: SourceRef::default(), ..config.clone() };
        (JobName::Scheduler(config.name.clone()), Job::Scheduler(Box::new(config)))
    };
    let change_source = |config: &ChangeSourceConfig| {
        let config = ChangeSourceConfig { source: SourceRef::default(), ..config.clone() };
        (
            JobName::ChangeSource(config.name.clone()),
            Job::ChangeSource(Box::new(config), snapshot.codebase_generator.clone()),
        )
    };
    let schedulers = snapshot.schedulers.iter().map(scheduler);
    schedulers.chain(snapshot.change_sources.iter().map(change_source)).collect()
}

#[cfg(test)]
mod tests;
