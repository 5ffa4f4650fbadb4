//! What can go wrong with the database, in words for the person who has to mend it.

/// A failed operation of the store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The URL can't be used.
    #[error("db_url {url:?}: {reason}")]
    Url {
        /// The URL as configured, without its password.
        url: String,
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// The database can't be opened.
    #[error("can't open the database {path}: {reason}")]
    Open {
        /// Where it was looked for.
        path: String,
        /// The engine's words.
        reason: String,
    },
    /// The schema is not one that this binary can use.
    #[error("{0}")]
    Schema(String),
    /// A unique key is taken.
    #[error("{0}")]
    Unique(String),
    /// The engine asks to run the whole transaction again.
    #[error("{0}")]
    Transient(String),
    /// The connection to the database is gone. Nothing of the transaction was committed.
    #[error("the database can't be reached: {0}")]
    Lost(String),
    /// The connection broke while a commit was under way, and nobody could say what became of it.
    #[error("it is unknown whether the transaction {name} was committed: {reason}")]
    Unknown {
        /// The transaction's name.
        name: &'static str,
        /// What happened.
        reason: String,
    },
    /// The engine refused the statement.
    #[error("database: {message} (in {statement:?})")]
    Statement {
        /// The engine's words.
        message: String,
        /// The statement's text.
        statement: String,
    },
    /// A column can't take a value: too long, out of its range, of characters that it doesn't know. It never will.
    #[error("the database can't hold this: {message} (in {statement:?})")]
    Unstorable {
        /// The engine's words.
        message: String,
        /// The statement's text.
        statement: String,
    },
    /// A column holds what its meaning forbids.
    #[error("unexpected data in the database: {0}")]
    Data(String),
    /// The run is owned by somebody else now; nothing was written.
    #[error("build {0} is owned by another master now")]
    Fenced(muster_core::BuildId),
    /// A scheduler or change source is owned by somebody else now; nothing was written.
    #[error("another master owns this scheduler or change source now")]
    Disowned,
    /// This master's right to act has lapsed; nothing was tried.
    #[error("this master can't renew its lease, and does nothing until it can")]
    Untrusted,
    /// Somebody else has one of the requests that were to be claimed together; none of them was.
    #[error("another master has claimed one of these requests")]
    Claimed,
    /// A handle of a transaction was used after its end.
    #[error("the transaction {0} is over")]
    Over(&'static str),
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What was to be stored can't be: too long, out of range.
    Asked,
    /// The database is away, or this master may do nothing just now; the same may work later.
    Away,
    /// A mistake of this program, or of what is in the database.
    Ours,
}

/// Characters of a statement that an error shows: enough to find it, also for a migration.
const SHOWN: usize = 400;

impl Error {
    pub(crate) fn statement(message: impl Into<String>, statement: &str) -> Error {
        Error::Statement { message: message.into(), statement: shown(statement) }
    }

    pub(crate) fn unstorable(message: impl Into<String>, statement: &str) -> Error {
        Error::Unstorable { message: message.into(), statement: shown(statement) }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Error::Unstorable { .. } => Fault::Asked,
            Error::Transient(_) | Error::Lost(_) | Error::Unknown { .. } | Error::Untrusted => Fault::Away,
            _ => Fault::Ours,
        }
    }

    /// The error for somebody who asked over a network: without statements, which only the log shows.
    pub fn told(&self) -> String {
        match self {
            Error::Unstorable { message, .. } => format!("the database can't hold this: {message}"),
            Error::Statement { .. } | Error::Unique(_) => {
                "the database refused what this master asked of it; the master's log tells more".to_owned()
            }
            // Whoever asks need not know where the database is.
            Error::Transient(_) | Error::Lost(_) => {
                "the database can't be reached just now; try again".to_owned()
            }
            Error::Url { .. } | Error::Open { .. } | Error::Schema(_) => {
                "the database can't be used; the master's log tells more".to_owned()
            }
            other => other.to_string(),
        }
    }

    /// Whether running the same transaction again may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Error::Transient(_) | Error::Lost(_))
    }

    /// Whether the same rows will be refused again, however often they are written: what was to be written is wrong, not the
    /// state of the database.
    pub fn is_for_good(&self) -> bool {
        matches!(self, Error::Unstorable { .. } | Error::Unique(_) | Error::Data(_))
    }
}

fn shown(statement: &str) -> String {
    let mut shown: String = statement.chars().take(SHOWN).collect();
    if shown.len() < statement.len() {
        shown.push('…');
    }
    shown
}

/// Result of a store operation.
pub type Result<T> = std::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_to_nobody() {
        let text = "INSERT INTO builds (id) VALUES (?)";
        for error in [Error::statement("no such table", text), Error::unstorable("too long", text)] {
            assert!(!error.told().contains("INSERT"), "{}", error.told());
        }
        assert_eq!(Error::unstorable("too long", text).fault(), Fault::Asked);
        assert_eq!(Error::Lost("closed".to_owned()).fault(), Fault::Away);
    }
}
