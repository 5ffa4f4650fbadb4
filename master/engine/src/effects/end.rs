//! How a step ends before it has a result, and why a run stops to be this master's.

use muster_store::runs::JournalRow;
use serde::de::DeserializeOwned;

/// Why a run can't be written about any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Halt {
    /// Another master owns it: drop everything, touch nothing.
    Fenced,
    /// This master goes: rows and journal stay for who goes on.
    Leaving,
    /// The database won't ever take what the run did since the last commit: that is dropped, and the step under way becomes
    /// an exception. The text is the database's.
    Refused(String),
    /// Nobody knows whether what the run did last is stored: it goes on from what is.
    Unsure,
}

/// Why a step's function ends without a result of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum StepEnd {
    /// The step failed and says so in its logs.
    Failed,
    /// It was stopped.
    Cancelled,
    /// The step can't be replayed: the build is wanted again. The text says why.
    Retry(String),
    /// The worker is gone, and the build is wanted again. The text says more.
    Lost(String),
    /// Something is wrong with the step itself; the text goes to a log.
    Exception(String),
    /// The run must not be touched any more.
    Halt(HaltReason),
}

/// Opaque outside the engine: the run goes on elsewhere, or later.
#[derive(Debug, Clone, PartialEq)]
pub struct HaltReason(pub(crate) Halt);

impl From<Halt> for StepEnd {
    fn from(halt: Halt) -> StepEnd {
        StepEnd::Halt(HaltReason(halt))
    }
}

/// The end of a step that this master, which goes, leaves to the next one. What it did last is not recorded.
pub(crate) fn leaving() -> StepEnd {
    Halt::Leaving.into()
}

/// The outcome in a row of a journal.
///
/// # Errors
/// When it can't be read: the build is wanted again.
pub(crate) fn outcome<T: DeserializeOwned>(row: &JournalRow) -> Result<T, StepEnd> {
    serde_json::from_str(&row.outcome).map_err(|error| {
        StepEnd::Retry(format!("can't be replayed: the outcome of {} is unreadable: {error}", row.kind))
    })
}
