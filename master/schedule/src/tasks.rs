//! The thin drivers: own, look, wait, give back.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use muster_bus::Event;
use muster_config::snapshot::{ChangeSourceConfig, ChangeSourceKind, SchedulerConfig, SchedulerKind};
use muster_core::{MasterId, SchedulerId, TopicFilter, render::Callable};
use muster_data::Data;
use muster_store::{Result, query};
use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    basic::{Basic, Lines},
    buildset::ComposeError,
    callables::Callables,
    complaint::Complaint,
    git_poller::GitPoller,
    poll_times::PollTimes,
    timed::{Timed, TimedDetails},
};

/// A scheduler looks at the rows this often even when nothing wakes it: the cost of a lost event.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long one waits for a scheduler or change source that another master owns: so long nothing is scheduled after
/// that master was expired.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What all of them need.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) data: Data,
    pub(crate) callables: Callables,
    pub(crate) master: MasterId,
    pub(crate) basedir: PathBuf,
    pub(crate) zone: TimeZone,
    pub(crate) making_repositories: Arc<Mutex<()>>,
}

/// Runs one scheduler, while this master owns it, until `stop`.
pub(crate) async fn run_scheduler(shared: Shared, config: SchedulerConfig, stop: CancellationToken) {
    let name = config.name.clone();
    let claim = || shared.data.start_scheduler(shared.master, &name);
    let Some(id) = own(&format!("scheduler '{name}'"), claim, &stop).await else {
        return;
    };
    match Machine::new(&shared, config, id) {
        Ok(machine) => drive(&shared, machine, &name, id, &stop).await,
        Err(error) => {
            tracing::error!("scheduler '{name}' does not run: {error}");
            stop.cancelled().await;
        }
    }
    if let Err(error) = shared.data.release_scheduler(shared.master, id).await {
        tracing::warn!(
            "scheduler '{name}' can't be given back, so others wait for this master to expire: {error}"
        );
    }
}

/// Runs one change source, while this master owns it, until `stop`.
pub(crate) async fn run_change_source(
    shared: Shared,
    config: ChangeSourceConfig,
    codebase_generator: Option<Callable>,
    stop: CancellationToken,
) {
    let name = config.name.clone();
    let claim = || shared.data.start_change_source(shared.master, &name);
    let Some(id) = own(&format!("change source '{name}'"), claim, &stop).await else {
        return;
    };
    match config.kind.clone() {
        ChangeSourceKind::GitPoller(details) => {
            let times = PollTimes::new(&details, Instant::now());
            let first = times.first(details.poll_at_launch, fastrand::f64());
            let poller = GitPoller::new(
                &config,
                *details,
                codebase_generator,
                &shared.basedir,
                shared.making_repositories.clone(),
                shared.data.clone(),
                shared.callables.clone(),
            );
            poll(poller, &name, times, first, &stop).await;
        }
        // The gateway's port takes its changes, on every master; only one is named as the owner.
        ChangeSourceKind::Pb(_) => stop.cancelled().await,
    }
    if let Err(error) = shared.data.release_change_source(shared.master, id).await {
        tracing::warn!(
            "change source '{name}' can't be given back, so others wait for this master to expire: {error}"
        );
    }
}

/// Waits until this master owns something; `None` when it is told to stop before.
async fn own<T, F: Future<Output = Result<Option<T>>>>(
    what: &str,
    claim: impl Fn() -> F,
    stop: &CancellationToken,
) -> Option<T> {
    let mut complaint = Complaint::default();
    loop {
        if stop.is_cancelled() {
            return None;
        }
        let wait = match claim().await {
            Ok(Some(id)) => return Some(id),
            Ok(None) => {
                complaint.log(what, Ok(()));
                tracing::debug!("{what} is owned by another master");
                ASK_AGAIN
            }
            Err(error) => {
                complaint.log(what, Err(error.to_string()));
                LOOK_AGAIN
            }
        };
        // An error means that the time is up; otherwise the loop ends above.
        let _ = tokio::time::timeout(wait, stop.cancelled()).await;
    }
}

/// A scheduler by what it does.
enum Machine {
    Basic(Box<Basic>),
    Timed(Box<Timed>),
    /// It only answers when somebody asks it.
    Passive,
}

