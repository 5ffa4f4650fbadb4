//! What somebody wants to do, and the proof that they may.

use super::actor::Actor;

/// What somebody wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read.
    Get,
    /// Read the head of an answer only. Buildbot's rules have it as a control action.
    Head,
    /// Stop a build.
    StopBuild,
    /// Build the same again.
    RebuildBuild,
    /// Cancel a build request.
    CancelRequest,
    /// Change a request's priority.
    SetPriority,
    /// Use a force scheduler.
    Force,
    /// Switch a scheduler on or off.
    EnableScheduler,
    /// Give a worker no new builds.
    PauseWorker,
    /// Give it builds again.
    UnpauseWorker,
    /// End a worker after its builds.
    StopWorker,
    /// End a worker at once.
    KillWorker,
    /// End a master.
    StopMaster,
    /// Tell of a change.
    SendChange,
    /// Take builds from masters, or restore a cluster.
    MendRuns,
    /// A method that nothing at this place has.
    Other(String),
}

impl Action {
    /// Whether it ends a process. Only users that a rule names are allowed to.
    pub fn ends_processes(&self) -> bool {
        matches!(self, Action::StopWorker | Action::KillWorker | Action::StopMaster)
    }
}

/// Proof that an actor may do something. People get one of [`super::Policy::may`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    actor: Actor,
    action: Action,
}

impl Permit {
    pub(super) fn new(actor: &Actor, action: Action) -> Permit {
        Permit { actor: actor.clone(), action }
    }

    /// For what a part of Muster does by itself.
    pub fn system(part: &'static str, action: Action) -> Permit {
        Permit { actor: Actor::System(part), action }
    }

    /// For what is done on the command line, with the rights of the user of the system who may read the database's password.
    pub fn command_line(action: Action) -> Permit {
        Permit { actor: Actor::CommandLine, action }
    }

    /// For another program, which has proved itself where it came in.
    pub fn peer(name: impl Into<String>, action: Action) -> Permit {
        Permit { actor: Actor::Peer(name.into()), action }
    }

    /// Who has it.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What for.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// Called by what does `action`.
    ///
    /// # Panics
    /// When it is a permit for something else, which is a fault of the caller's code.
    pub fn must_be_for(&self, action: &Action) {
        assert!(self.action == *action, "a permit for {:?} was used for {action:?}", self.action);
    }
}

/// Why somebody may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A rule wants a role that the actor doesn't have. The words are Buildbot's.
    #[error("you need to have role '{0}'")]
    Role(String),
    /// Ends a process, and the actor has not logged in, or no rule names them.
    #[error(
        "orders that end processes are taken here only from people who have logged in and have a role that a rule of \
         c['www']['authz'] asks for; use `muster stop`, `muster cluster stop` or `muster cluster stop-worker` on the command \
         line, or send the same call to a master's probe port (--probe)"
    )]
    EndsProcesses,
}
