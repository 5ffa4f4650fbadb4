//! MySQL and MariaDB: a pool of connections that are made when they are needed.

mod connection;
mod deferred;
mod tls;
mod values;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use mysql_async::{Conn, Opts, OptsBuilder, prelude::Queryable};
use tokio::sync::Semaphore;

pub(crate) use connection::Connection;

use super::Mode;
use crate::{
    Error, Result,
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
    /// MariaDB prepares several statements as one, and answers what an insert has made; MySQL does neither.
    mariadb: AtomicBool,
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
            mariadb: AtomicBool::new(false),
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
        self.0.mariadb.store(version.contains("MariaDB"), Ordering::Relaxed);
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
        Connection::begin(self.0.clone(), session, permit, mode).await
    }

    pub(crate) fn is_mariadb(&self) -> bool {
        self.0.is_mariadb()
    }
}

impl Inner {
    fn is_mariadb(&self) -> bool {
        self.mariadb.load(Ordering::Relaxed)
    }

    fn is_narrow(&self) -> bool {
        self.narrow.load(Ordering::Relaxed)
    }

    /// A session that another transaction may have.
    fn keep(&self, session: Session) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }

    fn forget_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

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
            mysql_async::Error::Io(_) if tls::is_authority(error) => {
                "; the server's certificate is that of an authority (CA:TRUE, which `openssl req -x509` makes unless it is told \
                 otherwise), and the driver takes such a one from no server, also where ssl_ca names it. Make it anew with \
                 `-addext basicConstraints=critical,CA:FALSE`, or let an authority sign one for the server"
            }
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
    async fn resolve(&self, thread: u32, trace: &Trace<'_>) -> Result<()> {
        let deadline = tokio::time::Instant::now() + self.times.reconnect_timeout;
        loop {
            let looking = tokio::time::timeout_at(deadline, self.is_committed(thread, trace));
            let reason = match looking
                .await
                .unwrap_or_else(|_| Err(Error::Lost(format!("the server has not ended its thread {thread}"))))
            {
                Ok(Some(true)) => return Ok(()),
                Ok(Some(false)) => {
                    return Err(Error::Lost("the connection broke before the commit".to_owned()));
                }
                Ok(None) => return Err(Error::Unknown { name: "", reason: "its row is gone".to_owned() }),
                Err(error) => error.to_string(),
            };
            if tokio::time::Instant::now() >= deadline {
                return Err(Error::Unknown { name: "", reason });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Whether a connection's last transaction was committed, if that can be told. It is ended first, so that nothing of it
    /// can follow. Behind a proxy its number may be another one's or nobody's; then its locks are waited for.
    async fn is_committed(&self, thread: u32, trace: &Trace<'_>) -> Result<Option<bool>> {
        let mut session = self.connect().await?;
        end_thread(&mut session.conn, thread).await?;
        let committed = trace.is_there(&mut session.conn).await?;
        disconnect(session);
        Ok(committed)
    }
}

/// What a transaction has left if it was committed.
enum Trace<'a> {
    /// The count of its connection's commits.
    Count { id: &'a str, seq: i64 },
    /// So many rows that a query finds.
    Rows { query: &'a str, params: Vec<mysql_async::Value>, rows: u64 },
}

impl Trace<'_> {
    /// `None`: what would tell it isn't there any more.
    async fn is_there(&self, conn: &mut Conn) -> Result<Option<bool>> {
        match self {
            Trace::Count { id, seq } => {
                let query = "SELECT seq FROM muster_commits WHERE id = ? FOR UPDATE";
                let counted: Option<i64> =
                    conn.exec_first(query, (id,)).await.map_err(|error| sorted(query, &error))?;
                Ok(counted.map(|counted| counted >= *seq))
            }
            Trace::Rows { query, params, rows } => {
                let found: Vec<mysql_async::Row> =
                    conn.exec(*query, params.clone()).await.map_err(|error| sorted(query, &error))?;
                Ok(Some(found.len() as u64 == *rows))
            }
        }
    }
}

/// Ends a connection, and waits until the server doesn't know it any more: by then it has rolled back what was not committed.
async fn end_thread(conn: &mut Conn, thread: u32) -> Result<()> {
    const UNKNOWN_THREAD: u16 = 1094;
    loop {
        match conn.exec_drop("KILL ?", (thread,)).await {
            Err(mysql_async::Error::Server(error)) if error.code == UNKNOWN_THREAD => return Ok(()),
            other => other.map_err(|error| sorted("KILL ?", &error))?,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
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

/// Ends a connection. Where it can't be told so, the server notices that its socket is closed.
fn disconnect(session: Session) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            // Either way it is over.
            let _ = session.conn.disconnect().await;
        });
    }
}

/// Whether a statement answers rows and changes none.
fn is_query(statement: &str) -> bool {
    statement.starts_with("SELECT")
}

fn sorted(statement: &str, error: &mysql_async::Error) -> Error {
    let message = error.to_string();
    let failed = |message: String| Error::statement(message, statement);
    let unstorable = |message: String| Error::unstorable(message, statement);
    match error {
        mysql_async::Error::Io(_) => Error::Lost(message),
        mysql_async::Error::Driver(
            mysql_async::DriverError::ConnectionClosed
            | mysql_async::DriverError::PacketOutOfOrder
            | mysql_async::DriverError::PoolDisconnected,
        ) => Error::Lost(message),
        mysql_async::Error::Driver(mysql_async::DriverError::PacketTooLarge) => unstorable(message),
        mysql_async::Error::Server(server) => match server.code {
            1062 | 1586 => Error::Unique(message),
            // Deadlock, lock wait, changed row.
            1213 | 1205 | 1020 => Error::Transient(message),
            1053 | 1077 | 1079 | 1080 | 1152 | 1927 | 2006 | 2013 | 2014 | 2045 | 2055 | 1290 | 1836 => {
                Error::Lost(message)
            }
            // Null, truncated, out of range, wrong characters, too long, too large for a row or a packet, no such parent,
            // refused by a check.
            1048 | 1118 | 1153 | 1216 | 1264 | 1265 | 1292 | 1366 | 1406 | 1452 | 3819 | 4025 => {
                unstorable(message)
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
