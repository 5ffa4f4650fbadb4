//! Update methods: each is one transaction and the events that tell about it.

mod abandon;
mod absences;
mod buildsets;
mod changes;
mod cluster;
mod collapse;
mod commit;
mod configure;
mod control;
mod dials;
mod foreign;
mod horizon;
mod locks;
mod mending;
mod owned;
mod permits;
mod questions;
mod reasons;
mod runs;
mod schedulers;
mod stock;
mod triggers;

pub use absences::MissingWorker;
pub use buildsets::{AddedBuildset, CollapsePolicy, NewBuildset, SourceOf};
pub use changes::NewChange;
pub use cluster::{Beside, Renewal, Start};
pub use collapse::CollapseViews;
pub use commit::{RunPart, RunsCommitted};
pub use configure::{BuilderSetup, Configured, Setup};
pub use control::{MasterOrder, WorkerOrder};
pub use dials::{Dialled, WorkerDial, plausible_dial};
pub use foreign::ForeignOrder;
pub use locks::LockWish;
pub use mending::{ClusterStatus, Mended};
pub use questions::{Collapse, CollapseQuestion, CollapseQuestions};
pub use runs::{NewRun, RunWrite, Started};
pub use schedulers::Classification;
pub use stock::{StockArrival, StockStanding};
pub use triggers::{Trigger, TriggeredBuild, WantedSource};

pub use muster_store::{
    absences::{Absence, Told},
    masters::{EngineAddress, Lease, Life},
    reasons::Reason,
    schedulers::{Ownership, Singleton},
    sourcestamps::{NewPatch, NewSourceStamp},
    state::StateKey,
};
