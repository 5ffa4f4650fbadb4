//! PostgreSQL: pipelined statements over a pool of connections that are made when they are needed.

mod deferred;
mod values;

use std::{
    error::Error as _,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, PoolError, QueueMode, RecyclingMethod, Runtime,
    TimeoutType,
};
use futures_util::future::{join, join3};
use tokio::time::Instant;
use tokio_postgres::{
    NoTls,
    config::{SslMode, TargetSessionAttrs},
    error::SqlState,
    types::ToSql,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use deferred::{Deferred, prepared_all, run_all};
use values::{Cell, Param};

use super::{Mode, tls};
use crate::{
    Error, Result, Row, Value,
    url::{Pool, ServerUrl, TlsMode},
};

/// The oldest server that will do: `SKIP LOCKED` came with 9.5, looking up the fate of a transaction with 10.
const OLDEST: i64 = 100_000;
/// Prepared statements that a connection keeps; beyond them (lists of many lengths) it begins anew.
const STATEMENTS: usize = 512;
/// Statements that wait for the next one at most; with more of them, they go out. What they carry is in memory anyway.
const MAX_DEFERRED: usize = 32;
/// How long between two looks at a transaction whose commit is still under way in the server.
const RESOLVE_PAUSE: Duration = Duration::from_millis(50);

const BEGIN_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// The number of a transaction that writes: by it the server tells later what became of it.
const NUMBER: &str = "SELECT txid_current()";
/// Leaves a token in the connection's own row, as the last statement of a transaction that writes.
const LEAVE_TOKEN: &str = "INSERT INTO muster_commits (connection, token, committed_at) VALUES \
    (coalesce(nullif(current_setting('muster.connection', true), ''), \
    set_config('muster.connection', $1::text, false)), $1::text, extract(epoch FROM now())::bigint) \
    ON CONFLICT (connection) DO UPDATE SET token = excluded.token, committed_at = excluded.committed_at";

/// A PostgreSQL database.
pub(crate) struct Engine(Arc<Inner>);

struct Inner {
    pool: deadpool_postgres::Pool,
    place: String,
    times: Pool,
    /// Whether `muster_commits` is there: not before the schema is.
    has_commits: AtomicBool,
}

impl Engine {
    pub(crate) fn new(url: &ServerUrl) -> Result<Engine> {
        let place = url.place();
        let open_error = |reason: String| Error::Open { path: place.clone(), reason };
        let config = driver_config(url);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = if url.tls.mode == TlsMode::Disable {
            Manager::from_config(config, NoTls, recycling)
        } else {
            let tls = tls::client_config(&url.tls).map_err(|reason| open_error(format!("TLS: {reason}")))?;
            Manager::from_config(config, MakeRustlsConnect::new(tls), recycling)
        };
        let max_idle = url.pool.max_idle;
        let pool = deadpool_postgres::Pool::builder(manager)
            .max_size(url.pool.size)
            // The one that was used last has its statements prepared and its caches warm; the others may go.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(url.pool.wait))
            .create_timeout(Some(url.pool.connect_timeout))
            .recycle_timeout(Some(url.pool.connect_timeout))
            .pre_recycle(Hook::sync_fn(move |_, metrics| {
                if metrics.last_used() > max_idle {
                    Err(HookError::message("idle for too long"))
                } else {
                    Ok(())
                }
            }))
            .build()
            .map_err(|error| open_error(error.to_string()))?;
        let has_commits = AtomicBool::new(false);
        Ok(Engine(Arc::new(Inner { pool, place: place.clone(), times: url.pool.clone(), has_commits })))
    }

    pub(crate) fn reconnect_timeout(&self) -> Duration {
        self.0.times.reconnect_timeout
    }

    pub(crate) async fn probe(&self) -> Result<()> {
        let refuse = |reason: String| Error::Open { path: self.0.place.clone(), reason };
        let client = match self.0.client().await {
            Err(Error::Lost(reason)) => return Err(refuse(reason)),
            other => other?,
        };
        let query = "SELECT current_setting('server_version_num')::bigint, current_setting('server_version'), \
                     current_setting('server_encoding')";
        let row = client.query_one(query, &[]).await.map_err(|error| refuse(words(&error)))?;
        let (number, version, encoding): (i64, String, String) = (row.get(0), row.get(1), row.get(2));
        refusal(number, &version, &encoding).map_or(Ok(()), |reason| Err(refuse(reason)))
    }

    pub(crate) async fn begin(&self, mode: Mode) -> Result<Connection> {
        let client = self.0.client().await?;
        Ok(Connection {
            engine: self.0.clone(),
            client: Some(client),
            mode,
            state: State::Fresh,
            number: None,
            deferred: Vec::new(),
        })
    }
}

impl Inner {
    async fn client(&self) -> Result<Object> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => Error::Lost(format!(
                "no connection came free within {} s; all {} are in use (pool_size, pool_timeout)",
                self.times.wait.as_secs(),
                self.times.size
            )),
            PoolError::Timeout(_) => Error::Lost(format!(
                "{} did not answer within {} s; is the host right, and does a fire wall let us through?",
                self.place,
                self.times.connect_timeout.as_secs()
            )),
            PoolError::Backend(error) => self.connect_error(&error),
            other => Error::Lost(other.to_string()),
        })
    }

    /// Why connecting failed. What waiting can't mend is no lost connection.
    fn connect_error(&self, error: &tokio_postgres::Error) -> Error {
        let reason = words(error);
        let hint = match error.code() {
            Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
                "; check user and password in db_url, and pg_hba.conf on the server"
            }
            Some(&SqlState::INVALID_CATALOG_NAME) => "; make it with `createdb -E UTF8 NAME`, or mend db_url",
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => "; grant CONNECT on the database to this user",
            Some(_) => return Error::Lost(format!("{}: {reason}", self.place)),
            None if reason.contains("certificate") => {
                "; check sslmode and sslrootcert in db_url, and that the server's certificate is for this host"
            }
            None if reason.contains("password missing") => {
                "; put the password into db_url or MUSTER_DB_PASSWORD"
            }
            None => {
                let hint = match reason.contains("does not allow writes") {
                    true => "is it a standby? name the host that takes writes",
                    false => "is the server up, and are host and port right?",
                };
                return Error::Lost(format!("{}: {reason}; {hint}", self.place));
            }
        };
        Error::Open { path: self.place.clone(), reason: format!("{reason}{hint}") }
    }

    /// Finds out what became of a transaction whose commit was not answered.
    async fn resolve(&self, number: i64, token: Option<&str>) -> Result<()> {
        let unknown = |reason: String| Error::Unknown { name: "", reason };
        let deadline = Instant::now() + self.times.reconnect_timeout;
        loop {
            let status = match self.client().await {
                Ok(client) => {
                    client.query_one("SELECT txid_status($1)", &[&number]).await.map_err(|e| words(&e))
                }
                Err(error) => Err(error.to_string()),
            };
            let waiting = match status.map(|row| row.get::<_, Option<String>>(0)) {
                Ok(Some(status)) if status == "committed" => match self.has_token(token).await {
                    Ok(true) => return Ok(()),
                    // The number is another transaction's: the server crashed, and gave it again.
                    Ok(false) => return Err(Error::Lost("the server crashed before the commit".to_owned())),
                    Err(error) => error.to_string(),
                },
                Ok(Some(status)) if status == "aborted" => {
                    return Err(Error::Lost("the connection broke before the commit".to_owned()));
                }
                Ok(None) => return Err(unknown("the server has forgotten it".to_owned())),
                Ok(Some(status)) => status,
                Err(reason) => reason,
            };
            if Instant::now() > deadline {
                return Err(unknown(waiting));
            }
            tokio::time::sleep(RESOLVE_PAUSE).await;
        }
    }
}

