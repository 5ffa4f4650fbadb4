//! A look into a master's database, beside the master.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::wait::until_ok;

/// How long another process may write.
const BUSY: Duration = Duration::from_secs(10);

/// Rows of work that has not ended, each kind with the query that finds it.
pub const OPEN_WORK: [(&str, &str); 10] = [
    ("requests", "SELECT count(*) FROM buildrequests WHERE complete = 0"),
    ("buildsets", "SELECT count(*) FROM buildsets WHERE complete = 0"),
    (
        "claims",
        "SELECT count(*) FROM buildrequest_claims c JOIN buildrequests r ON r.id = c.brid WHERE r.complete = 0",
    ),
    ("builds", "SELECT count(*) FROM builds WHERE complete_at IS NULL OR results IS NULL"),
    ("steps", "SELECT count(*) FROM steps WHERE complete_at IS NULL OR results IS NULL"),
    ("logs", "SELECT count(*) FROM logs WHERE complete = 0"),
    ("runs", "SELECT count(*) FROM muster_runs"),
    ("journal rows", "SELECT count(*) FROM muster_journal"),
    ("orders", "SELECT count(*) FROM muster_control"),
    ("locks", "SELECT count(*) FROM muster_lock_claims"),
];

/// A connection of one's own.
pub struct Database(Connection);

impl Database {
    /// Opens an existing database.
    #[track_caller]
    pub fn open(path: &Path) -> Database {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        connection.busy_timeout(BUSY).unwrap();
        Database(connection)
    }

    /// The number that a query answers.
    #[track_caller]
    pub fn number(&self, query: &str) -> i64 {
        self.0.query_row(query, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// Changes something.
    #[track_caller]
    pub fn execute(&self, statement: &str) {
        self.0.execute(statement, []).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    /// Waits until no row of unfinished work is left.
    #[track_caller]
    pub fn wait_until_idle(&self) {
        // The master may just be writing the last of it.
        until_ok(|| {
            let counts = OPEN_WORK.map(|(kind, query)| (kind, self.number(query)));
            let left: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("no unfinished rows; there are {left:?}")) }
        });
    }
}
