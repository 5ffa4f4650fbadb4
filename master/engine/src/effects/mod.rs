//! What a step may do to the world, and what it can know: [`StepContext`] and what stands behind it.
//!
//! Every effect leaves a journal row; writes are gathered by the run's recorder and committed
//! by the master's one writer, in fenced transactions. The
//! steps are written against this, and the run's loop drives both.

mod callables;
mod command;
mod command_rows;
mod context;
mod core;
mod effect;
mod end;
mod execute;
mod facts;
mod gathered;
mod immediate;
mod journal;
mod logs;
mod observer;
mod perform;
mod recorder;
mod secrets;
pub(crate) mod summary;
mod transfer;
mod triggering;
mod typed;
mod writer;

pub(crate) use callables::{Callables, view};
pub use command::{CommandRequest, CommandResult, MAX_COLLECTED, Transfer};
pub use context::StepContext;
pub(crate) use core::{RunCore, StopOrder, StopReceiver, ordered};
pub use effect::{Effect, LineKind, Outcome};
pub(crate) use end::{Halt, outcome};
pub use end::{HaltReason, StepEnd};
pub(crate) use execute::unfinished_commands;
pub(crate) use facts::{Facts, Standalone, render_plainly};
pub(crate) use journal::Entry;
pub use journal::Matching;
pub use logs::LogRef;
pub(crate) use muster_core::render::is_true as truth;
pub use observer::LineObserver;
pub use perform::{PerformOptions, SharedContext};
pub(crate) use recorder::Recorder;
pub(crate) use summary::OwnSummary;
pub(crate) use transfer::open_to_send;
pub(crate) use writer::Writer;