impl Inner {
    /// Whether the transaction that left this token is committed; one without a token is believed.
    async fn has_token(&self, token: Option<&str>) -> Result<bool> {
        let Some(token) = token else { return Ok(true) };
        let query = "SELECT 1 FROM muster_commits WHERE token = $1";
        let found = self.client().await?.query_opt(query, &[&token]).await;
        found.map(|row| row.is_some()).map_err(|error| sorted(query, &error))
    }

    /// A token for a writing transaction, once there is the table for it.
    async fn token(&self, client: &Object) -> Result<Option<String>> {
        if !self.has_commits.load(Ordering::Relaxed) {
            let query = "SELECT to_regclass('muster_commits') IS NOT NULL";
            let there = client.query_one(query, &[]).await.map_err(|error| sorted(query, &error))?;
            if !there.get::<_, bool>(0) {
                return Ok(None);
            }
            self.has_commits.store(true, Ordering::Relaxed);
        }
        Ok(Some(format!("{:032x}", fastrand::u128(..))))
    }
}

/// Why a server can't be used, if it can't.
fn refusal(number: i64, version: &str, encoding: &str) -> Option<String> {
    if number < OLDEST {
        return Some(format!("the server is PostgreSQL {version}; Muster needs 10 or newer"));
    }
    (encoding != "UTF8").then(|| {
        format!("its encoding is {encoding}, which can't hold every text; make a database WITH ENCODING 'UTF8' and copy it")
    })
}

