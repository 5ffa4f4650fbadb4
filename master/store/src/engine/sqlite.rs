//! SQLite: one writer, a few readers, WAL.
//!
//! Statements run on the calling thread: they cost microseconds, less than handing them over would. Nothing waits
//! for the disk there, because with `synchronous=NORMAL` only a checkpoint does, and a thread of its own makes those.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};

use rusqlite::{ErrorCode, OpenFlags, config::DbConfig, types::ValueRef};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use super::{Create, Mode};
use crate::{Error, Result, Row, Value};

/// Readers beside the writer. More wait for one to come free.
const READERS: usize = 4;
/// How long a statement waits for another process that writes, before the transaction is tried again.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Prepared statements kept by a connection.
const STATEMENT_CACHE: usize = 256;
/// How often the write-ahead log is carried into the database file.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// The connections of one database file.
pub(crate) struct Engine {
    writer: Arc<Mutex<rusqlite::Connection>>,
    readers: Vec<Arc<Mutex<rusqlite::Connection>>>,
    free_readers: Arc<Semaphore>,
    /// Dropped with the engine, which ends the checkpoint thread.
    _checkpoints: mpsc::Sender<()>,
}

impl Engine {
    pub(crate) fn open(path: &Path, create: Create) -> Result<Engine> {
        let writer = connect(path, create)?;
        let mut readers = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            let reader = connect(path, Create::No)?;
            reader.pragma_update(None, "query_only", true).map_err(|e| open_error(path, &e))?;
            readers.push(Arc::new(Mutex::new(reader)));
        }
        Ok(Engine {
            writer: Arc::new(Mutex::new(writer)),
            readers,
            free_readers: Arc::new(Semaphore::new(READERS)),
            _checkpoints: spawn_checkpoints(path.to_owned())?,
        })
    }

    pub(crate) async fn begin(&self, mode: Mode) -> Result<Connection> {
        match mode {
            Mode::Look | Mode::Read => self.begin_read().await,
            Mode::Write => self.begin_write().await,
        }
    }

    async fn begin_write(&self) -> Result<Connection> {
        let guard = self.writer.clone().lock_owned().await;
        let connection = Connection { guard, _permit: None };
        connection.execute("BEGIN IMMEDIATE", Vec::new())?;
        Ok(connection)
    }

    async fn begin_read(&self) -> Result<Connection> {
        let permit = self.free_readers.clone().acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let free = self.readers.iter().find_map(|reader| reader.clone().try_lock_owned().ok());
        let guard = free.expect("there are as many permits as readers");
        let connection = Connection { guard, _permit: Some(permit) };
        connection.execute("BEGIN", Vec::new())?;
        Ok(connection)
    }
}

/// A connection inside a transaction. The guard comes before the permit: a reader is free before it is counted so.
pub(crate) struct Connection {
    guard: OwnedMutexGuard<rusqlite::Connection>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    pub(crate) fn execute(&self, statement: &str, params: Vec<Value>) -> Result<u64> {
        let run = || {
            let mut prepared = self.guard.prepare_cached(statement)?;
            let params = rusqlite::params_from_iter(params);
            if prepared.column_count() == 0 {
                return prepared.execute(params);
            }
            // A query that is run for the locks it takes elsewhere; the rows are counted.
            prepared.query(params)?.mapped(|_| Ok(())).try_fold(0, |found, row| row.map(|()| found + 1))
        };
        run().map(|changed| changed as u64).map_err(|error| statement_error(statement, &error))
    }

    pub(crate) fn insert(&self, statement: &str, params: Vec<Value>) -> Result<i64> {
        self.execute(statement, params)?;
        Ok(self.guard.last_insert_rowid())
    }

    pub(crate) fn query(&self, statement: &str, params: Vec<Value>) -> Result<Vec<Row>> {
        let run = || {
            let mut prepared = self.guard.prepare_cached(statement)?;
            let columns = prepared.column_count();
            let mut rows = prepared.query(rusqlite::params_from_iter(params))?;
            let mut answer = Vec::new();
            while let Some(row) = rows.next()? {
                let values: rusqlite::Result<Vec<Value>> =
                    (0..columns).map(|index| row.get_ref(index).map(from_sqlite)).collect();
                answer.push(Row(values?));
            }
            Ok(answer)
        };
        run().map_err(|error| statement_error(statement, &error))
    }

