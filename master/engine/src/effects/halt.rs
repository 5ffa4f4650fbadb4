//! Why a run stops to be this master's.

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
