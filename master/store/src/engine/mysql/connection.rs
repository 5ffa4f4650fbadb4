//! A connection inside a transaction.

use std::{sync::Arc, time::Instant};

use mysql_async::{
    Conn, Params, Value as MySqlValue,
    prelude::{FromRow, Queryable},
};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    BEGIN_READ, COUNT, COUNT_AND_COMMIT, Commits, FORGET, Inner, Mode, SIGNALLED, Session, TRUSTED, Trace,
    deferred::{Block, Deferred},
    disconnect, is_query, sorted,
    values::{Charset, from_mysql, to_mysql},
};
use crate::{
    Error, Result, Row, Value,
    dialect::{Rendered, returning_id},
    engine::Single,
    together::Slot,
};

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
    /// Statements that go out together with the next one; on MySQL there are none.
    deferred: Deferred,
    /// Why some of several statements were not run: nothing may be committed, whatever the caller makes of that error.
    failed: Option<String>,
}

impl Connection {
    /// Begins a transaction on a session from the pool.
    pub(super) async fn begin(
        engine: Arc<Inner>,
        session: Session,
        permit: OwnedSemaphorePermit,
        mode: Mode,
    ) -> Result<Connection> {
        let mut connection = Connection {
            engine,
            session: Some(session),
            permit: Some(permit),
            mode,
            wrote: false,
            broken: false,
            deferred: Deferred::default(),
            failed: None,
        };
        connection.start().await?;
        Ok(connection)
    }

    async fn start(&mut self) -> Result<()> {
        match self.begin_on_session().await {
            // It was closed while it was idle: the others were too, and a new one shows whether the server is there.
            Err(Error::Lost(_)) => {
                self.reconnect().await?;
                self.begin_on_session().await
            }
            other => other,
        }
    }

    async fn reconnect(&mut self) -> Result<()> {
        self.engine.forget_idle();
        self.session = Some(self.engine.connect().await?);
        self.broken = false;
        Ok(())
    }

