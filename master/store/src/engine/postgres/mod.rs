//! PostgreSQL: pipelined statements over a pool of connections that are made when they are needed.

mod deferred;
mod errors;
mod pool;
mod values;

use std::{sync::Arc, time::Duration};

use deadpool::managed::Object;
use deadpool_postgres::ClientWrapper;
use futures_util::future::{OptionFuture, join3, join4};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::{error::SqlState, types::ToSql};

use deferred::{Deferred, prepared_all, run_all};
use errors::sorted;
use pool::{Connections, Pooled, Session};
use values::{Cell, Param};

use super::{Mode, Single};
use crate::{Error, Result, Row, Value, together::Slot, url::ServerUrl};

/// Prepared statements that a connection keeps; beyond them (lists of many lengths) it begins anew.
const STATEMENTS: usize = 512;
/// Statements that wait for the next one at most; with more of them, they go out. What they carry is in memory anyway.
const MAX_DEFERRED: usize = 31;
/// How long between two attempts to learn what became of a commit.
const RESOLVE_PAUSE: Duration = Duration::from_millis(50);

const BEGIN_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Leaves a token in the connection's row, as the last statement of a transaction that writes. After [`FENCE`] it fails,
/// because the column takes no null.
const LEAVE_TOKEN: &str = "UPDATE muster_commits SET token = CASE token WHEN 'fenced' THEN NULL ELSE $2 END, \
    committed_at = extract(epoch FROM now())::bigint WHERE connection = $1";
/// Answers the token if the transaction that left it is committed. If it is not, it never will be: after this, nothing of
/// that connection can leave a token.
const FENCE: &str = "UPDATE muster_commits SET token = CASE token WHEN $2 THEN token ELSE 'fenced' END \
    WHERE connection = $1 RETURNING token";

/// A PostgreSQL database.
pub(crate) struct Engine(Arc<Connections>);

impl Engine {
    pub(crate) fn new(url: &ServerUrl) -> Result<Engine> {
        Connections::new(url).map(|connections| Engine(Arc::new(connections)))
    }

    pub(crate) fn reconnect_timeout(&self) -> Duration {
        self.0.reconnect_timeout()
    }

    pub(crate) async fn probe(&self) -> Result<()> {
        self.0.probe().await
    }

    pub(crate) async fn begin(&self, mode: Mode) -> Result<Connection> {
        let client = self.0.client_for(mode).await?;
        let connections = self.0.clone();
        Ok(Connection { connections, client: Some(client), mode, state: State::Fresh, deferred: Vec::new() })
    }
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
    Rows(Vec<Row>),
}

/// A connection inside a transaction.
pub(crate) struct Connection {
    connections: Arc<Connections>,
    client: Option<Pooled>,
    mode: Mode,
    state: State,
    /// Statements that go out together with the next one.
    deferred: Vec<Deferred>,
}