/// Runs what is deferred, leaves the token and commits, in one go. Everything is prepared: the server plans none of it
/// again.
async fn commit_with(
    client: &Object,
    deferred: &[Deferred],
    token: Option<&str>,
) -> std::result::Result<(), tokio_postgres::Error> {
    let deferred = prepared_all(client, deferred).await?;
    let commit = client.prepare_cached("COMMIT").await?;
    let Some(token) = token else {
        let (done, committed) = join(run_all(client, &deferred), client.execute(&commit, &[])).await;
        return done.and(committed).map(|_| ());
    };
    let leave = client.prepare_cached(LEAVE_TOKEN).await?;
    let values: [&(dyn ToSql + Sync); 1] = [&token];
    let (done, left, committed) =
        join3(run_all(client, &deferred), client.execute(&leave, &values), client.execute(&commit, &[]))
            .await;
    // When one before it has failed, the last has rolled back, and says nothing of it.
    done.and(left).and(committed).map(|_| ())
}

fn driver_config(url: &ServerUrl) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config.application_name("muster").dbname(&url.database);
    if let Some(user) = &url.user {
        config.user(user);
    } else if let Ok(user) = std::env::var("USER") {
        config.user(user);
    }
    if let Some(password) = &url.password {
        config.password(password.reveal());
    }
    for (host, port) in &url.hosts {
        config.host(host).port(port.unwrap_or(5432));
    }
    config.ssl_mode(match url.tls.mode {
        TlsMode::Disable => SslMode::Disable,
        TlsMode::Prefer => SslMode::Prefer,
        _ => SslMode::Require,
    });
    if url.writable_only {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    let pool = &url.pool;
    config
        .connect_timeout(pool.connect_timeout)
        .keepalives(true)
        .keepalives_idle(pool.keepalive_idle)
        .keepalives_interval(pool.keepalive_interval)
        .keepalives_retries(pool.keepalive_count)
        .tcp_user_timeout(pool.keepalive_idle + pool.keepalive_interval * pool.keepalive_count);
    config
}

/// Where a transaction stands.
enum State {
    /// `BEGIN` was not sent yet; it goes out together with the first statement.
    Fresh,
    Begun,
    /// A statement failed: the server refuses whatever follows, and answers COMMIT by rolling back.
    Failed(String),
    Over,
}

/// What a statement is run for.
#[derive(Clone, Copy)]
enum Wanted {
    Count,
    Rows,
}

enum Answer {
    Count(u64),
    Rows(Vec<tokio_postgres::Row>),
}

/// A connection inside a transaction.
pub(crate) struct Connection {
    engine: Arc<Inner>,
    client: Option<Object>,
    mode: Mode,
    state: State,
    /// The transaction's number, where it writes.
    number: Option<i64>,
    /// Statements that go out together with the next one.
    deferred: Vec<Deferred>,
}

impl Connection {
    pub(crate) async fn execute(&mut self, statement: &str, params: Vec<Value>) -> Result<u64> {
        let params = self.params(params);
        match self.run(statement, params, Wanted::Count).await? {
            Answer::Count(changed) => Ok(changed),
            Answer::Rows(rows) => Ok(rows.len() as u64),
        }
    }

