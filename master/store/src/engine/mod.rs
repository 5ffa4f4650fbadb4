//! The engines behind one face.

mod mysql;
mod postgres;
mod sqlite;
mod tls;

use std::{future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};

use crate::{
    Dialect, Error, Result, Row, Value,
    dialect::Rendered,
    together::{Question, Slot},
    url::DbUrl,
};

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Reads, each statement by itself.
    Look,
    /// Reads one consistent view.
    Read,
    /// Reads what is committed, and writes.
    Write,
}

impl Mode {
    /// Refuses a statement that would change something where nothing may be changed.
    fn may_write(self, statement: &str) -> Result<()> {
        match self {
            Mode::Write => Ok(()),
            Mode::Look | Mode::Read => Err(Error::statement("only a transaction may write", statement)),
        }
    }
}

/// A statement that is a transaction by itself.
pub(crate) struct Single {
    pub(crate) statement: Arc<Rendered>,
    pub(crate) params: Vec<Value>,
    /// How many rows it has to change; otherwise it changes nothing.
    pub(crate) rows: u64,
    /// A query that finds so many rows once it is committed: what an engine may look for when the answer was lost, if counting
    /// commits would cost it as much as the statement.
    pub(crate) effect: (Arc<Rendered>, Vec<Value>),
}

/// Whether a missing SQLite file is created.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Create {
    Yes,
    No,
}

/// A driver's future behind a pointer: what is inside would otherwise be part of every future above, whose size and
/// `Send` then depend on it.
fn over_network<'a, T>(
    future: impl Future<Output = T> + Send + 'a,
) -> Pin<Box<dyn Future<Output = T> + Send + 'a>> {
    Box::pin(future)
}

/// A database with its connections.
pub(crate) enum Engine {
    Sqlite(sqlite::Engine),
    Postgres(postgres::Engine),
    MySql(mysql::Engine),
}

impl Engine {
    /// Prepares the connections. Those over a network are made when they are first needed.
    pub(crate) fn new(url: &DbUrl, create: Create) -> Result<Engine> {
        match url {
            DbUrl::Sqlite(path) => sqlite::Engine::open(Path::new(path), create).map(Engine::Sqlite),
            DbUrl::Postgres(server) => postgres::Engine::new(server).map(Engine::Postgres),
            DbUrl::MySql(server) => mysql::Engine::new(server).map(Engine::MySql),
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Engine::Sqlite(_) => Dialect::Sqlite,
            Engine::Postgres(_) => Dialect::Postgres,
            Engine::MySql(_) => Dialect::MySql,
        }
    }

    /// Connects once and refuses a server that can't be used, in words that help.
    pub(crate) async fn probe(&self) -> Result<()> {
        match self {
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(engine) => over_network(engine.probe()).await,
            Engine::MySql(engine) => over_network(engine.probe()).await,
        }
    }

    /// Whether it takes time to reach it.
    pub(crate) fn is_far(&self) -> bool {
        !matches!(self, Engine::Sqlite(_))
    }

    /// Whether an insert may be asked what it has made (`RETURNING`). MySQL can't tell, and SQLite need not: there, to look
    /// again costs next to nothing.
    pub(crate) fn returns(&self) -> bool {
        match self {
            Engine::Sqlite(_) => false,
            Engine::Postgres(_) => true,
            Engine::MySql(engine) => engine.is_mariadb(),
        }
    }

    /// How long a transaction is tried again while the server can't be reached.
    pub(crate) fn reconnect_timeout(&self) -> Duration {
        match self {
            Engine::Sqlite(_) => Duration::ZERO,
            Engine::Postgres(engine) => engine.reconnect_timeout(),
            Engine::MySql(engine) => engine.reconnect_timeout(),
        }
    }

    pub(crate) async fn begin(&self, mode: Mode) -> Result<Connection> {
        Ok(match self {
            Engine::Sqlite(engine) => Connection::Sqlite(engine.begin(mode).await?),
            Engine::Postgres(engine) => {
                Connection::Postgres(Box::new(over_network(engine.begin(mode)).await?))
            }
            Engine::MySql(engine) => Connection::MySql(over_network(engine.begin(mode)).await?),
        })
    }
}

/// A connection inside a transaction. Dropped without [`Connection::commit`], it is rolled back.
pub(crate) enum Connection {
    Sqlite(sqlite::Connection),
    Postgres(Box<postgres::Connection>),
    MySql(mysql::Connection),
}

