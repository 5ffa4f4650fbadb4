//! PostgreSQL's errors, sorted by what can be done about them.

use std::{error::Error as _, fmt::Write as _};

use tokio_postgres::error::SqlState;

use super::values::OutOfRange;
use crate::Error;

/// The server's words with their cause: the driver's own text is only "db error".
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    let mut text = match error.as_db_error() {
        Some(error) => return format!("{} (SQLSTATE {})", error.message(), error.code().code()),
        None => error.to_string(),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String never fails.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

pub(super) fn sorted(statement: &str, error: &tokio_postgres::Error) -> Error {
    let message = words(error);
    let Some(code) = error.code() else {
        let broken = error.is_closed() || error.source().is_some_and(|cause| cause.is::<std::io::Error>());
        return match broken {
            true => Error::Lost(message),
            false if error.source().is_some_and(|cause| cause.is::<OutOfRange>()) => {
                Error::unstorable(message, statement)
            }
            false => Error::statement(message, statement),
        };
    };
    match *code {
        SqlState::UNIQUE_VIOLATION => Error::Unique(message),
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED | SqlState::LOCK_NOT_AVAILABLE => {
            Error::Transient(message)
        }
        SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN
        | SqlState::CANNOT_CONNECT_NOW
        | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
        // A fail-over has made this server a standby.
        | SqlState::READ_ONLY_SQL_TRANSACTION => Error::Lost(message),
        SqlState::DISK_FULL => Error::statement(format!("{message}; make room on the server's disk"), statement),
        _ if code.code().starts_with("08") => Error::Lost(message),
        // Data exceptions, integrity (but for unique keys), limits of the program: none of them goes away.
        _ if ["22", "23", "54"].iter().any(|class| code.code().starts_with(class)) => {
            Error::unstorable(message, statement)
        }
        _ => Error::statement(message, statement),
    }
}
