//! The thin drivers: own, look, wait, give back.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use muster_bus::Event;
use muster_config::snapshot::{ChangeSourceConfig, ChangeSourceKind, SchedulerConfig, SchedulerKind};
use muster_core::{MasterId, Role, SchedulerId, TopicFilter, render::Callable};
use muster_data::{Data, Ownership, Singleton};
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
/// How long one waits for a scheduler or change source that another master owns, when no event tells that it is free.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How long each master waits for those that come before it; and for how many of them at most.
const TURN: Duration = Duration::from_millis(300);
const MAX_TURNS: u32 = 5;

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

/// Runs one scheduler, whenever this master owns it, until `stop`.
pub(crate) async fn run_scheduler(shared: Shared, config: SchedulerConfig, stop: CancellationToken) {
    let name = config.name.clone();
    let what = format!("scheduler '{name}'");
    let claim = || shared.data.start_scheduler(shared.master, &name);
    while let Some(ownership) = own(&shared, &what, claim, &stop).await {
        let Singleton::Scheduler(id) = ownership.singleton else { return };
        let owned = Owned::new(&shared, ownership);
        match Machine::new(&owned.shared, config.clone(), id) {
            Ok(machine) => owned.drive(machine, &name, id, &stop).await,
            Err(error) => {
                tracing::error!("{what} does not run: {error}");
                stop.cancelled().await;
            }
        }
        owned.give_back(&what).await;
    }
}

/// Runs one change source, whenever this master owns it, until `stop`.
pub(crate) async fn run_change_source(
    shared: Shared,
    config: ChangeSourceConfig,
    codebase_generator: Option<Callable>,
    stop: CancellationToken,
) {
    let name = config.name.clone();
    let what = format!("change source '{name}'");
    let claim = || shared.data.start_change_source(shared.master, &name);
    while let Some(ownership) = own(&shared, &what, claim, &stop).await {
        let owned = Owned::new(&shared, ownership);
        match config.kind.clone() {
            ChangeSourceKind::GitPoller(details) => {
                let times = PollTimes::new(&details, Instant::now());
                let first = times.first(details.poll_at_launch, fastrand::f64());
                let poller = GitPoller::new(
                    &config,
                    *details,
                    codebase_generator.clone(),
                    &shared.basedir,
                    shared.making_repositories.clone(),
                    owned.shared.data.clone(),
                    shared.callables.clone(),
                );
                owned.poll(poller, &name, times, first, &stop).await;
            }
            // The gateway's port takes its changes, on every master; only one is named as the owner.
            ChangeSourceKind::Pb(_) => owned.lost(&stop).await,
        }
        owned.give_back(&what).await;
    }
}

/// Waits until this master owns something; `None` when it is told to stop before. One that several masters could have
/// goes to that which its name picks: the others wait a little.
async fn own<F: Future<Output = Result<Option<Ownership>>>>(
    shared: &Shared,
    what: &str,
    claim: impl Fn() -> F,
    stop: &CancellationToken,
) -> Option<Ownership> {
    let freed =
        ["masters/*/stopped", "schedulers/*/stopped", "changesources/*/stopped"].map(TopicFilter::parse);
    let wanted = |event: &Event| freed.iter().any(|filter| event.matching(filter).is_some());
    // Before the first look, so that nothing falls in between (rule 1).
    let mut events = shared.data.bus().subscribe();
    let mut complaint = Complaint::default();
    loop {
        let wait = match claim_in_turn(shared, what, &claim, stop).await {
            _ if stop.is_cancelled() => return None,
            Ok(Some(ownership)) => return Some(ownership),
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
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(wait) => {}
            more = events.wait_for(wanted) => if !more {
                // The bus is gone; the timer still works.
                let _ = tokio::time::timeout(wait, stop.cancelled()).await;
            },
        }
    }
}

async fn claim_in_turn<F: Future<Output = Result<Option<Ownership>>>>(
    shared: &Shared,
    what: &str,
    claim: impl Fn() -> F,
    stop: &CancellationToken,
) -> Result<Option<Ownership>> {
    tokio::select! {
        () = shared.data.trust().held() => {}
        () = stop.cancelled() => return Ok(None),
    }
    let others = shared.data.live_with(Role::Scheduler).await?;
    let turn = rank(what, shared.master, &others).min(MAX_TURNS);
    tokio::select! {
        () = tokio::time::sleep(TURN * turn) => claim().await,
        () = stop.cancelled() => Ok(None),
    }
}

