//! SQLite: one writer, a few readers, WAL.
//!
//! Statements run on the calling thread: they cost microseconds, less than handing them over would. Nothing waits
//! for the disk there, because with `synchronous=NORMAL` only a checkpoint does, and a thread of its own makes those.

mod journal;

use std::{
    collections::BTreeMap,
    fs::File,
    io::ErrorKind,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex as StdMutex, OnceLock, PoisonError, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
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
/// How often the write-ahead log is carried into the database file while there is always something new.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// How long nothing is written before it is carried over at once.
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(200);
/// Rights of a database: it holds passwords of workers and what builds say. SQLite gives them to its journal, too.
const PRIVATE: u32 = 0o600;

/// The connections of one database file.
pub(crate) struct Engine {
    writer: Arc<Mutex<rusqlite::Connection>>,
    readers: Vec<Arc<Mutex<rusqlite::Connection>>>,
    free_readers: Arc<Semaphore>,
    files: Files,
    checkpoints: Checkpoints,
    _in_use: InUse,
}

impl Engine {
    pub(crate) fn open(path: &Path, create: Create) -> Result<Engine> {
        if create == Create::Yes {
            make_private(path);
        }
        let in_use = InUse::note(path, || refuse_foreign_journal(path))?;
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
            files: Files::at(path),
            checkpoints: Checkpoints::spawn(path.to_owned())?,
            _in_use: in_use,
        })
    }

    pub(crate) async fn begin(&self, mode: Mode) -> Result<Connection> {
        match mode {
            Mode::Look | Mode::Read => self.begin_read().await,
            Mode::Write => self.begin_write().await,
        }
    }

    async fn begin_write(&self) -> Result<Connection> {
        self.files.are_there()?;
        let guard = self.writer.clone().lock_owned().await;
        let connection = Connection { guard, _permit: None };
        connection.execute("BEGIN IMMEDIATE", Vec::new())?;
        Ok(connection)
    }

    async fn begin_read(&self) -> Result<Connection> {
        self.files.are_there()?;
        let permit = self.free_readers.clone().acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let free = self.readers.iter().find_map(|reader| reader.clone().try_lock_owned().ok());
        let guard = free.expect("there are as many permits as readers");
        let connection = Connection { guard, _permit: Some(permit) };
        connection.execute("BEGIN", Vec::new())?;
        Ok(connection)
    }
}

/// The last connection that closes removes the journal: the thread's must not be the one that outlives the process.
impl Drop for Engine {
    fn drop(&mut self) {
        self.checkpoints.end();
    }
}

/// The files that the connections hold, by which it is seen that somebody has put others in their place.
struct Files {
    path: PathBuf,
    database: Option<(u64, u64)>,
    journal: OnceLock<(u64, u64)>,
}

impl Files {
    fn at(path: &Path) -> Files {
        Files { path: path.to_owned(), database: journal::identity(path), journal: OnceLock::new() }
    }

    /// Fails while the path means other files than those that are open: what is written into these is lost at the end.
    fn are_there(&self) -> Result<()> {
        let path = self.path.display();
        let advice = "nothing is read or written until it is back. Put it back, or stop this master, and start it when the \
                      file is as you want it";
        if journal::identity(&self.path) != self.database {
            return Err(Error::Lost(format!(
                "the file {path} was removed or replaced while it was open; {advice}"
            )));
        }
        let found = journal::identity(&journal::beside(&self.path, "-wal"));
        let known = match (self.journal.get(), found) {
            (Some(known), _) => Some(*known),
            (None, Some(found)) => Some(*self.journal.get_or_init(|| found)),
            (None, None) => None,
        };
        if known == found {
            return Ok(());
        }
        Err(Error::Lost(format!(
            "the journal {path}-wal was removed or replaced while it was open; {advice}"
        )))
    }
}

/// How often each database is open in this process.
static IN_USE: StdMutex<BTreeMap<PathBuf, usize>> = StdMutex::new(BTreeMap::new());

/// Counts one use of a database.
struct InUse(PathBuf);

impl InUse {
    /// `first` is done before the first one.
    fn note(path: &Path, first: impl FnOnce() -> Result<()>) -> Result<InUse> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        if !in_use.contains_key(&path) {
            first()?;
        }
        *in_use.entry(path.clone()).or_default() += 1;
        Ok(InUse(path))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = in_use.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                in_use.remove(&self.0);
            }
        }
    }
}

/// Makes a missing file for its user alone; SQLite would let the `umask` decide.
fn make_private(path: &Path) {
    if let Err(error) = File::options().write(true).create_new(true).mode(PRIVATE).open(path)
        && error.kind() != ErrorKind::AlreadyExists
    {
        // What is wrong with the path, SQLite tells.
        tracing::debug!(%error, "the database file can't be made");
    }
}

fn refuse_foreign_journal(path: &Path) -> Result<()> {
    match journal::is_foreign(path) {
        Ok(false) => Ok(()),
        Ok(true) => {
            let path = path.display();
            let reason = format!(
                "the journal {path}-wal beside it is of another file: a database was put here while that journal lay there, \
                 and would be hidden by it. To use {path} as it is, remove {path}-wal and {path}-shm. To use what the journal \
                 belongs to, put that file back; its last commits are in the journal"
            );
            Err(Error::Open { path: path.to_string(), reason })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => {
            Err(Error::Open { path: path.display().to_string(), reason: format!("its journal: {error}") })
        }
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

/// The thread that carries the write-ahead log into the file.
struct Checkpoints {
    /// Dropped to end it.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    fn spawn(path: PathBuf) -> Result<Checkpoints> {
        let connection = connect(&path, Create::No)?;
        let (stop, ended) = mpsc::channel::<()>();
        let run = move || {
            let (mut carried, mut last) = (None, Instant::now());
            let mut seen = None;
            while ended.recv_timeout(CHECKPOINT_PAUSE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let version =
                    connection.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0)).ok();
                let is_quiet = std::mem::replace(&mut seen, version) == version;
                if version == carried && version.is_some()
                    || !is_quiet && last.elapsed() < CHECKPOINT_INTERVAL
                {
                    continue;
                }
                last = Instant::now();
                match connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                    Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
                }) {
                    Ok((frames, done)) if frames == done => carried = version,
                    // Somebody still reads what was there before.
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%error, path = %path.display(), "checkpoint failed; it is tried again");
                    }
                }
            }
        };
        let spawned = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(run);
        let thread =
            spawned.map_err(|error| Error::Open { path: String::new(), reason: error.to_string() })?;
        Ok(Checkpoints { stop: Some(stop), thread: Some(thread) })
    }

    fn end(&mut self) {
        self.stop = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the checkpoint thread has panicked");
        }
    }
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
