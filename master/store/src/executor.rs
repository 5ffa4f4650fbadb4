//! Transactions over whatever engine the URL names.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    DbUrl, Dialect, Error, Result, Row, Value,
    dialect::{Purpose, Statements, batches, expand_list, expand_rows, padded, returning_id},
    engine::{Connection, Create, Engine, Mode, Single},
    together::Asked,
};

/// How often a transaction is run again when the engine asks for it; then its error is reported. (While the server
/// can't be reached, `reconnect_timeout` of the URL decides instead.)
const MAX_CONFLICTS: u32 = 10;
/// The first wait before such a retry; it doubles each time.
const RETRY_WAIT: Duration = Duration::from_millis(10);
/// The longest wait between two attempts.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(1);

/// Rows that one statement inserts at most: what it carries stays far below the limits of every server.
const ROWS_PER_STATEMENT: usize = 64;

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
    engine: Engine,
    statements: Statements,
    stats: Mutex<BTreeMap<&'static str, TxStats>>,
    pace: OnceLock<Pace>,
}

/// How much longer the way to the database takes, or back from it.
type Pace = Box<dyn Fn() -> Duration + Send + Sync>;

impl Db {
    /// Connects without a look at the schema.
    pub(crate) async fn connect(url: &DbUrl, create: Create) -> Result<Db> {
        let engine = Engine::new(url, create)?;
        engine.probe().await?;
        let statements = Statements::new(engine.dialect());
        let (stats, pace) = (Mutex::default(), OnceLock::new());
        Ok(Db(Arc::new(Inner { engine, statements, stats, pace })))
    }

    /// Which kind of engine this is.
    pub fn dialect(&self) -> Dialect {
        self.0.engine.dialect()
    }

    /// Lets every transaction wait before it begins, and once more when it has ended, for as long as `pace` says each time. So a
    /// simulation has a server far away, where others act between a commit and its answer; SQLite answers at once.
    pub fn slow_down(&self, pace: impl Fn() -> Duration + Send + Sync + 'static) {
        // Whoever comes second shares the first one's pace.
        let _ = self.0.pace.set(Box::new(pace));
    }

    async fn travel(&self) {
        let wait = self.0.pace.get().map(|pace| pace()).filter(|wait| !wait.is_zero());
        if let Some(wait) = wait {
            Box::pin(tokio::time::sleep(wait)).await;
        }
    }

    /// Runs `body` in one writing transaction. `name` is static: statistics, retries and spans are told by it.
    ///
    /// An error of the body rolls everything back. When the engine reports a conflict, or the server was away, the body
    /// runs again from its beginning, so it must change nothing outside the transaction. The outcome is certain:
    /// `Ok` is committed and every error is not, but for [`Error::Unknown`].
    pub async fn tx<T, E, F, Fut>(
        &self,
        name: &'static str,
        mut body: F,
    ) -> std::result::Result<Committed<T>, E>
    where
        E: From<Error>,
        F: FnMut(Tx) -> Fut,
        Fut: Future<Output = std::result::Result<T, E>>,
    {
        let mut attempts = Attempts::new(self.0.engine.reconnect_timeout());
        loop {
            self.travel().await;
            let failed = match self.0.engine.begin(Mode::Write).await {
                Ok(connection) => {
                    // The body is called here and not in a function of its own: a future that borrowed it could not be
                    // proven to be `Send` by callers.
                    let tx = Tx::new(name, self.0.clone(), connection);
                    let shared = tx.shared.clone();
                    let outcome = body(tx).await;
                    settle(name, &shared, outcome).await
                }
                Err(error) => Err(Failed::from_store(error)),
            };
            let failed = match failed {
                Ok(value) => {
                    self.record(name, &attempts);
                    self.travel().await;
                    return Ok(Committed(value));
                }
                Err(Failed::ForGood(error)) => return Err(error),
                Err(Failed::MayBeRetried(error)) => error,
            };
            attempts.pause(name, failed).await?;
        }
    }