/// How many of `masters` come before `me` when `what` is free: its name orders them, each name in its own way.
fn rank(what: &str, me: MasterId, masters: &[MasterId]) -> u32 {
    let weight = |master: MasterId| (digest(&format!("{what}/{master}")), master);
    let mine = weight(me);
    let before = masters.iter().filter(|master| **master != me && weight(**master) > mine).count();
    u32::try_from(before).unwrap_or(u32::MAX)
}

/// FNV-1a, whose last bytes hardly reach the upper bits, and therefore the last steps of MurmurHash3. Masters of
/// different versions must agree on it.
fn digest(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
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

    /// What it can't do, while it goes on with the rest.
    fn trouble(&self) -> Option<String> {
        match self {
            Machine::Basic(basic) => basic.trouble(),
            Machine::Timed(timed) => timed.trouble(),
            Machine::Passive => None,
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

/// Something that this master owns.
struct Owned {
    /// Its changes are fenced by the epoch of the ownership.
    shared: Shared,
    ownership: Ownership,
}

impl Owned {
    fn new(shared: &Shared, ownership: Ownership) -> Owned {
        let shared = Shared { data: shared.data.owning(ownership), ..shared.clone() };
        Owned { shared, ownership }
    }

    async fn give_back(self, what: &str) {
        if let Err(error) = self.shared.data.release(self.ownership).await {
            tracing::warn!("{what} can't be given back, so others wait for this master to expire: {error}");
        }
    }

    /// Whether it is still owned; a database that doesn't answer decides nothing.
    async fn is_ours(&self) -> bool {
        self.shared.data.owns(self.ownership).await.unwrap_or(true)
    }

    /// Waits until it is lost, or until `stop`.
    async fn lost(&self, stop: &CancellationToken) {
        while self.is_ours().await {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Goes on until `stop`, or until another master owns it.
    async fn drive(&self, mut machine: Machine, name: &str, id: SchedulerId, stop: &CancellationToken) {
        if matches!(machine, Machine::Passive) {
            return self.lost(stop).await;
        }
        let data = &self.shared.data;
        let new_change = TopicFilter::parse("changes/*/new");
        let switched = TopicFilter::parse(&format!("schedulers/{id}/updated"));
        let wanted =
            |event: &Event| event.matching(&new_change).or_else(|| event.matching(&switched)).is_some();
        // Before the first look, so that nothing falls in between (rule 1).
        let mut events = data.bus().subscribe();
        let mut complaint = Complaint::default();
        // What an earlier owner said is replaced by the first round.
        let mut told = None;
        loop {
            tokio::select! {
                () = data.trust().held() => {}
                () = stop.cancelled() => return,
            }
            if !self.is_ours().await {
                tracing::info!("scheduler '{name}' has another owner now");
                return;
            }
            let outcome = round(&self.shared, &mut machine, id).await;
            let wait =
                outcome.as_ref().ok().copied().flatten().map_or(LOOK_AGAIN, |next| next.min(LOOK_AGAIN));
            let outcome = outcome.map(drop).map_err(|error| error.to_string());
            let trouble = outcome.as_ref().err().cloned().or_else(|| machine.trouble());
            complaint.log(&format!("scheduler '{name}'"), outcome);
            if told.as_ref() != Some(&trouble) {
                match data.say_scheduler_trouble(id, self.ownership.owner, trouble.as_deref()).await {
                    Ok(()) => told = Some(trouble),
                    Err(error) => {
                        tracing::warn!("what scheduler '{name}' can't do can't be written down: {error}")
                    }
                }
            }
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

    async fn poll(
        &self,
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
                // Polls are rare; that another master polls is found out in between.
                () = self.lost(stop) => return,
                () = tokio::time::sleep_until(at) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.shared.data.trust().held() => {}
            }
            if !self.is_ours().await {
                return;
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
        self.lost(stop).await;
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

/// Seconds since 1970, by this machine's clock.
fn seconds_now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_schedulers_spread_over_the_masters() {
        let masters: Vec<MasterId> = (1..=3).map(MasterId).collect();
        let mut first = [0; 3];
        for number in 0..300 {
            let what = format!("scheduler 'nightly-{number}'");
            let mut ranks: Vec<u32> = masters.iter().map(|me| rank(&what, *me, &masters)).collect();
            first[ranks.iter().position(|rank| *rank == 0).unwrap()] += 1;
            ranks.sort_unstable();
            assert_eq!(ranks, [0, 1, 2], "each has a turn of its own");
        }
        assert!(first.iter().all(|count| (60..=140).contains(count)), "{first:?}");
        assert_eq!(rank("anything", MasterId(7), &[]), 0);
    }
}
