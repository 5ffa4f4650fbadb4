//! MySQL and MariaDB: a pool of connections that are made when they are needed.

mod tls;
mod values;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use mysql_async::{
    Conn, Opts, OptsBuilder, Params, Value as MySqlValue,
    prelude::{FromRow, Queryable},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use values::{Charset, from_mysql, to_mysql};

use super::Mode;
use crate::{
    Error, Result, Row, Value,
    dialect::Rendered,
    url::{Pool, ServerUrl, Tls, TlsMode},
};

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 256;
/// A connection is replaced after this time: its row in `muster_commits` is deleted after a day.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// A connection that was used within this time is taken to be alive.
const TRUSTED: Duration = Duration::from_secs(1);
/// Rows of connections that are older belong to nobody.
const FORGET: &str = "DELETE FROM muster_commits WHERE opened_at < UNIX_TIMESTAMP() - 86400";

/// What every connection begins with. Transactions begin by themselves with their first statement.
const SETUP: [&str; 4] = [
    "SET NAMES utf8mb4",
    "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION autocommit = 0",
];
const BEGIN_READ: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";
/// Counts the commit in the connection's own row, so that its fate can be looked up when the answer is lost.
const COUNT_AND_COMMIT: &str =
    "UPDATE muster_commits SET seq = seq + 1 WHERE id = @muster_connection; COMMIT";
/// The same, where it may have a parameter.
const COUNT: &str = "UPDATE muster_commits SET seq = seq + 1 WHERE id = ?";
/// `SIGNAL` with a state of one's own.
const SIGNALLED: u16 = 1644;

/// A MySQL or MariaDB database.
pub(crate) struct Engine(Arc<Inner>);

struct Inner {
    opts: Opts,
    tls: Tls,
    place: String,
    times: Pool,
    free: Arc<Semaphore>,
    idle: Mutex<Vec<Session>>,
    /// Whether some column of Buildbot's tables holds only characters of three bytes.
    narrow: AtomicBool,
    /// Whether several statements can be prepared as one: in MariaDB, not in MySQL.
    compound: AtomicBool,
}

/// A connection with what is known about it.
struct Session {
    conn: Conn,
    opened: Instant,
    used: Instant,
    commits: Commits,
}

/// The row that counts a connection's commits.
enum Commits {
    Unasked,
    /// The table isn't there yet.
    Uncounted,
    Counted {
        id: String,
        seq: i64,
    },
}

impl Engine {
    pub(crate) fn new(url: &ServerUrl) -> Result<Engine> {
        tls::check(&url.tls).map_err(|reason| Error::Open { path: url.place(), reason })?;
        Ok(Engine(Arc::new(Inner {
            opts: driver_options(url),
            tls: url.tls.clone(),
            place: url.place(),
            times: url.pool.clone(),
            free: Arc::new(Semaphore::new(url.pool.size)),
            idle: Mutex::default(),
            narrow: AtomicBool::new(false),
            compound: AtomicBool::new(false),
        })))
    }

    pub(crate) fn reconnect_timeout(&self) -> Duration {
        self.0.times.reconnect_timeout
    }

    pub(crate) async fn probe(&self) -> Result<()> {
        let refuse = |reason: String| Error::Open { path: self.0.place.clone(), reason };
        let mut connection = match self.begin(Mode::Read).await {
            Err(Error::Lost(reason)) => return Err(refuse(reason)),
            other => other?,
        };
        let rendered = |text: &str| Rendered { text: text.to_owned(), order: None };
        let rows = connection.query(&rendered("SELECT VERSION()"), Vec::new()).await?;
        let version = rows.first().map(|row| row.text(0)).transpose()?.unwrap_or_default();
        check_version(&version).map_err(refuse)?;
        self.0.compound.store(version.contains("MariaDB"), Ordering::Relaxed);
        let query = "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() \
                     AND character_set_name IN ('utf8', 'utf8mb3')";
        let rows = connection.query(&rendered(query), Vec::new()).await?;
        let narrow = rows.first().map(|row| row.int(0)).transpose()?.unwrap_or(0) > 0;
        self.0.narrow.store(narrow, Ordering::Relaxed);
        connection.rollback().await;
        Ok(())
    }