    pub(crate) fn script(&self, text: &str) -> Result<()> {
        self.guard.execute_batch(text).map_err(|error| statement_error(text, &error))
    }

    pub(crate) fn commit(self) -> Result<()> {
        let outcome = self.execute("COMMIT", Vec::new());
        if outcome.is_err() {
            self.roll_back();
        }
        outcome.map(|_| ())
    }

    pub(crate) fn rollback(self) {
        self.roll_back();
    }

    fn roll_back(&self) {
        // After some errors SQLite has rolled back by itself; then there is nothing left to do.
        if self.guard.is_autocommit() {
            return;
        }
        if let Err(error) = self.execute("ROLLBACK", Vec::new()) {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }
}

/// A body that was cancelled leaves its transaction open: the next user of the connection must not inherit it.
impl Drop for Connection {
    fn drop(&mut self) {
        self.roll_back();
    }
}

fn connect(path: &Path, create: Create) -> Result<rusqlite::Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if create == Create::Yes {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let setup = || {
        let connection = rusqlite::Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // SQLite would open a file that it may not write, and fail later.
        if connection.is_readonly("main")? {
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY),
                None,
            ));
        }
        connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
        // Plans must not depend on the values bound: SQLite would prepare such statements again at each use.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.query_row("PRAGMA journal_mode=WAL", [], |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        // Buildbot leaves foreign keys off, and a database of its making may hold rows that break them.
        connection.pragma_update(None, "foreign_keys", false)?;
        Ok(connection)
    };
    setup().map_err(|error| open_error(path, &error))
}

fn spawn_checkpoints(path: PathBuf) -> Result<mpsc::Sender<()>> {
    let connection = connect(&path, Create::No)?;
    let (sender, ended) = mpsc::channel::<()>();
    let run = move || {
        while ended.recv_timeout(CHECKPOINT_INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
            if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
                tracing::warn!(%error, path = %path.display(), "checkpoint failed; it is tried again");
            }
        }
    };
    let spawned = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(run);
    spawned.map_err(|error| Error::Open { path: String::new(), reason: error.to_string() })?;
    Ok(sender)
}

fn from_sqlite(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(value) => Value::Text(String::from_utf8_lossy(value).into_owned()),
        ValueRef::Blob(value) => Value::Blob(value.to_owned()),
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        let value = match self {
            Value::Null => ValueRef::Null,
            Value::Int(value) => ValueRef::Integer(*value),
            Value::Real(value) => ValueRef::Real(*value),
            Value::Text(value) => ValueRef::Text(value.as_bytes()),
            Value::Blob(value) => ValueRef::Blob(value),
        };
        Ok(rusqlite::types::ToSqlOutput::Borrowed(value))
    }
}

const READ_ONLY: &str = "let this user write to the file and to its directory";

fn open_error(path: &Path, error: &rusqlite::Error) -> Error {
    let hint = match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) => {
            "; does the directory exist, and may this user write there? (`muster upgrade-master` creates the file)"
        }
        Some(ErrorCode::NotADatabase) => "; the file is something else than an SQLite database",
        Some(ErrorCode::ReadOnly) => &format!("; {READ_ONLY}"),
        Some(ErrorCode::DiskFull) => "; make room on the disk",
        _ => "",
    };
    Error::Open { path: path.display().to_string(), reason: format!("{error}{hint}") }
}

fn statement_error(statement: &str, error: &rusqlite::Error) -> Error {
    let rusqlite::Error::SqliteFailure(code, _) = error else {
        return Error::statement(error.to_string(), statement);
    };
    match (code.code, code.extended_code) {
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => Error::Transient(error.to_string()),
        (
            ErrorCode::ConstraintViolation,
            rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY,
        ) => Error::Unique(error.to_string()),
        (ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch, _) => {
            Error::unstorable(error.to_string(), statement)
        }
        (ErrorCode::DiskFull, _) => Error::statement(format!("{error}; make room on the disk"), statement),
        (ErrorCode::ReadOnly, _) => Error::statement(format!("{error}; {READ_ONLY}"), statement),
        _ => Error::statement(error.to_string(), statement),
    }
}