    /// Runs one statement that is a transaction by itself, if it changes exactly so many rows; otherwise nothing is changed,
    /// and the answer is `None`. Where the server allows it, that is one round trip. `effect` is a query that finds so many
    /// rows when it was done: it may be asked when the answer was lost, so nobody else may do the same meanwhile.
    pub(crate) async fn exactly(
        &self,
        rows: u64,
        name: &'static str,
        (statement, params): (&str, Vec<Value>),
        (effect, of_effect): (&str, Vec<Value>),
    ) -> Result<Option<Committed<()>>> {
        let rendered = |text| self.0.statements.get(text, Purpose::Run);
        let effect = (rendered(effect), of_effect);
        let single = Single { statement: rendered(statement), params, rows, effect };
        let mut attempts = Attempts::new(self.0.engine.reconnect_timeout());
        loop {
            self.travel().await;
            let outcome = match self.0.engine.begin(Mode::Write).await {
                Ok(connection) => connection.only(&single).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(done) => {
                    self.record(name, &attempts);
                    self.travel().await;
                    return Ok(done.then_some(Committed(())));
                }
                Err(Error::Unknown { reason, .. }) => return Err(Error::Unknown { name, reason }),
                Err(error) if error.is_transient() => attempts.pause(name, error).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs queries that need no common view, each one as of its own moment: that saves a server the beginning and the end
    /// of a transaction. Nothing may be written.
    pub async fn look<T, E, F, Fut>(&self, name: &'static str, body: F) -> std::result::Result<T, E>
    where
        E: From<Error>,
        F: FnOnce(Tx) -> Fut,
        Fut: Future<Output = std::result::Result<T, E>>,
    {
        self.read_as(Mode::Look, name, body).await
    }

    /// Runs `body` on one consistent, read-only view of the database.
    pub async fn read<T, E, F, Fut>(&self, name: &'static str, body: F) -> std::result::Result<T, E>
    where
        E: From<Error>,
        F: FnOnce(Tx) -> Fut,
        Fut: Future<Output = std::result::Result<T, E>>,
    {
        self.read_as(Mode::Read, name, body).await
    }

    async fn read_as<T, E, F, Fut>(
        &self,
        mode: Mode,
        name: &'static str,
        body: F,
    ) -> std::result::Result<T, E>
    where
        E: From<Error>,
        F: FnOnce(Tx) -> Fut,
        Fut: Future<Output = std::result::Result<T, E>>,
    {
        self.travel().await;
        let connection = self.0.engine.begin(mode).await?;
        let tx = Tx::new(name, self.0.clone(), connection);
        let shared = tx.shared.clone();
        let outcome = body(tx).await;
        let (connection, _) = shared.take(name).await?;
        connection.rollback().await;
        self.travel().await;
        outcome
    }

    /// Statistics of all named transactions so far.
    pub fn stats(&self) -> BTreeMap<&'static str, TxStats> {
        self.0.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record(&self, name: &'static str, attempts: &Attempts) {
        let mut stats = self.0.stats.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = stats.entry(name).or_default();
        entry.commits += 1;
        entry.retries += u64::from(attempts.conflicts);
        entry.time += attempts.started.elapsed();
        drop(stats);
        metrics::histogram!("muster_transaction_seconds", "transaction" => name)
            .record(attempts.started.elapsed());
        if attempts.conflicts > 0 {
            metrics::counter!("muster_transaction_retries_total", "transaction" => name)
                .increment(attempts.conflicts.into());
        }
    }
}

/// Ends an attempt as its body wants it: commits, or rolls back.
async fn settle<T, E: From<Error>>(
    name: &'static str,
    shared: &Shared,
    outcome: std::result::Result<T, E>,
) -> std::result::Result<T, Failed<E>> {
    let (connection, transient) = shared.take(name).await.map_err(Failed::from_store)?;
    // A conflict that the body has overlooked still made the engine forget what was done before.
    if let Some(transient) = transient {
        connection.rollback().await;
        return Err(Failed::MayBeRetried(transient));
    }
    match outcome {
        Ok(value) => match connection.commit().await {
            Ok(()) => Ok(value),
            Err(Error::Unknown { reason, .. }) => {
                Err(Failed::ForGood(Error::Unknown { name, reason }.into()))
            }
            Err(error) => Err(Failed::from_store(error)),
        },
        Err(error) => {
            connection.rollback().await;
            Err(Failed::ForGood(error))
        }
    }
}

/// Why an attempt did not commit.
enum Failed<E> {
    MayBeRetried(Error),
    ForGood(E),
}

impl<E: From<Error>> Failed<E> {
    fn from_store(error: Error) -> Failed<E> {
        if error.is_transient() { Failed::MayBeRetried(error) } else { Failed::ForGood(error.into()) }
    }
}

/// How often a transaction has failed, and whether it is tried again.
struct Attempts {
    started: Instant,
    conflicts: u32,
    pause: Duration,
    reconnect_timeout: Duration,
}

impl Attempts {
    fn new(reconnect_timeout: Duration) -> Attempts {
        Attempts { started: Instant::now(), conflicts: 0, pause: RETRY_WAIT, reconnect_timeout }
    }

    /// Waits before the next attempt; when it was enough, the error is the answer.
    async fn pause(&mut self, name: &'static str, error: Error) -> Result<()> {
        let Some(wait) = self.next(&error) else { return Err(error) };
        tracing::debug!(name, conflicts = self.conflicts, %error, "transaction runs again");
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// The wait before the next attempt, or `None` when it is enough.
    fn next(&mut self, error: &Error) -> Option<Duration> {
        let enough = match error {
            Error::Lost(_) => self.started.elapsed() >= self.reconnect_timeout,
            _ => {
                self.conflicts += 1;
                self.conflicts >= MAX_CONFLICTS
            }
        };
        let wait = self.pause;
        self.pause = (self.pause * 2).min(MAX_RETRY_WAIT);
        // Spread, so that those who met once don't meet again.
        (!enough).then(|| wait.mul_f64(0.5 + fastrand::f64()))
    }
}

/// A running transaction. It ends with the body it was given to; a handle kept longer answers with an error.
pub struct Tx {
    name: &'static str,
    db: Arc<Inner>,
    shared: Arc<Shared>,
}

/// Only the transaction's own body waits here: its statements run one after the other, but for queries that are asked at
/// the same time.
struct Shared {
    state: tokio::sync::Mutex<State>,
    asked: Asked,
}

struct State {
    connection: Option<Connection>,
    transient: Option<Error>,
}

impl Shared {
    async fn take(&self, name: &'static str) -> Result<(Connection, Option<Error>)> {
        let mut state = self.state.lock().await;
        let connection = state.connection.take().ok_or(Error::Over(name))?;
        Ok((connection, state.transient.take()))
    }
}

impl State {
    fn note<T>(&mut self, outcome: Result<T>) -> Result<T> {
        match &outcome {
            Err(Error::Transient(message)) => self.transient = Some(Error::Transient(message.clone())),
            Err(Error::Lost(message)) => self.transient = Some(Error::Lost(message.clone())),
            _ => {}
        }
        outcome
    }
}

impl Tx {
    fn new(name: &'static str, db: Arc<Inner>, connection: Connection) -> Tx {
        let state = State { connection: Some(connection), transient: None };
        let shared = Shared { state: tokio::sync::Mutex::new(state), asked: Asked::default() };
        Tx { name, db, shared: Arc::new(shared) }
    }

    /// Which kind of engine runs this.
    pub fn dialect(&self) -> Dialect {
        self.db.engine.dialect()
    }

    /// Whether an insert may be asked what it has made (`RETURNING`).
    pub(crate) fn returns(&self) -> bool {
        self.db.engine.returns()
    }

    /// Runs a statement; answers how many rows it changed (or found, where there was nothing to change).
    pub async fn execute(&self, statement: &str, params: Vec<Value>) -> Result<u64> {
        let rendered = self.db.statements.get(statement, Purpose::Run);
        let mut state = self.shared.state.lock().await;
        let connection = state.connection.as_mut().ok_or(Error::Over(self.name))?;
        let outcome = connection.execute(&rendered, params).await;
        state.note(outcome)
    }

    /// Runs a statement of which only the success matters. Where that saves a round trip, it goes out with the next one;
    /// its error is then the next one's, or the commit's. In any case it has run before whatever follows.
    pub(crate) async fn later(&self, statement: &str, params: Vec<Value>) -> Result<()> {
        let rendered = self.db.statements.get(statement, Purpose::Run);
        let mut state = self.shared.state.lock().await;
        let connection = state.connection.as_mut().ok_or(Error::Over(self.name))?;
        let outcome = connection.defer(&rendered, params).await;
        state.note(outcome)
    }

    /// The same for a statement with a list (`(??)`) of values; none of them, nothing to do.
    pub(crate) async fn later_among(&self, statement: &str, list: Vec<Value>) -> Result<()> {
        if list.is_empty() {
            return Ok(());
        }
        let list = padded(list);
        self.later(&expand_list(statement, list.len()), list).await
    }

    /// The same for a statement that ends with a list, after other values.
    pub(crate) async fn later_about(
        &self,
        statement: &str,
        mut values: Vec<Value>,
        list: Vec<Value>,
    ) -> Result<()> {
        let list = padded(list);
        let statement = expand_list(statement, list.len());
        values.extend(list);
        self.later(&statement, values).await
    }

    /// Inserts one row; answers its generated id.
    pub async fn insert(&self, statement: &str, params: Vec<Value>) -> Result<i64> {
        let rendered = self.db.statements.get(statement, Purpose::NewId);
        let mut state = self.shared.state.lock().await;
        let connection = state.connection.as_mut().ok_or(Error::Over(self.name))?;
        let outcome = connection.insert(&rendered, params).await;
        state.note(outcome)
    }

    /// Runs a query. Several that are asked at the same time (joined futures) cost one round trip, where the engine can do
    /// that; they run in the order in which they were asked, and when one fails, all have failed.
    pub async fn query(&self, statement: &str, params: Vec<Value>) -> Result<Vec<Row>> {
        let rendered = self.db.statements.get(statement, Purpose::Run);
        let answer = self.shared.asked.push(rendered, params);
        if self.db.engine.is_far() {
            // Whoever else asks now does it before this goes on.
            tokio::task::yield_now().await;
        }
        let mut state = self.shared.state.lock().await;
        if let Some(rows) = answer.take() {
            return rows;
        }
        let questions = self.shared.asked.take();
        let connection = state.connection.as_mut().ok_or(Error::Over(self.name))?;
        if let Err(error) = connection.ask(&questions).await {
            let _: Result<()> = state.note(Err(error.clone()));
            questions.iter().for_each(|question| question.answer.fill(Err(error.clone())));
        }
        answer.take().ok_or(Error::Over(self.name))?
    }

    /// Runs a query that answers at most one row of interest.
    pub async fn query_opt(&self, statement: &str, params: Vec<Value>) -> Result<Option<Row>> {
        Ok(self.query(statement, params).await?.into_iter().next())
    }

    /// Runs a query with a list (`(??)`) of values; none of them, no row.
    pub(crate) async fn query_among(&self, statement: &str, list: Vec<Value>) -> Result<Vec<Row>> {
        if list.is_empty() {
            return Ok(Vec::new());
        }
        let list = padded(list);
        self.query(&expand_list(statement, list.len()), list).await
    }

    /// Inserts rows (`VALUES (??)`, each with as many marks as `row` has), several with each statement.
    pub(crate) async fn insert_rows(&self, statement: &str, row: &str, rows: Vec<Vec<Value>>) -> Result<()> {
        let sizes = batches(rows.len(), ROWS_PER_STATEMENT);
        let mut rows = rows.into_iter();
        for size in sizes {
            let values = rows.by_ref().take(size).flatten().collect();
            self.later(&expand_rows(statement, row, size), values).await?;
        }
        Ok(())
    }

    /// The same for rows with a generated `id`; answers the ids in the rows' order.
    pub(crate) async fn insert_rows_with_ids(
        &self,
        statement: &str,
        row: &str,
        rows: Vec<Vec<Value>>,
    ) -> Result<Vec<i64>> {
        let mut ids = Vec::with_capacity(rows.len());
        if !self.returns() {
            let single = expand_rows(statement, row, 1);
            for values in rows {
                ids.push(self.insert(&single, values).await?);
            }
            return Ok(ids);
        }
        let sizes = batches(rows.len(), ROWS_PER_STATEMENT);
        let mut rows = rows.into_iter();
        for size in sizes {
            let values = rows.by_ref().take(size).flatten().collect();
            let statement = returning_id(&expand_rows(statement, row, size));
            let made = self.query(&statement, values).await?;
            let mut made = made.iter().map(|row| row.int(0)).collect::<Result<Vec<i64>>>()?;
            // The sequence is asked row by row; only the order of the answer is not promised.
            made.sort_unstable();
            ids.extend(made);
        }
        Ok(ids)
    }

    /// Asks that the whole transaction runs again, whatever its body makes of this error.
    pub(crate) async fn run_again(&self, reason: String) -> Error {
        self.shared.state.lock().await.transient = Some(Error::Transient(reason.clone()));
        Error::Transient(reason)
    }

    /// Runs several statements without parameters: migrations only.
    pub(crate) async fn script(&self, text: &str) -> Result<()> {
        let mut state = self.shared.state.lock().await;
        let connection = state.connection.as_mut().ok_or(Error::Over(self.name))?;
        let outcome = connection.script(text).await;
        state.note(outcome)
    }
}