    pub(crate) async fn begin(&self, mode: Mode) -> Result<Connection> {
        let permit = tokio::time::timeout(self.0.times.wait, self.0.free.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| {
            Error::Lost(format!(
                "no connection came free within {} s; all {} are in use (pool_size, pool_timeout)",
                self.0.times.wait.as_secs(),
                self.0.times.size
            ))
        })?;
        let permit = permit.expect("the semaphore is never closed");
        let session = self.0.session().await?;
        let mut connection = Connection {
            engine: self.0.clone(),
            session: Some(session),
            permit: Some(permit),
            mode,
            wrote: false,
            broken: false,
        };
        connection.start().await?;
        Ok(connection)
    }
}

impl Inner {
    async fn session(&self) -> Result<Session> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(session) = idle else { return self.connect().await };
            if session.used.elapsed() <= self.times.max_idle && session.opened.elapsed() <= MAX_AGE {
                return Ok(session);
            }
            disconnect(session);
        }
    }

    async fn connect(&self) -> Result<Session> {
        let connecting = tokio::time::timeout(self.times.connect_timeout, self.dial());
        let conn = match connecting.await {
            Ok(conn) => conn.map_err(|error| self.connect_error(&error))?,
            Err(_) => {
                return Err(Error::Lost(format!(
                    "{} did not answer within {} s; is the host right, and does a fire wall let us through?",
                    self.place,
                    self.times.connect_timeout.as_secs()
                )));
            }
        };
        let now = Instant::now();
        Ok(Session { conn, opened: now, used: now, commits: Commits::Unasked })
    }

    async fn dial(&self) -> std::result::Result<Conn, mysql_async::Error> {
        let error = match Conn::new(self.opts.clone()).await {
            Ok(conn) => return Ok(conn),
            Err(error) => error,
        };
        match tls::name_of(&error).filter(|_| self.tls.mode == TlsMode::VerifyCa) {
            Some(name) => Conn::new(tls::expecting(&self.opts, &self.tls, name)).await,
            None => Err(error),
        }
    }

    /// Why connecting failed. What waiting can't mend is no lost connection.
    fn connect_error(&self, error: &mysql_async::Error) -> Error {
        let hint = match error {
            mysql_async::Error::Server(server) => match server.code {
                1045 | 1698 if self.tls.mode == TlsMode::Disable => {
                    "; check user and password in db_url, and whether the server wants encryption (ssl_mode=REQUIRED)"
                }
                1045 | 1698 => {
                    "; check user and password in db_url, and whether the server wants a certificate (ssl_cert)"
                }
                1049 => "; make it with `CREATE DATABASE name CHARACTER SET utf8mb4`, or mend db_url",
                1044 => "; grant this user all rights on the database",
                1130 => "; this host may not connect: see the server's grants",
                3159 => "; it takes only encrypted connections: add ssl_mode=REQUIRED to db_url",
                _ => return Error::Lost(format!("{}: {error}", self.place)),
            },
            mysql_async::Error::Io(_) if error.to_string().contains("certificate") => {
                "; check ssl_mode and ssl_ca in db_url, and that the server's certificate is for this host"
            }
            mysql_async::Error::Io(_) => {
                let hint = "is the server up, and are host and port right?";
                return Error::Lost(format!("{}: {error}; {hint}", self.place));
            }
            _ => "",
        };
        Error::Open { path: self.place.clone(), reason: format!("{error}{hint}") }
    }

    /// Finds out what became of a transaction whose commit was not answered.
    async fn resolve(&self, thread: u32, id: &str, seq: i64) -> Result<()> {
        let deadline = Instant::now() + self.times.reconnect_timeout;
        loop {
            let seen = self.commits_of(thread, id).await;
            let reason = match seen {
                Ok(Some(found)) if found >= seq => return Ok(()),
                Ok(Some(_)) => return Err(Error::Lost("the connection broke before the commit".to_owned())),
                Ok(None) => return Err(Error::Unknown { name: "", reason: "its row is gone".to_owned() }),
                Err(error) => error.to_string(),
            };
            if Instant::now() > deadline {
                return Err(Error::Unknown { name: "", reason });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// How many commits a connection has made. It is ended first, so that nothing of it can follow.
    async fn commits_of(&self, thread: u32, id: &str) -> Result<Option<i64>> {
        let mut session = self.connect().await?;
        let killed = session.conn.exec_drop("KILL ?", (thread,)).await;
        match killed {
            // It is over already.
            Err(mysql_async::Error::Server(error)) if error.code == 1094 => {}
            other => other.map_err(|error| sorted("KILL ?", &error))?,
        }
        // The row is locked as long as the old transaction has not ended.
        let query = "SELECT seq FROM muster_commits WHERE id = ? FOR UPDATE";
        let seq: Option<i64> =
            session.conn.exec_first(query, (id,)).await.map_err(|error| sorted(query, &error))?;
        disconnect(session);
        Ok(seq)
    }
}

fn driver_options(url: &ServerUrl) -> Opts {
    let (host, port) = url.hosts.first().cloned().unwrap_or_else(|| ("localhost".to_owned(), None));
    let mut options = OptsBuilder::default()
        .user(url.user.clone())
        .pass(url.password.as_ref().map(|password| password.reveal().to_owned()))
        .db_name(Some(url.database.clone()))
        .tcp_keepalive(Some(url.pool.keepalive_idle))
        .tcp_nodelay(true)
        .stmt_cache_size(STATEMENTS)
        // A guarded update that changes nothing has still found its row.
        .client_found_rows(true)
        .setup(SETUP.map(str::to_owned).to_vec());
    options = if host.starts_with('/') {
        options.socket(Some(host))
    } else {
        options.ip_or_hostname(host).tcp_port(port.unwrap_or(3306)).prefer_socket(false)
    };
    if url.tls.mode != TlsMode::Disable {
        options = options.ssl_opts(tls::options(&url.tls));
    }
    options.into()
}

/// Refuses servers without `SKIP LOCKED`.
fn check_version(version: &str) -> std::result::Result<(), String> {
    let numbers: Vec<u32> = version.split(['.', '-']).map_while(|part| part.parse().ok()).take(2).collect();
    let found = (numbers.first().copied().unwrap_or(0), numbers.get(1).copied().unwrap_or(0));
    let (name, oldest) = if version.contains("MariaDB") { ("MariaDB", (10, 6)) } else { ("MySQL", (8, 0)) };
    if found >= oldest {
        return Ok(());
    }
    Err(format!("the server is {name} {version}; Muster needs {name} {}.{} or newer", oldest.0, oldest.1))
}

/// A connection inside a transaction.
pub(crate) struct Connection {
    engine: Arc<Inner>,
    /// Taken when the transaction is over.
    session: Option<Session>,
    /// Given back after the session was.
    permit: Option<OwnedSemaphorePermit>,
    mode: Mode,
    wrote: bool,
    /// The session is not fit for another transaction.
    broken: bool,
}

impl Connection {
    async fn start(&mut self) -> Result<()> {
        match self.begin_on_session().await {
            // It was closed while it was idle: the others were too, and a new one shows whether the server is there.
            Err(Error::Lost(_)) => {
                self.engine.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
                self.session = Some(self.engine.connect().await?);
                self.broken = false;
                self.begin_on_session().await
            }
            other => other,
        }
    }

    async fn begin_on_session(&mut self) -> Result<()> {
        if self.mode != Mode::Write {
            return self.text(BEGIN_READ).await;
        }
        let session = self.session()?;
        if matches!(session.commits, Commits::Unasked) {
            return self.count_commits().await;
        }
        // A statement that costs nothing tells whether the connection lives, while nothing can be lost with it.
        if session.used.elapsed() > TRUSTED { self.text("DO 0").await } else { Ok(()) }
    }

    async fn count_commits(&mut self) -> Result<()> {
        let id = format!("{:032x}", fastrand::u128(..));
        let session = self.session()?;
        let insert = "INSERT INTO muster_commits (id, seq, opened_at) VALUES (?, 0, UNIX_TIMESTAMP())";
        let outcome = async {
            session.conn.exec_drop("SET @muster_connection = ?", (&id,)).await?;
            session.conn.exec_drop(insert, (&id,)).await?;
            session.conn.query_drop("COMMIT").await?;
            session.conn.query_drop(FORGET).await?;
            session.conn.query_drop("COMMIT").await
        }
        .await;
        session.commits = match outcome {
            Ok(()) => Commits::Counted { id, seq: 0 },
            // Before the first migration.
            Err(mysql_async::Error::Server(error)) if error.code == 1146 => Commits::Uncounted,
            Err(error) => return Err(self.note(insert, &error)),
        };
        Ok(())
    }

    fn session(&mut self) -> Result<&mut Session> {
        self.session.as_mut().ok_or(Error::Over("connection"))
    }

    pub(crate) async fn execute(&mut self, statement: &Rendered, params: Vec<Value>) -> Result<u64> {
        self.wrote = true;
        let params = self.params(statement, params);
        let outcome = self.session()?.conn.exec_drop(statement.text.as_str(), params).await;
        outcome.map_err(|error| self.note(&statement.text, &error))?;
        Ok(self.session()?.conn.affected_rows())
    }

    pub(crate) async fn insert(&mut self, statement: &Rendered, params: Vec<Value>) -> Result<i64> {
        self.execute(statement, params).await?;
        let id = self.session()?.conn.last_insert_id().and_then(|id| i64::try_from(id).ok());
        id.ok_or_else(|| Error::Data(format!("no id was made by {}", statement.text)))
    }

    pub(crate) async fn query(&mut self, statement: &Rendered, params: Vec<Value>) -> Result<Vec<Row>> {
        let params = self.params(statement, params);
        let outcome = self.session()?.conn.exec(statement.text.as_str(), params).await;
        let rows: Vec<MySqlRow> = outcome.map_err(|error| self.note(&statement.text, &error))?;
        rows.into_iter().map(|row| from_mysql(row.0)).collect()
    }

    pub(crate) async fn script(&mut self, text: &str) -> Result<()> {
        self.text(text).await
    }

    async fn text(&mut self, text: &str) -> Result<()> {
        let outcome = self.session()?.conn.query_drop(text).await;
        outcome.map_err(|error| self.note(text, &error))
    }

    fn params(&self, statement: &Rendered, values: Vec<Value>) -> Params {
        // Our own tables hold every character.
        let narrow = self.engine.narrow.load(Ordering::Relaxed) && !statement.text.contains("muster_");
        let charset = if narrow { Charset::ThreeBytes } else { Charset::Full };
        let values: Vec<MySqlValue> = match &statement.order {
            None => values.into_iter().map(|value| to_mysql(value, charset)).collect(),
            Some(order) => order
                .iter()
                .filter_map(|index| values.get(*index))
                .map(|value| to_mysql(value.clone(), charset))
                .collect(),
        };
        if values.is_empty() { Params::Empty } else { Params::Positional(values) }
    }

    fn note(&mut self, statement: &str, error: &mysql_async::Error) -> Error {
        let error = sorted(statement, error);
        if matches!(error, Error::Lost(_)) {
            self.broken = true;
        }
        error
    }

    pub(crate) async fn commit(mut self) -> Result<()> {
        let session = self.session()?;
        let counted = match &session.commits {
            Commits::Counted { id, seq } => Some((session.conn.id(), id.clone(), seq + 1)),
            _ => None,
        };
        let Some((thread, id, seq)) = counted.filter(|_| self.wrote) else {
            self.text("COMMIT").await?;
            self.give_back();
            return Ok(());
        };
        match self.text(COUNT_AND_COMMIT).await {
            Ok(()) => {
                self.session()?.commits = Commits::Counted { id, seq };
                self.give_back();
                Ok(())
            }
            Err(Error::Lost(_)) => self.engine.resolve(thread, &id, seq).await,
            Err(error) => {
                self.rollback().await;
                Err(error)
            }
        }
    }

    /// Runs one statement and commits if it changed exactly so many rows; otherwise nothing is changed. `None`: this server
    /// can't do it in one round trip.
    pub(crate) async fn only(
        &mut self,
        statement: &Rendered,
        params: Vec<Value>,
        rows: u64,
    ) -> Option<Result<bool>> {
        let compound = self.engine.compound.load(Ordering::Relaxed);
        let session = self.session.as_ref().filter(|_| compound)?;
        let Commits::Counted { id, seq } = &session.commits else { return None };
        let (thread, id, seq) = (session.conn.id(), id.clone(), seq + 1);
        // Where it ends well there is nothing to send back but that.
        let text = format!(
            "BEGIN NOT ATOMIC {}; IF ROW_COUNT() <> ? THEN ROLLBACK; SIGNAL SQLSTATE '45000'; END IF; {COUNT}; COMMIT; END",
            statement.text
        );
        let mut params = match self.params(statement, params) {
            Params::Positional(params) => params,
            _ => Vec::new(),
        };
        params.extend([rows.into(), id.as_str().into()]);
        Some(self.run_compound(&text, params, (thread, id, seq)).await)
    }

    async fn run_compound(
        &mut self,
        text: &str,
        params: Vec<MySqlValue>,
        (thread, id, seq): (u32, String, i64),
    ) -> Result<bool> {
        let outcome = self.session()?.conn.exec_drop(text, Params::Positional(params)).await;
        if let Err(mysql_async::Error::Server(error)) = &outcome
            && error.code == SIGNALLED
        {
            self.give_back();
            return Ok(false);
        }
        match outcome.map_err(|error| self.note(text, &error)) {
            Ok(()) => {
                self.session()?.commits = Commits::Counted { id, seq };
                self.give_back();
                Ok(true)
            }
            Err(Error::Lost(_)) => self.engine.resolve(thread, &id, seq).await.map(|()| true),
            Err(error) => {
                self.roll_back().await;
                Err(error)
            }
        }
    }

    pub(crate) async fn rollback(mut self) {
        self.roll_back().await;
    }

    async fn roll_back(&mut self) {
        if !self.broken && self.text("ROLLBACK").await.is_ok() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        let Some(mut session) = self.session.take() else { return };
        session.used = Instant::now();
        self.engine.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        self.permit = None;
    }
}

/// A body that was cancelled leaves its transaction open: nobody may inherit that connection.
impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            disconnect(session);
        }
    }
}