impl Connection {
    pub(crate) async fn execute(&mut self, statement: &str, params: Vec<Value>) -> Result<u64> {
        self.mode.may_write(statement)?;
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
            Answer::Rows(rows) => Ok(rows),
        }
    }

    pub(crate) async fn script(&mut self, text: &str) -> Result<()> {
        // Anything begins the transaction; a script is not prepared.
        self.query("SELECT 1", Vec::new()).await?;
        let outcome = self.client()?.batch_execute(text).await.map_err(|error| sorted(text, &error));
        self.note(outcome)
    }

    /// Runs a statement at the latest with the next one, or with the commit; an error of it is theirs then.
    pub(crate) async fn defer(&mut self, statement: &str, params: Vec<Value>) -> Result<()> {
        self.mode.may_write(statement)?;
        let params = self.params(params);
        self.deferred.push(Deferred { statement: statement.to_owned(), params, answer: None });
        if self.deferred.len() < MAX_DEFERRED { Ok(()) } else { self.flush().await }
    }

    /// Runs a query at the latest with the next one; its rows are in `answer` then.
    pub(crate) async fn ask_later(
        &mut self,
        statement: &str,
        params: Vec<Value>,
        answer: &Slot,
    ) -> Result<()> {
        let params = self.params(params);
        let answer = Some(answer.clone());
        self.deferred.push(Deferred { statement: statement.to_owned(), params, answer });
        if self.deferred.len() < MAX_DEFERRED { Ok(()) } else { self.flush().await }
    }

    /// Runs what is deferred.
    async fn flush(&mut self) -> Result<()> {
        let Some(Deferred { statement, params, answer }) = self.deferred.pop() else { return Ok(()) };
        let Some(slot) = answer else { return self.run(&statement, params, Wanted::Count).await.map(drop) };
        if let Answer::Rows(rows) = self.run(&statement, params, Wanted::Rows).await? {
            slot.fill(Ok(rows));
        }
        Ok(())
    }

    fn params(&self, values: Vec<Value>) -> Vec<Param> {
        values.into_iter().map(|value| Param { value, mode: self.mode }).collect()
    }

    fn client(&self) -> Result<&Pooled> {
        self.client.as_ref().ok_or(Error::Over("connection"))
    }

    /// Runs one statement; the first one begins the transaction, on another connection when the pool's was dead. A look
    /// never begins one.
    async fn run(&mut self, statement: &str, params: Vec<Param>, wanted: Wanted) -> Result<Answer> {
        let fresh = matches!(self.state, State::Fresh);
        match self.run_once(statement, &params, wanted).await {
            Err(Error::Lost(_)) if fresh => {
                self.client = Some(self.connections.client_for(self.mode).await?);
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
        let begins = self.mode != Mode::Look && matches!(self.state, State::Fresh);
        if begins {
            // From here on the server may have a transaction, also when nobody waits for its answer any more.
            self.state = State::Begun;
        }
        let outcome = self.answer(begins, statement, params, wanted).await;
        if outcome.is_ok() {
            self.deferred.clear();
        }
        self.bound_statements();
        if self.mode == Mode::Look { outcome } else { self.note(outcome) }
    }

    /// Sends the beginning where this is the first statement, what is deferred, and the statement in one go. Everything is
    /// prepared before, so that they arrive in this order.
    async fn answer(
        &self,
        begins: bool,
        statement: &str,
        params: &[Param],
        wanted: Wanted,
    ) -> Result<Answer> {
        let client = self.client()?;
        let failed = |error| sorted(statement, &error);
        let prepared = client.prepare_cached(statement).await.map_err(failed)?;
        let deferred = prepared_all(client, &self.deferred).await?;
        let begin = if self.mode == Mode::Write { BEGIN_WRITE } else { BEGIN_READ };
        let begin = match begins {
            true => Some(client.prepare_cached(begin).await.map_err(failed)?),
            false => None,
        };
        let answer = async {
            match wanted {
                Wanted::Count => client.execute_raw(&prepared, params).await.map(Answer::Count),
                Wanted::Rows => query(client, &prepared, params).await.map(Answer::Rows),
            }
        };
        let begin = OptionFuture::from(begin.as_ref().map(|begin| client.execute(begin, &[])));
        let (begun, deferred, answer) = join3(begin, run_all(client, &deferred), answer).await;
        begun.transpose().map_err(failed)?;
        deferred?;
        answer.map_err(failed)
    }

    fn note<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if let Err(error) = &outcome {
            self.state = State::Failed(error.to_string());
        }
        outcome
    }

    fn bound_statements(&self) {
        if let Some(client) = &self.client
            && client.statement_cache.size() > STATEMENTS
        {
            client.statement_cache.clear();
        }
    }

    pub(crate) async fn commit(mut self) -> Result<()> {
        match &self.state {
            State::Over => Ok(()),
            State::Fresh if self.deferred.is_empty() => Ok(()),
            State::Failed(reason) => {
                let message = format!("a statement before failed ({reason}), so nothing can be committed");
                self.rollback().await;
                Err(Error::statement(message, "COMMIT"))
            }
            State::Fresh | State::Begun => self.end().await,
        }
    }

    /// Sends what is not sent yet, the token and the commit in one go.
    async fn end(&mut self) -> Result<()> {
        let begins = matches!(std::mem::replace(&mut self.state, State::Begun), State::Fresh);
        let client = self.client()?;
        let token = (self.mode == Mode::Write).then(|| Token::new(client)).flatten();
        match end_with(client, begins, &self.deferred, token.as_ref()).await {
            Ok(()) => {
                self.state = State::Over;
                Ok(())
            }
            // The connection is given up, with whatever is left of the transaction.
            Err(Error::Lost(reason)) => match token {
                Some(token) => self.connections.resolve(&token).await,
                None => Err(Error::Lost(reason)),
            },
            Err(error) => Err(error),
        }
    }

    /// Runs one statement that is a transaction by itself if it changes exactly so many rows; otherwise nothing is changed.
    /// `None`: this can't be done in one go, because there is no place for a token yet.
    pub(crate) async fn only(&mut self, single: &Single) -> Option<Result<bool>> {
        let token = Token::new(self.client.as_ref()?)?;
        // SQL: a statement of ours, and the places of parameters.
        let leave = format!(
            "WITH changed AS ({} RETURNING 1) UPDATE muster_commits SET token = CASE WHEN token = 'fenced' \
             OR (SELECT count(*) FROM changed) <> ${} THEN NULL ELSE ${} END, \
             committed_at = extract(epoch FROM now())::bigint \
             WHERE connection = ${} AND EXISTS (SELECT 1 FROM changed)",
            single.statement.text,
            single.params.len() + 1,
            single.params.len() + 2,
            single.params.len() + 3,
        );
        let mut params = single.params.clone();
        params.extend([(single.rows as i64).into(), token.token.as_str().into(), token.row.as_str().into()]);
        let statement = [Deferred { statement: leave, params: self.params(params), answer: None }];
        // It is its own transaction, whatever the server answers.
        self.state = State::Over;
        Some(self.run_alone(&statement, &token).await)
    }

    async fn run_alone(&mut self, statement: &[Deferred; 1], token: &Token) -> Result<bool> {
        let client = self.client()?;
        let prepared = prepared_all(client, statement).await?;
        let [(ready, leave)] = prepared.as_slice() else { return Ok(false) };
        match client.execute_raw(ready, leave.params.as_slice()).await {
            Ok(left) => Ok(left == 1),
            Err(error) if took_no_token(&error) => Ok(false),
            Err(error) => match sorted(&leave.statement, &error) {
                Error::Lost(_) => self.connections.resolve(token).await.map(|()| true),
                error => Err(error),
            },
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

/// Whether a transaction was refused its token.
fn took_no_token(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| {
        *error.code() == SqlState::NOT_NULL_VIOLATION && error.table() == Some("muster_commits")
    })
}

/// By which a transaction is known in its connection's row.
struct Token {
    row: String,
    token: String,
}

impl Token {
    /// `None` before there is the table for it.
    fn new(session: &Session) -> Option<Token> {
        let row = session.row.clone()?;
        Some(Token { row, token: format!("{:032x}", fastrand::u128(..)) })
    }
}

/// Everything is prepared: the server plans none of it again.
async fn end_with(
    client: &Session,
    begins: bool,
    deferred: &[Deferred],
    token: Option<&Token>,
) -> Result<()> {
    let failed = |error| sorted("COMMIT", &error);
    let deferred = prepared_all(client, deferred).await?;
    let begin = match begins {
        true => Some(client.prepare_cached(BEGIN_WRITE).await.map_err(failed)?),
        false => None,
    };
    let leave = match token {
        Some(token) => Some((client.prepare_cached(LEAVE_TOKEN).await.map_err(failed)?, token)),
        None => None,
    };
    let commit = client.prepare_cached("COMMIT").await.map_err(failed)?;
    let begin = OptionFuture::from(begin.as_ref().map(|begin| client.execute(begin, &[])));
    let leave = OptionFuture::from(leave.as_ref().map(|(leave, token)| async move {
        let values: [&(dyn ToSql + Sync); 2] = [&token.row, &token.token];
        client.execute(leave, &values).await
    }));
    let (begun, done, left, committed) =
        join4(begin, run_all(client, &deferred), leave, client.execute(&commit, &[])).await;
    // When one before it has failed, the last has rolled back, and says nothing of it.
    begun.transpose().map_err(failed)?;
    done?;
    left.transpose().and(committed).map(|_| ()).map_err(failed)
}

impl Connections {
    async fn client_for(&self, mode: Mode) -> Result<Pooled> {
        if mode == Mode::Write { self.writer().await } else { self.client().await }
    }

    /// Finds out what became of a transaction whose commit was not answered.
    async fn resolve(&self, token: &Token) -> Result<()> {
        let deadline = Instant::now() + self.reconnect_timeout();
        loop {
            let reason = match self.fence(token, deadline).await {
                Ok(Some(found)) if found == token.token => return Ok(()),
                Ok(Some(_)) => return Err(Error::Lost("the connection broke before the commit".to_owned())),
                Ok(None) => return Err(Error::Unknown { name: "", reason: "its row is gone".to_owned() }),
                Err(error) => error.to_string(),
            };
            if Instant::now() > deadline {
                return Err(Error::Unknown { name: "", reason });
            }
            tokio::time::sleep(RESOLVE_PAUSE).await;
        }
    }

    /// Waits while the old transaction still runs: it has the row.
    async fn fence(&self, token: &Token, deadline: Instant) -> Result<Option<String>> {
        let client = self.client().await?;
        let values: [&(dyn ToSql + Sync); 2] = [&token.row, &token.token];
        match timeout_at(deadline, client.query_opt(FENCE, &values)).await {
            Ok(found) => Ok(found.map_err(|error| sorted(FENCE, &error))?.map(|row| row.get(0))),
            Err(_) => {
                // It still waits for its answer.
                drop(Object::take(client));
                Err(Error::Lost("its transaction still runs in the server".to_owned()))
            }
        }
    }
}

async fn query(
    client: &ClientWrapper,
    statement: &tokio_postgres::Statement,
    params: &[Param],
) -> std::result::Result<Vec<Row>, tokio_postgres::Error> {
    let references: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
    client.query(statement, &references).await?.iter().map(from_postgres).collect()
}

fn from_postgres(row: &tokio_postgres::Row) -> std::result::Result<Row, tokio_postgres::Error> {
    let cells = (0..row.len()).map(|index| row.try_get::<_, Cell>(index).map(|cell| cell.0));
    cells.collect::<std::result::Result<_, _>>().map(Row)
}
