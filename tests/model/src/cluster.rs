//! Leases, runs and one worker's session.
//!
//! Time is a number of ticks. A master asks for a renewal, the database applies it, the master hears of it: three
//! actions, between which anything may happen. Each transaction may have its answer lost. A worker's frames belong to one
//! connection, where they may be delivered twice.

mod actions;
mod rules;
mod transactions;

use stateright::{Model, Property};

pub use actions::Action;

/// Masters.
pub const MASTERS: usize = 2;
/// The one that masters' faults hit. The other one is well: it renews in time, and nobody expires it. The two are alike, so
/// nothing is left out while one master has faults at a time.
pub const VICTIM: usize = 0;
/// Ticks for which a master trusts itself after it has asked for a renewal.
pub const TRUST: u8 = 2;
/// Ticks of standstill after which an observer expires a lease.
pub const STANDSTILL: u8 = 3;
/// The number of a command's last update: one line, then its end.
pub const END: u64 = 2;
/// Builds that one request may need: each lost life of the worker costs one.
pub const BUILDS: usize = 2;
/// Dials under way at the same time.
pub const OPENINGS: usize = 2;

/// A defence that is left out, to see that its absence is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Weakness {
    /// Writes don't look at the run's owner and epoch.
    NoFence,
    /// A master trusts itself for longer than an observer waits.
    LongTrust,
    /// Trust counts from the answer to a renewal, not from the question.
    TrustFromAnswer,
    /// The clock of the trust deadline stops while the process is suspended.
    ClockStandsStill,
    /// After a lost answer a transaction is run again without a look whether it was committed.
    BlindRetry,
    /// Updates are acknowledged when they arrive, not when they are stored.
    EarlyAcknowledgement,
    /// A worker takes orders of any connection and any epoch, also late ones.
    TrustingWorker,
    /// A dial of another life of the worker wins, also one that is older than the present life.
    AnyNewLifeWins,
    /// A command that was intended is ordered again although the worker has had another life since.
    NoBootId,
}

/// How much may go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Faults {
    pub ticks: u8,
    pub kills: u8,
    pub pauses: u8,
    pub partitions: u8,
    pub lost_answers: u8,
    pub duplicates: u8,
    pub cuts: u8,
    pub worker_restarts: u8,
}

/// The model: what may go wrong, and which defence is missing.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Cluster {
    pub faults: Faults,
    pub weakness: Option<Weakness>,
}

/// Everything there is, on disks, in memories and on the wires.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct State {
    pub masters: [Master; MASTERS],
    pub leases: [Lease; MASTERS],
    pub seen: Option<Seen>,
    pub claimed: bool,
    pub complete: bool,
    pub builds: Vec<Build>,
    pub session: Option<Session>,
    pub worker: Worker,
    pub openings: Vec<Opening>,
    pub orders: Vec<OrderFrame>,
    pub left: Faults,
    /// The first rule that an action broke.
    pub broken: Option<String>,
}

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Power {
    Up,
    Paused,
    Down,
}

/// What a master's process knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Master {
    pub power: Power,
    pub incarnation: u8,
    /// The database can't be reached.
    pub partitioned: bool,
    /// Ticks since it asked for the last renewal that succeeded.
    pub trust_age: u8,
    pub renewal: Option<Renewal>,
    pub run: Option<OwnRun>,
    /// A transaction whose answer is lost.
    pub unsure: Option<Unsure>,
}

/// A renewal under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Renewal {
    pub age: u8,
    pub applied: bool,
}

/// What the other master saw of the victim's lease: whether it was raised or taken anew since then, and for how many ticks
/// it was not. (A counter would do the same, with more states.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Seen {
    pub moved: bool,
    pub age: u8,
}

/// A transaction whose answer was lost: what the master's memory becomes when it was committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unsure {
    /// As if the answer had come.
    pub run: Option<OwnRun>,
}

/// A run as its owner has it in memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct OwnRun {
    pub build: usize,
    pub epoch: i64,
    /// The worker's life that the command was intended for.
    pub intent: Option<u8>,
    /// An order is on its way, on this connection.
    pub ordered: bool,
    /// Updates of the command come in, on this connection.
    pub attached: bool,
    pub received: u64,
    pub stored: u64,
}

/// A row of `muster_masters`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Lease {
    pub incarnation: u8,
    pub expired: bool,
}

/// How a build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Outcome {
    Success,
    Retry,
}

/// A build, its run and its log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Build {
    pub owner: usize,
    pub epoch: i64,
    pub intent: Option<u8>,
    /// Numbers of the updates that are stored.
    pub log: Vec<u64>,
    pub ends: Vec<Outcome>,
}

/// The row of `muster_sessions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Session {
    pub boot: u8,
    pub dial: u8,
    pub holder: usize,
}

/// The worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Worker {
    pub boot: u8,
    pub dial: u8,
    pub line: Option<usize>,
    /// By build: each has one.
    pub commands: [Option<Command>; BUILDS],
}

/// A command on the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Command {
    /// This life of the worker knows it.
    pub known: bool,
    pub epoch: i64,
    pub executions: u8,
    pub produced: u64,
    pub acknowledged: u64,
}

/// A dial on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Opening {
    pub boot: u8,
    pub dial: u8,
    pub to: usize,
}

/// An order on its way: start the command, or go on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct OrderFrame {
    pub dial: u8,
    pub build: usize,
    pub epoch: i64,
    pub start: bool,
}

impl Cluster {
    /// Whether a defence is there.
    pub(crate) fn has(&self, defence_against: Weakness) -> bool {
        self.weakness != Some(defence_against)
    }

    pub(crate) fn trusts(&self, master: &Master) -> bool {
        let trust = if self.has(Weakness::LongTrust) { TRUST } else { STANDSTILL + 2 };
        master.trust_age < trust
    }
}

impl Model for Cluster {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let master = Master {
            power: Power::Up,
            incarnation: 1,
            partitioned: false,
            trust_age: 0,
            renewal: None,
            run: None,
            unsure: None,
        };
        let lease = Lease { incarnation: 1, expired: false };
        vec![State {
            masters: [master.clone(), master],
            leases: [lease; MASTERS],
            seen: None,
            claimed: false,
            complete: false,
            builds: Vec::new(),
            session: None,
            worker: Worker { boot: 1, dial: 0, line: None, commands: [None; BUILDS] },
            openings: Vec::new(),
            orders: Vec::new(),
            left: self.faults,
            broken: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions::enabled(self, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        actions::apply(self, &mut state, action);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let took_over = |_: &Cluster, state: &State| {
            state.complete && state.builds.len() == 1 && state.builds[0].epoch > 1
        };
        let retried = |_: &Cluster, state: &State| state.complete && state.builds.len() == 2;
        vec![
            Property::always("the invariants hold", |model, state| rules::verdict(model, state).is_ok()),
            Property::sometimes("a request is completed", |_, state: &State| state.complete),
            Property::sometimes("after its run was taken over", took_over),
            Property::sometimes("by a second build", retried),
        ]
    }
}

/// Which rule a state breaks.
///
/// # Errors
/// The rule, in words.
pub fn verdict(model: &Cluster, state: &State) -> muster_core::invariants::Verdict {
    rules::verdict(model, state)
}