impl Machine {
    fn new(
        shared: &Shared,
        config: SchedulerConfig,
        id: SchedulerId,
    ) -> std::result::Result<Machine, String> {
        let (data, callables) = (shared.data.clone(), shared.callables.clone());
        let basic = |config: SchedulerConfig, details, lines| {
            let basic = Basic::new(config, details, lines, id, data.clone(), callables.clone());
            basic.map(|basic| Machine::Basic(Box::new(basic))).map_err(|error| error.to_string())
        };
        let timed = |config: SchedulerConfig, details| {
            let timed = Timed::new(config, details, id, data.clone(), callables.clone());
            timed.map(|timed| Machine::Timed(Box::new(timed))).map_err(|error| error.to_string())
        };
        match config.kind.clone() {
            SchedulerKind::SingleBranch(details) => basic(config, details, Lines::One),
            SchedulerKind::AnyBranch(details) => basic(config, details, Lines::Each),
            SchedulerKind::Periodic(details) => timed(config, TimedDetails::from(details)),
            SchedulerKind::Nightly(details) => {
                let details = TimedDetails::nightly(details, shared.zone.clone());
                timed(config, details.map_err(|error| error.to_string())?)
            }
            SchedulerKind::Triggerable { .. } | SchedulerKind::Force(_) => Ok(Machine::Passive),
        }
    }

    /// Does what is due; answers for how long nothing will be, if that is known.
    async fn round(&mut self, enabled: bool) -> std::result::Result<Option<Duration>, ComposeError> {
        match self {
            Machine::Basic(basic) => {
                let now = Instant::now();
                Ok(basic.round(enabled, now).await?.map(|next| next.saturating_duration_since(now)))
            }
            Machine::Timed(timed) => {
                let now = seconds_now();
                let next = timed.round(enabled, now).await?;
                Ok(next.map(|next| Duration::try_from_secs_f64(next - now).unwrap_or_default()))
            }
            Machine::Passive => Ok(None),
        }
    }
}

async fn drive(shared: &Shared, mut machine: Machine, name: &str, id: SchedulerId, stop: &CancellationToken) {
    if matches!(machine, Machine::Passive) {
        return stop.cancelled().await;
    }
    let new_change = TopicFilter::parse("changes/*/new");
    let switched = TopicFilter::parse(&format!("schedulers/{id}/updated"));
    let wanted = |event: &Event| event.matching(&new_change).or_else(|| event.matching(&switched)).is_some();
    // Before the first look, so that nothing falls in between (rule 1).
    let mut events = shared.data.bus().subscribe();
    let mut complaint = Complaint::default();
    loop {
        let outcome = round(shared, &mut machine, id).await;
        let wait = outcome.as_ref().ok().copied().flatten().map_or(LOOK_AGAIN, |next| next.min(LOOK_AGAIN));
        complaint.log(&format!("scheduler '{name}'"), outcome.map(drop).map_err(|error| error.to_string()));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
            more = events.wait_for(wanted) => if !more {
                // The bus is gone; the timer still works.
                let _ = tokio::time::timeout(LOOK_AGAIN, stop.cancelled()).await;
            },
        }
    }
}

async fn round(
    shared: &Shared,
    machine: &mut Machine,
    id: SchedulerId,
) -> std::result::Result<Option<Duration>, ComposeError> {
    let enabled = is_enabled(&shared.data, id).await?;
    machine.round(enabled).await
}

async fn is_enabled(data: &Data, id: SchedulerId) -> Result<bool> {
    let row =
        data.db().read("scheduler_switch", |tx| async move { query::masters::scheduler(&tx, id).await });
    Ok(row.await?.is_some_and(|scheduler| scheduler.enabled))
}

async fn poll(
    mut poller: GitPoller,
    name: &str,
    times: PollTimes,
    first: Option<Instant>,
    stop: &CancellationToken,
) {
    let who = format!("GitPoller '{name}'");
    let mut complaint = Complaint::default();
    let mut next = first;
    while let Some(at) = next {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(at) => {}
        }
        // Stopping ends a running poll: its git processes go with it, and what it read is not committed.
        let polled = tokio::select! {
            () = stop.cancelled() => return,
            polled = poller.poll() => polled,
        };
        complaint.log(&who, polled.map(drop).map_err(|error| error.to_string()));
        next = times.next(Instant::now(), fastrand::f64());
    }
    // It polls only when it is told to.
    stop.cancelled().await;
}

/// Seconds since 1970, by this machine's clock.
fn seconds_now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