/// Ends a connection. Where it can't be told so, the server notices that its socket is closed.
fn disconnect(session: Session) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            // Either way it is over.
            let _ = session.conn.disconnect().await;
        });
    }
}

/// A row with its columns still beside it.
struct MySqlRow(mysql_async::Row);

impl FromRow for MySqlRow {
    fn from_row_opt(row: mysql_async::Row) -> std::result::Result<MySqlRow, mysql_async::FromRowError> {
        Ok(MySqlRow(row))
    }
}

fn sorted(statement: &str, error: &mysql_async::Error) -> Error {
    let message = error.to_string();
    let failed = |message: String| Error::statement(message, statement);
    match error {
        mysql_async::Error::Io(_) => Error::Lost(message),
        mysql_async::Error::Driver(
            mysql_async::DriverError::ConnectionClosed
            | mysql_async::DriverError::PacketOutOfOrder
            | mysql_async::DriverError::PoolDisconnected,
        ) => Error::Lost(message),
        mysql_async::Error::Server(server) => match server.code {
            1062 | 1586 => Error::Unique(message),
            // Deadlock, lock wait, changed row.
            1213 | 1205 | 1020 => Error::Transient(message),
            // Shutdown, killed, gone, read-only after a fail-over.
            1053 | 1077 | 1079 | 1080 | 1152 | 1927 | 2006 | 2013 | 2014 | 2045 | 2055 | 1290 | 1836 => {
                Error::Lost(message)
            }
            1021 | 1114 => failed(format!("{message}; make room on the server's disk")),
            _ => failed(message),
        },
        _ => failed(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_without_skip_locked_are_refused() {
        for version in ["8.0.36", "9.1.0", "10.6.12-MariaDB", "10.11.19-MariaDB-0+deb12u1", "11.4.2-MariaDB"]
        {
            assert_eq!(check_version(version), Ok(()), "{version}");
        }
        for (version, wanted) in [("5.7.44-log", "MySQL 8.0"), ("10.5.9-MariaDB", "MariaDB 10.6")] {
            let reason = check_version(version).unwrap_err();
            assert!(reason.contains(wanted) && reason.contains(version), "{reason}");
        }
    }
}