    pub(crate) async fn query(&mut self, statement: &str, params: Vec<Value>) -> Result<Vec<Row>> {
        let params = self.params(params);
        match self.run(statement, params, Wanted::Rows).await? {
            Answer::Count(_) => Ok(Vec::new()),
            Answer::Rows(rows) => rows
                .iter()
                .map(from_postgres)
                .collect::<std::result::Result<_, _>>()
                .map_err(|error| sorted(statement, &error)),
        }
    }

    pub(crate) async fn script(&mut self, text: &str) -> Result<()> {
        // Anything begins the transaction; a script is not prepared.
        self.query("SELECT 1", Vec::new()).await?;
        let outcome = self.client()?.batch_execute(text).await;
        self.note(text, outcome)
    }

    /// Runs a statement at the latest with the next one, or with the commit; an error of it is theirs then.
    pub(crate) async fn defer(&mut self, statement: &str, params: Vec<Value>) -> Result<()> {
        self.deferred.push(Deferred { statement: statement.to_owned(), params: self.params(params) });
        if self.deferred.len() < MAX_DEFERRED {
            return Ok(());
        }
        let Some(last) = self.deferred.pop() else { return Ok(()) };
        self.run(&last.statement, last.params, Wanted::Count).await.map(|_| ())
    }

    fn params(&self, values: Vec<Value>) -> Vec<Param> {
        values.into_iter().map(|value| Param { value, mode: self.mode }).collect()
    }

    fn client(&self) -> Result<&Object> {
        self.client.as_ref().ok_or(Error::Over("connection"))
    }

    /// Runs one statement; the first one begins the transaction, on another connection when the pool's was dead.
    async fn run(&mut self, statement: &str, params: Vec<Param>, wanted: Wanted) -> Result<Answer> {
        let fresh = matches!(self.state, State::Fresh);
        match self.run_once(statement, &params, wanted).await {
            Err(Error::Lost(_)) if fresh => {
                self.client = Some(self.engine.client().await?);
                self.state = State::Fresh;
                self.run_once(statement, &params, wanted).await
            }
            other => other,
        }
    }

    async fn run_once(&mut self, statement: &str, params: &[Param], wanted: Wanted) -> Result<Answer> {
        if let State::Failed(reason) = &self.state {
            return Err(Error::statement(format!("a statement before failed ({reason})"), statement));
        }
        // From here on the server may have a transaction, also when nobody waits for its answer any more.
        let begins = self.mode != Mode::Look;
        let first = begins && matches!(std::mem::replace(&mut self.state, State::Begun), State::Fresh);
        let client = self.client()?;
        let answer = async {
            let prepared = client.prepare_cached(statement).await?;
            let deferred = prepared_all(client, &self.deferred).await?;
            let answer = async {
                match wanted {
                    Wanted::Count => client.execute_raw(&prepared, params).await.map(Answer::Count),
                    Wanted::Rows => {
                        let references: Vec<&(dyn ToSql + Sync)> =
                            params.iter().map(|param| param as _).collect();
                        client.query(&prepared, &references).await.map(Answer::Rows)
                    }
                }
            };
            let (deferred, answer) = join(run_all(client, &deferred), answer).await;
            deferred.and(answer)
        };
        let outcome = if first {
            let begun = begin_with(client, self.mode, answer).await;
            begun.map(|(number, answer)| {
                self.number = number;
                answer
            })
        } else {
            answer.await
        };
        if outcome.is_ok() {
            self.deferred.clear();
        }
        self.bound_statements();
        self.note(statement, outcome)
    }

    fn note<T>(
        &mut self,
        statement: &str,
        outcome: std::result::Result<T, tokio_postgres::Error>,
    ) -> Result<T> {
        outcome.map_err(|error| {
            self.state = State::Failed(words(&error));
            sorted(statement, &error)
        })
    }

    fn bound_statements(&self) {
        if let Some(client) = &self.client
            && client.statement_cache.size() > STATEMENTS
        {
            client.statement_cache.clear();
        }
    }

