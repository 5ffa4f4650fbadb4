//! Transactions over whatever engine the URL names.

use std::{
    collections::BTreeMap,
    future::Future,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{DbUrl, Error, Result, Row, Value, migrate, sqlite};

/// How often a transaction is run again when the engine asks for it; then its error is reported.
const MAX_ATTEMPTS: u32 = 10;
/// The first wait before such a retry; it doubles each time.
const RETRY_WAIT: Duration = Duration::from_millis(10);

/// Proof that a transaction was committed. The bus accepts events in no other form (rule 3).
#[derive(Debug)]
#[must_use = "what was committed usually has events to publish"]
pub struct Committed<T>(T);

impl<T> Committed<T> {
    /// The same commit, seen otherwise: for instance as the events it is told by.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Committed<U> {
        Committed(f(self.0))
    }

    /// What the transaction returned.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> std::ops::Deref for Committed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// How often a named transaction ran, and how long in all.
#[derive(Clone, Copy, Debug, Default)]
pub struct TxStats {
    /// Commits.
    pub commits: u64,
    /// Attempts that the engine asked to repeat.
    pub retries: u64,
    /// Wall time of all, waits for the writer included.
    pub time: Duration,
}

/// A database. Clones share the connections.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    engine: sqlite::Engine,
    stats: Mutex<BTreeMap<&'static str, TxStats>>,
}

impl Db {
    /// Opens a database whose schema is there and usable ([`Db::upgrade`] makes it so).
    pub async fn open(url: &DbUrl) -> Result<Db> {
        let db = Db::connect(url, sqlite::Create::No)?;
        migrate::check(&db).await?;
        Ok(db)
    }

    /// Creates or migrates the schema, then opens the database.
    pub async fn upgrade(url: &DbUrl) -> Result<Db> {
        let db = Db::connect(url, sqlite::Create::Yes)?;
        migrate::run(&db).await?;
        Ok(db)
    }

    fn connect(url: &DbUrl, create: sqlite::Create) -> Result<Db> {
        let DbUrl::Sqlite(path) = url;
        let engine = sqlite::Engine::open(Path::new(path), create)?;
        Ok(Db(Arc::new(Inner { engine, stats: Mutex::default() })))
    }

    /// Runs `body` in one writing transaction. `name` is static: statistics, retries and spans are told by it.
    ///
    /// An error of the body rolls everything back. When the engine reports a conflict, the body runs again from its
    /// beginning, so it must change nothing outside the transaction.
    pub async fn tx<T, E, F, Fut>(&self, name: &'static str, mut body: F) -> std::result::Result<Committed<T>, E>
    where
        E: From<Error>,
        F: FnMut(Tx) -> Fut,
        Fut: Future<Output = std::result::Result<T, E>>,
    {
        let started = Instant::now();
        let mut attempt = 1;
        loop {
            let connection = self.0.engine.begin_write().await?;
            let tx = Tx::new(name, connection);
            let shared = tx.shared.clone();
            let outcome = body(tx).await;
            let (connection, transient) = shared.take(name)?;
            let transient = match outcome {
                Ok(value) => match connection.commit() {
                    Ok(()) => {
                        self.record(name, attempt, started.elapsed());
                        return Ok(Committed(value));
                    }
                    Err(error) if error.is_transient() => error,
                    Err(error) => return Err(error.into()),
                },
                Err(error) => {
                    connection.rollback();
                    match transient {
                        Some(transient) => transient,
                        None => return Err(error),
                    }
                }
            };
            if attempt == MAX_ATTEMPTS {
                return Err(transient.into());
            }
            tracing::debug!(name, attempt, %transient, "transaction runs again");
            tokio::time::sleep(RETRY_WAIT * 2_u32.pow(attempt - 1)).await;
            attempt += 1;
        }
    }

    /// Runs `body` on one consistent, read-only view of the database.
    pub async fn read<T, E, F, Fut>(&self, name: &'static str, body: F) -> std::result::Result<T, E>
    where
        E: From<Error>,
        F: FnOnce(Tx) -> Fut,
        Fut: Future<Output = std::result::Result<T, E>>,
    {
        let connection = self.0.engine.begin_read().await?;
        let tx = Tx::new(name, connection);
        let shared = tx.shared.clone();
        let outcome = body(tx).await;
        let (connection, _) = shared.take(name)?;
        connection.rollback();
        outcome
    }

    /// Statistics of all named transactions so far.
    pub fn stats(&self) -> BTreeMap<&'static str, TxStats> {
        self.0.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record(&self, name: &'static str, attempts: u32, time: Duration) {
        let mut stats = self.0.stats.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = stats.entry(name).or_default();
        entry.commits += 1;
        entry.retries += u64::from(attempts - 1);
        entry.time += time;
    }
}

/// A running transaction. It ends with the body it was given to; a handle kept longer answers with an error.
pub struct Tx {
    name: &'static str,
    shared: Arc<Shared>,
}

struct Shared(Mutex<State>);

struct State {
    connection: Option<sqlite::Connection>,
    transient: Option<Error>,
}

impl Shared {
    fn take(&self, name: &'static str) -> Result<(sqlite::Connection, Option<Error>)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = state.connection.take().ok_or(Error::Over(name))?;
        Ok((connection, state.transient.take()))
    }
}

impl Tx {
    fn new(name: &'static str, connection: sqlite::Connection) -> Tx {
        let state = State { connection: Some(connection), transient: None };
        Tx { name, shared: Arc::new(Shared(Mutex::new(state))) }
    }

    /// Runs a statement; answers how many rows it changed.
    pub async fn execute(&self, statement: &str, params: Vec<Value>) -> Result<u64> {
        self.on_connection(|connection| connection.execute(statement, params))
    }

    /// Inserts one row; answers its generated id.
    pub async fn insert(&self, statement: &str, params: Vec<Value>) -> Result<i64> {
        self.on_connection(|connection| connection.insert(statement, params))
    }

    /// Runs a query.
    pub async fn query(&self, statement: &str, params: Vec<Value>) -> Result<Vec<Row>> {
        self.on_connection(|connection| connection.query(statement, params))
    }

    /// Runs a query that answers at most one row of interest.
    pub async fn query_opt(&self, statement: &str, params: Vec<Value>) -> Result<Option<Row>> {
        Ok(self.query(statement, params).await?.into_iter().next())
    }

    /// Runs several statements without parameters: migrations only.
    pub(crate) async fn script(&self, text: &str) -> Result<()> {
        self.on_connection(|connection| connection.script(text))
    }

    fn on_connection<T>(&self, run: impl FnOnce(&sqlite::Connection) -> Result<T>) -> Result<T> {
        let mut state = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = state.connection.as_ref().ok_or(Error::Over(self.name))?;
        let outcome = run(connection);
        if let Err(Error::Transient(message)) = &outcome {
            state.transient = Some(Error::Transient(message.clone()));
        }
        outcome
    }
}

/// The text of a statement whose `(??)` stands for `count` parameters, as in `id IN (??)`.
pub(crate) fn expand_list(statement: &str, count: usize) -> String {
    let mut marks = "?,".repeat(count);
    marks.pop();
    statement.replacen("??", &marks, 1)
}
