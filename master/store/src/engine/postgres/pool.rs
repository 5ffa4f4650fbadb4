//! The pool of connections to PostgreSQL: made when they are needed, and refused where the server won't do.

use std::{ops::Deref, time::Duration};

use deadpool::managed::{
    self, Hook, HookError, Metrics, Object, PoolError, QueueMode, RecycleResult, TimeoutType,
};
use deadpool_postgres::{ClientWrapper, ManagerConfig, RecyclingMethod, Runtime};
use tokio_postgres::{
    NoTls,
    config::{SslMode, TargetSessionAttrs},
    error::SqlState,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    super::tls,
    errors::{sorted, words},
};
use crate::{
    Error, Result,
    url::{Pool, ServerUrl, TlsMode},
};

/// The oldest server that will do: `SKIP LOCKED` came with 9.5; nobody tries Muster with less than 10.
const OLDEST: i64 = 100_000;
/// A connection is replaced after this time: its row in `muster_commits` is deleted after a day.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// The row in which a connection's transactions leave their tokens.
const MAKE_ROW: &str = "INSERT INTO muster_commits (connection, token, committed_at) VALUES ($1, 'none', \
    extract(epoch FROM now())::bigint)";
/// Rows of connections that are older belong to nobody.
const FORGET: &str =
    "DELETE FROM muster_commits WHERE committed_at < extract(epoch FROM now())::bigint - 86400";

/// Has the server pack long values by LZ4 if it can (14 or newer) and nobody has configured otherwise. Chunks of logs are
/// packed already, which pglz takes longer to find out than the server needs for all the rest.
const PACK_BY_LZ4: &str = "SELECT set_config(name, 'lz4', false) FROM pg_settings \
    WHERE name = 'default_toast_compression' AND source = 'default' AND 'lz4' = ANY (enumvals)";

/// A connection that was taken from the pool.
pub(super) type Pooled = Object<Manager>;

/// A connection with what is known about it.
pub(super) struct Session {
    client: ClientWrapper,
    /// The key of its row in `muster_commits`; none before the first transaction that writes, and before the table is there.
    pub(super) row: Option<String>,
}

impl Deref for Session {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.client
    }
}

impl Session {
    /// Makes the row in which transactions leave their tokens, once there is the table for it.
    async fn make_row(&mut self) -> Result<()> {
        let key = format!("{:032x}", fastrand::u128(..));
        match self.client.execute(MAKE_ROW, &[&key]).await {
            Ok(_) => self.row = Some(key),
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Ok(()),
            Err(error) => return Err(sorted(MAKE_ROW, &error)),
        }
        self.client.execute(FORGET, &[]).await.map_err(|error| sorted(FORGET, &error))?;
        Ok(())
    }
}

/// Makes connections.
pub(super) struct Manager(deadpool_postgres::Manager);

impl managed::Manager for Manager {
    type Type = Session;
    type Error = tokio_postgres::Error;

    async fn create(&self) -> std::result::Result<Session, tokio_postgres::Error> {
        let client = self.0.create().await?;
        client.batch_execute(PACK_BY_LZ4).await?;
        Ok(Session { client, row: None })
    }

    async fn recycle(
        &self,
        session: &mut Session,
        metrics: &Metrics,
    ) -> RecycleResult<tokio_postgres::Error> {
        self.0.recycle(&mut session.client, metrics).await
    }

    fn detach(&self, session: &mut Session) {
        self.0.detach(&mut session.client);
    }
}

/// The connections to one server.
pub(super) struct Connections {
    pool: managed::Pool<Manager>,
    place: String,
    times: Pool,
}

impl Connections {
    pub(super) fn new(url: &ServerUrl) -> Result<Connections> {
        let place = url.place();
        let open_error = |reason: String| Error::Open { path: place.clone(), reason };
        let config = driver_config(url);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let connecting = if url.tls.mode == TlsMode::Disable {
            deadpool_postgres::Manager::from_config(config, NoTls, recycling)
        } else {
            let tls = tls::client_config(&url.tls).map_err(|reason| open_error(format!("TLS: {reason}")))?;
            deadpool_postgres::Manager::from_config(config, MakeRustlsConnect::new(tls), recycling)
        };
        let max_idle = url.pool.max_idle;
        let pool = managed::Pool::builder(Manager(connecting))
            .max_size(url.pool.size)
            // The one that was used last has its statements prepared and its caches warm; the others may go.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(url.pool.wait))
            .create_timeout(Some(url.pool.connect_timeout))
            .recycle_timeout(Some(url.pool.connect_timeout))
            .pre_recycle(Hook::sync_fn(move |_, metrics| {
                if metrics.last_used() > max_idle || metrics.age() > MAX_AGE {
                    Err(HookError::message("idle for too long, or too old"))
                } else {
                    Ok(())
                }
            }))
            .build()
            .map_err(|error| open_error(error.to_string()))?;
        Ok(Connections { pool, place, times: url.pool.clone() })
    }

    pub(super) fn reconnect_timeout(&self) -> Duration {
        self.times.reconnect_timeout
    }

    pub(super) async fn probe(&self) -> Result<()> {
        let refuse = |reason: String| Error::Open { path: self.place.clone(), reason };
        let client = match self.client().await {
            Err(Error::Lost(reason)) => return Err(refuse(reason)),
            other => other?,
        };
        let query = "SELECT current_setting('server_version_num')::bigint, current_setting('server_version'), \
                     current_setting('server_encoding')";
        let row = client.query_one(query, &[]).await.map_err(|error| refuse(words(&error)))?;
        let (number, version, encoding): (i64, String, String) = (row.get(0), row.get(1), row.get(2));
        refusal(number, &version, &encoding).map_or(Ok(()), |reason| Err(refuse(reason)))
    }

    /// A connection in whose row a transaction can leave its token.
    pub(super) async fn writer(&self) -> Result<Pooled> {
        let mut session = self.client().await?;
        if session.row.is_none() {
            session.make_row().await?;
        }
        Ok(session)
    }

    pub(super) async fn client(&self) -> Result<Pooled> {
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