    pub(crate) async fn commit(mut self) -> Result<()> {
        // Nothing but deferred statements: the last of them begins the transaction.
        if matches!(self.state, State::Fresh)
            && let Some(last) = self.deferred.pop()
        {
            self.run(&last.statement, last.params, Wanted::Count).await?;
        }
        match &self.state {
            State::Fresh | State::Over => Ok(()),
            State::Failed(reason) => {
                let message = format!("a statement before failed ({reason}), so nothing can be committed");
                self.rollback().await;
                Err(Error::statement(message, "COMMIT"))
            }
            State::Begun => {
                let token = match self.number {
                    Some(_) => self.engine.token(self.client()?).await?,
                    None => None,
                };
                let committed = commit_with(self.client()?, &self.deferred, token.as_deref()).await;
                let committed = committed.map_err(|error| sorted("COMMIT", &error));
                if let (Err(Error::Lost(_)), Some(number)) = (&committed, self.number) {
                    return self.engine.resolve(number, token.as_deref()).await;
                }
                // After an error the connection is given up, with whatever is left of the transaction.
                if committed.is_ok() {
                    self.state = State::Over;
                }
                committed
            }
        }
    }

    pub(crate) async fn rollback(mut self) {
        if matches!(self.state, State::Fresh | State::Over) {
            return;
        }
        if let Ok(client) = self.client()
            && client.batch_execute("ROLLBACK").await.is_ok()
        {
            self.state = State::Over;
        }
    }
}

/// A body that was cancelled leaves its transaction open: nobody may inherit that connection.
impl Drop for Connection {
    fn drop(&mut self) {
        if matches!(self.state, State::Begun | State::Failed(_))
            && let Some(client) = self.client.take()
        {
            drop(Object::take(client));
        }
    }
}

/// Begins a transaction, and learns its number where it writes; what `answer` sends follows in the same go.
async fn begin_with<T>(
    client: &Object,
    mode: Mode,
    answer: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>,
) -> std::result::Result<(Option<i64>, T), tokio_postgres::Error> {
    // Prepared before anything is sent of it: the three must arrive in this order.
    if mode == Mode::Read {
        let begin = client.prepare_cached(BEGIN_READ).await?;
        let (begun, answer) = join(client.execute(&begin, &[]), answer).await;
        return begun.and(answer).map(|answer| (None, answer));
    }
    let begin = client.prepare_cached(BEGIN_WRITE).await?;
    let number = client.prepare_cached(NUMBER).await?;
    let (begun, number, answer) =
        join3(client.execute(&begin, &[]), client.query_one(&number, &[]), answer).await;
    begun?;
    Ok((Some(number?.get(0)), answer?))
}

fn from_postgres(row: &tokio_postgres::Row) -> std::result::Result<Row, tokio_postgres::Error> {
    let cells = (0..row.len()).map(|index| row.try_get::<_, Cell>(index).map(|cell| cell.0));
    cells.collect::<std::result::Result<_, _>>().map(Row)
}

/// The server's words with their cause: the driver's own text is only "db error".
fn words(error: &tokio_postgres::Error) -> String {
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

fn sorted(statement: &str, error: &tokio_postgres::Error) -> Error {
    let message = words(error);
    let Some(code) = error.code() else {
        let broken = error.is_closed() || error.source().is_some_and(|cause| cause.is::<std::io::Error>());
        return match broken {
            true => Error::Lost(message),
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
        _ => Error::statement(message, statement),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_and_narrow_encodings_are_refused() {
        assert_eq!(refusal(150_004, "15.4", "UTF8"), None);
        assert_eq!(refusal(100_000, "10.0", "UTF8"), None);
        let old = refusal(90_624, "9.6.24", "UTF8").unwrap();
        assert!(old.contains("9.6.24") && old.contains("10 or newer"), "{old}");
        let narrow = refusal(150_004, "15.4", "SQL_ASCII").unwrap();
        assert!(narrow.contains("SQL_ASCII") && narrow.contains("ENCODING 'UTF8'"), "{narrow}");
    }
}
