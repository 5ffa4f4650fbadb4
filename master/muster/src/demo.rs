//! `muster demo`: a master, a worker and a first build of the repository around the current directory.
//!
//! The configuration is the one in the documentation, which reads from the environment what differs from place to place.
//! So the demo prepares its directory, sets the environment, and becomes itself again: from its first moment on, the
//! process that runs the master has the variables that its configuration and its worker see.

mod prepare;
mod progress;
mod watch;
mod worker;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use muster_config::snapshot::SchedulerKind;
use muster_core::policy::{Action, Actor, Policy, Target, User};
use serde_json::{Map, json};

use crate::cli::{Demo, Serving};
use crate::master::{self, RunningMaster, StopSignals};
use crate::master_dir::MasterDir;
use crate::pid_file::PidFile;
use crate::{commands, logging};
use prepare::Prepared;
use progress::Progress;
use watch::Watcher;
use worker::WorkerProcess;

/// Runs the demo.
pub fn run(options: &Demo) -> Result<ExitCode> {
    let Some(prepared) = Prepared::from_environment() else {
        return Err(prepare::prepare_and_begin_again(options));
    };
    let outcome = commands::block_on(demonstrate(options, &prepared));
    if options.dir.is_none() && !options.keep {
        let removed = std::fs::remove_dir_all(&prepared.dir);
        removed.with_context(|| format!("can't remove {}", prepared.dir.display()))?;
    }
    outcome
}

/// Starts everything, shows it, and stops everything, whatever happened in between.
async fn demonstrate(options: &Demo, prepared: &Prepared) -> Result<ExitCode> {
    let mut signals = StopSignals::listen()?;
    let progress = Progress::begin();
    progress.say(&format!("Muster {} in {}", env!("CARGO_PKG_VERSION"), prepared.dir.display()));
    let master = start_master(&prepared.dir.join("master")).await?;
    let outcome = with_master(options, prepared, &master, &progress, &mut signals).await;
    let stopped = master.stop().await;
    progress.end();
    let code = outcome?;
    stopped?;
    Ok(code)
}

async fn start_master(path: &Path) -> Result<RunningMaster> {
    let dir = MasterDir::open(path)?;
    let lock = PidFile::take(&dir)?;
    logging::of_master(&dir, false)?;
    logging::on_panic(|said| tracing::error!("{said}"));
    master::start(&dir, lock, &Serving::default()).await
}

async fn with_master(
    options: &Demo,
    prepared: &Prepared,
    master: &RunningMaster,
    progress: &Progress,
    signals: &mut StopSignals,
) -> Result<ExitCode> {
    progress.say(&format!("the master runs; its pages are at {}", prepared.url));
    progress.say(&format!("it watches {}, branch {}", prepared.repository, prepared.branch));
    let Some(address) = master.session_addresses().first() else {
        bail!("the configuration has no port for workers");
    };
    let worker = WorkerProcess::start(&prepared.dir.join("worker"), *address)?;
    let outcome = tokio::select! {
        code = first_build_and_on(options, prepared, master, progress) => code,
        name = signals.next() => {
            progress.say(&format!("got {name}: stopping"));
            // Whoever asked for one build has not got it.
            Ok(if options.once { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        error = worker.failed() => Err(error),
        () = master.failed() => Err(anyhow::anyhow!("the master failed")),
    };
    worker.stop(progress).await?;
    outcome
}

async fn first_build_and_on(
    options: &Demo,
    prepared: &Prepared,
    master: &RunningMaster,
    progress: &Progress,
) -> Result<ExitCode> {
    let mut watcher = Watcher::new(master.data(), progress, &prepared.url).await?;
    watcher.wait_for_worker().await?;
    force(master, &prepared.branch).await?;
    // The poller's first look at a repository only notes where it stands, so somebody has to ask for the first build.
    progress.say("asked for a first build; from now on, every commit starts one");
    let first = watcher.next_finished().await?;
    watcher.tell_end(&first);
    if options.once {
        return Ok(if first.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    progress.say(&format!(
        "commit to {}, or use the form \"force\" at {}builders/project; Ctrl-C ends the demo",
        prepared.branch, prepared.url
    ));
    loop {
        let build = watcher.next_finished().await?;
        watcher.tell_end(&build);
    }
}

async fn force(master: &RunningMaster, branch: &str) -> Result<()> {
    let snapshot = master.snapshot();
    let is_force = |kind: &SchedulerKind| matches!(kind, SchedulerKind::Force(_));
    let Some(scheduler) = snapshot.schedulers.iter().find(|scheduler| is_force(&scheduler.kind)) else {
        bail!("the configuration has no ForceScheduler");
    };
    let form = json!({ "reason": "the demo's first build", "branch": branch });
    let form: Map<_, _> = form.as_object().cloned().unwrap_or_default();
    let demo = Actor::User(User { username: Some("demo".to_owned()), ..User::default() });
    let permit = Policy::default().may(&demo, Action::Force, &Target::default())?;
    muster_schedule::force(master.data(), &snapshot, &permit, &scheduler.name, form).await?;
    Ok(())
}