    async fn begin_on_session(&mut self) -> Result<()> {
        match self.mode {
            Mode::Look => return Ok(()),
            Mode::Read => return self.text(BEGIN_READ).await,
            Mode::Write => {}
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
        self.mode.may_write(&statement.text)?;
        self.wrote = true;
        let params = self.values(statement, params);
        if self.deferred.is_empty() {
            return self.execute_alone(&statement.text, params).await;
        }
        self.deferred.push(&statement.text, params);
        let rows = self.with_deferred("SELECT ROW_COUNT()", Vec::new()).await?;
        let changed = rows.first().map(|row| row.int(0)).transpose()?;
        Ok(changed.and_then(|changed| u64::try_from(changed).ok()).unwrap_or_default())
    }

    async fn execute_alone(&mut self, text: &str, params: Vec<MySqlValue>) -> Result<u64> {
        let outcome = self.session()?.conn.exec_drop(text, in_turn(params)).await;
        outcome.map_err(|error| self.note(text, &error))?;
        Ok(self.session()?.conn.affected_rows())
    }

    /// Runs a statement at the latest with the next one, or with the commit; an error of it is theirs then.
    pub(crate) async fn defer(&mut self, statement: &Rendered, params: Vec<Value>) -> Result<()> {
        if !self.engine.is_mariadb() {
            return self.execute(statement, params).await.map(drop);
        }
        self.mode.may_write(&statement.text)?;
        self.wrote = true;
        let params = self.values(statement, params);
        self.deferred.push(&statement.text, params);
        if self.deferred.is_full() { self.flush().await } else { Ok(()) }
    }

    /// Runs what is deferred.
    async fn flush(&mut self) -> Result<()> {
        if self.deferred.is_empty() {
            return Ok(());
        }
        self.with_deferred("DO 0", Vec::new()).await.map(drop)
    }

    /// Runs a query at the latest with the next one; its rows are in `answer` then.
    pub(crate) async fn ask_later(
        &mut self,
        statement: &Rendered,
        params: Vec<Value>,
        answer: &Slot,
    ) -> Result<()> {
        if !self.engine.is_mariadb() {
            answer.fill(Ok(self.query(statement, params).await?));
            return Ok(());
        }
        self.wrote |= !is_query(&statement.text);
        let params = self.values(statement, params);
        self.deferred.push_query(&statement.text, params, answer);
        Ok(())
    }

    pub(crate) async fn insert(&mut self, statement: &Rendered, params: Vec<Value>) -> Result<i64> {
        self.mode.may_write(&statement.text)?;
        let unmade = || Error::Data(format!("no id was made by {}", statement.text));
        self.wrote = true;
        let params = self.values(statement, params);
        if self.deferred.is_empty() {
            self.execute_alone(&statement.text, params).await?;
            let id = self.session()?.conn.last_insert_id().and_then(|id| i64::try_from(id).ok());
            return id.ok_or_else(unmade);
        }
        let rows = self.with_deferred(&returning_id(&statement.text), params).await?;
        rows.first().ok_or_else(unmade)?.int(0)
    }

    pub(crate) async fn query(&mut self, statement: &Rendered, params: Vec<Value>) -> Result<Vec<Row>> {
        self.wrote |= !is_query(&statement.text);
        let params = self.values(statement, params);
        if !self.deferred.is_empty() {
            return self.with_deferred(&statement.text, params).await;
        }
        if self.mode != Mode::Look {
            return self.query_alone(&statement.text, params).await;
        }
        // Nothing was asked before that would have shown whether the connection lives; and what was asked has no common view.
        match self.query_alone(&statement.text, params.clone()).await {
            Err(Error::Lost(_)) => {
                self.reconnect().await?;
                self.query_alone(&statement.text, params).await
            }
            other => other,
        }
    }

    async fn query_alone(&mut self, text: &str, params: Vec<MySqlValue>) -> Result<Vec<Row>> {
        let outcome = self.session()?.conn.exec(text, in_turn(params)).await;
        read(outcome.map_err(|error| self.note(text, &error))?)
    }

    /// Sends what is deferred and a last statement in one go; answers the rows of that one.
    async fn with_deferred(&mut self, last: &str, params: Vec<MySqlValue>) -> Result<Vec<Row>> {
        let block = std::mem::take(&mut self.deferred).followed_by(last, params);
        let session = self.session()?;
        let mut outcome = run_block(&mut session.conn, &block).await;
        if let Err(error) = &outcome
            && self.mode == Mode::Look
            && matches!(sorted(&block.text, error), Error::Lost(_))
        {
            self.reconnect().await?;
            outcome = run_block(&mut self.session()?.conn, &block).await;
        }
        let mut sets = outcome.map_err(|error| {
            let error = self.note(&block.text, &error);
            self.failed = Some(error.to_string());
            error
        })?;
        let last = sets.pop().map(read).transpose()?.unwrap_or_default();
        for (answer, rows) in block.answers.iter().zip(sets) {
            if let Some(answer) = answer {
                answer.fill(Ok(read(rows)?));
            }
        }
        Ok(last)
    }

    pub(crate) async fn script(&mut self, text: &str) -> Result<()> {
        self.flush().await?;
        self.text(text).await
    }

    async fn text(&mut self, text: &str) -> Result<()> {
        let outcome = self.session()?.conn.query_drop(text).await;
        outcome.map_err(|error| self.note(text, &error))
    }

    fn values(&self, statement: &Rendered, values: Vec<Value>) -> Vec<MySqlValue> {
        // Our own tables hold every character.
        let narrow = self.engine.is_narrow() && !statement.text.contains("muster_");
        let charset = if narrow { Charset::ThreeBytes } else { Charset::Full };
        match &statement.order {
            None => values.into_iter().map(|value| to_mysql(value, charset)).collect(),
            Some(order) => order
                .iter()
                .filter_map(|index| values.get(*index))
                .map(|value| to_mysql(value.clone(), charset))
                .collect(),
        }
    }

    fn note(&mut self, statement: &str, error: &mysql_async::Error) -> Error {
        let error = sorted(statement, error);
        if matches!(error, Error::Lost(_)) {
            self.broken = true;
        }
        error
    }

    pub(crate) async fn commit(mut self) -> Result<()> {
        if let Some(reason) = self.failed.take() {
            self.roll_back().await;
            let message = format!("a statement before failed ({reason}), so nothing can be committed");
            return Err(Error::statement(message, "COMMIT"));
        }
        let session = self.session()?;
        let counted = match &session.commits {
            Commits::Counted { id, seq } => Some((session.conn.id(), id.clone(), seq + 1)),
            _ => None,
        };
        let Some((thread, id, seq)) = counted.filter(|_| self.wrote) else {
            self.flush().await?;
            self.text("COMMIT").await?;
            self.give_back();
            return Ok(());
        };
        match self.count_and_commit(&id).await {
            Ok(()) => {
                self.session()?.commits = Commits::Counted { id, seq };
                self.give_back();
                Ok(())
            }
            Err(Error::Lost(_)) => self.engine.resolve(thread, &Trace::Count { id: &id, seq }).await,
            Err(error) => {
                self.rollback().await;
                Err(error)
            }
        }
    }

    /// Sends what is not sent yet, the count and the commit in one go.
    async fn count_and_commit(&mut self, id: &str) -> Result<()> {
        if !self.engine.is_mariadb() {
            return self.text(COUNT_AND_COMMIT).await;
        }
        self.deferred.push(COUNT, vec![id.into()]);
        self.with_deferred("COMMIT", Vec::new()).await.map(drop)
    }

    /// Runs one statement and commits if it changed exactly so many rows; otherwise nothing is changed. `None`: this server
    /// can't do it in one round trip.
    pub(crate) async fn only(&mut self, single: &Single) -> Option<Result<bool>> {
        let session = self.session.as_ref().filter(|_| self.engine.is_mariadb())?;
        let thread = session.conn.id();
        // Where it ends well there is nothing to send back but that.
        let text = format!(
            "BEGIN NOT ATOMIC {}; IF ROW_COUNT() <> ? THEN ROLLBACK; SIGNAL SQLSTATE '45000'; END IF; COMMIT; END",
            single.statement.text
        );
        let mut params = self.values(&single.statement, single.params.clone());
        params.push(single.rows.into());
        Some(self.run_single(&text, params, thread, single).await)
    }

    async fn run_single(
        &mut self,
        text: &str,
        params: Vec<MySqlValue>,
        thread: u32,
        single: &Single,
    ) -> Result<bool> {
        let outcome = self.session()?.conn.exec_drop(text, in_turn(params)).await;
        if let Err(mysql_async::Error::Server(error)) = &outcome
            && error.code == SIGNALLED
        {
            self.give_back();
            return Ok(false);
        }
        match outcome.map_err(|error| self.note(text, &error)) {
            Ok(()) => {
                self.give_back();
                Ok(true)
            }
            Err(Error::Lost(_)) => {
                let effect = self.values(&single.effect.0, single.effect.1.clone());
                let query = single.effect.0.text.as_str();
                self.engine
                    .resolve(thread, &Trace::Rows { query, params: effect, rows: single.rows })
                    .await?;
                Ok(true)
            }
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
        self.engine.keep(session);
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

fn in_turn(values: Vec<MySqlValue>) -> Params {
    if values.is_empty() { Params::Empty } else { Params::Positional(values) }
}

/// A row with its columns still beside it.
struct MySqlRow(mysql_async::Row);

impl FromRow for MySqlRow {
    fn from_row_opt(row: mysql_async::Row) -> std::result::Result<MySqlRow, mysql_async::FromRowError> {
        Ok(MySqlRow(row))
    }
}

/// The rows that each of its statements has answered, as far as there may be any; the last ones are those of the last.
async fn run_block(conn: &mut Conn, block: &Block) -> mysql_async::Result<Vec<Vec<MySqlRow>>> {
    let params = Params::Positional(block.params.clone());
    let mut result = conn.exec_iter(block.text.as_str(), params).await?;
    let mut sets = Vec::with_capacity(block.answers.len() + 1);
    for _ in &block.answers {
        sets.push(result.collect().await?);
    }
    sets.push(result.collect_and_drop().await?);
    Ok(sets)
}

fn read(rows: Vec<MySqlRow>) -> Result<Vec<Row>> {
    rows.into_iter().map(|row| from_mysql(row.0)).collect()
}