impl Connection {
    pub(crate) async fn execute(&mut self, statement: &Rendered, params: Vec<Value>) -> Result<u64> {
        match self {
            Connection::Sqlite(connection) => connection.execute(&statement.text, params),
            Connection::Postgres(connection) => {
                over_network(connection.execute(&statement.text, params)).await
            }
            Connection::MySql(connection) => over_network(connection.execute(statement, params)).await,
        }
    }

    /// Runs a statement of which only the success matters: at once, or together with the next one, whose error is then
    /// also this one's.
    pub(crate) async fn defer(&mut self, statement: &Rendered, params: Vec<Value>) -> Result<()> {
        match self {
            Connection::Sqlite(_) => self.execute(statement, params).await.map(drop),
            Connection::Postgres(connection) => over_network(connection.defer(&statement.text, params)).await,
            Connection::MySql(connection) => over_network(connection.defer(statement, params)).await,
        }
    }

    pub(crate) async fn insert(&mut self, statement: &Rendered, params: Vec<Value>) -> Result<i64> {
        match self {
            Connection::Sqlite(connection) => connection.insert(&statement.text, params),
            Connection::Postgres(connection) => {
                let rows = over_network(connection.query(&statement.text, params)).await?;
                let row = rows
                    .first()
                    .ok_or_else(|| Error::Data(format!("no row was made by {}", statement.text)))?;
                row.int(0)
            }
            Connection::MySql(connection) => over_network(connection.insert(statement, params)).await,
        }
    }

    pub(crate) async fn query(&mut self, statement: &Rendered, params: Vec<Value>) -> Result<Vec<Row>> {
        match self {
            Connection::Sqlite(connection) => connection.query(&statement.text, params),
            Connection::Postgres(connection) => over_network(connection.query(&statement.text, params)).await,
            Connection::MySql(connection) => over_network(connection.query(statement, params)).await,
        }
    }

    /// Runs queries in their order, together where the engine can, and fills in their answers. When one fails, all have.
    pub(crate) async fn ask(&mut self, questions: &[Question]) -> Result<()> {
        let Some((last, before)) = questions.split_last() else { return Ok(()) };
        for Question { statement, params, answer } in before {
            self.ask_later(statement, params.clone(), answer).await?;
        }
        let rows = self.query(&last.statement, last.params.clone()).await?;
        last.answer.fill(Ok(rows));
        Ok(())
    }

    async fn ask_later(&mut self, statement: &Rendered, params: Vec<Value>, answer: &Slot) -> Result<()> {
        match self {
            Connection::Sqlite(connection) => answer.fill(Ok(connection.query(&statement.text, params)?)),
            Connection::Postgres(connection) => {
                over_network(connection.ask_later(&statement.text, params, answer)).await?;
            }
            Connection::MySql(connection) => {
                over_network(connection.ask_later(statement, params, answer)).await?;
            }
        }
        Ok(())
    }

    /// Runs several statements without parameters: migrations only.
    pub(crate) async fn script(&mut self, text: &str) -> Result<()> {
        match self {
            Connection::Sqlite(connection) => connection.script(text),
            Connection::Postgres(connection) => over_network(connection.script(text)).await,
            Connection::MySql(connection) => over_network(connection.script(text)).await,
        }
    }

    /// Runs the only statement of a transaction, which is committed if that changed exactly so many rows; otherwise nothing
    /// is changed. Where the engine can, this is one round trip.
    pub(crate) async fn only(mut self, single: &Single) -> Result<bool> {
        let done = match &mut self {
            Connection::Sqlite(_) => None,
            Connection::Postgres(connection) => over_network(connection.only(single)).await,
            Connection::MySql(connection) => over_network(connection.only(single)).await,
        };
        if let Some(done) = done {
            return done;
        }
        match self.execute(&single.statement, single.params.clone()).await {
            Ok(changed) if changed == single.rows => self.commit().await.map(|()| true),
            other => {
                self.rollback().await;
                other.map(|_| false)
            }
        }
    }

    /// Commits. When the server's answer is lost, finds out what became of the transaction: `Ok` is certainly
    /// committed, a transient error is certainly not, and [`Error::Unknown`] tells that nobody can say.
    pub(crate) async fn commit(self) -> Result<()> {
        match self {
            Connection::Sqlite(connection) => connection.commit(),
            Connection::Postgres(connection) => over_network(connection.commit()).await,
            Connection::MySql(connection) => over_network(connection.commit()).await,
        }
    }

    pub(crate) async fn rollback(self) {
        match self {
            Connection::Sqlite(connection) => connection.rollback(),
            Connection::Postgres(connection) => over_network(connection.rollback()).await,
            Connection::MySql(connection) => over_network(connection.rollback()).await,
        }
    }
}
