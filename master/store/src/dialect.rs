//! One portable text for each statement, rendered once for the engine that runs it.
//!
//! The portable form is what SQLite and PostgreSQL share, with these marks:
//!
//! | portable | PostgreSQL | MySQL, MariaDB | SQLite |
//! |---|---|---|---|
//! | `?`, `?2` | `$1`, `$2` | `?`, each use a parameter of its own | as is |
//! | `x IS ?` | `IS NOT DISTINCT FROM` | `<=>` | as is |
//! | `ON CONFLICT DO NOTHING` | as is | `INSERT IGNORE` | as is |
//! | `ON CONFLICT (k) DO UPDATE SET a = excluded.a` | as is | `ON DUPLICATE KEY UPDATE a = VALUES(a)` | as is |
//! | `FOR UPDATE`, `FOR UPDATE SKIP LOCKED` | `FOR NO KEY UPDATE`, which lets foreign keys refer to the row | as is | left out: there is one writer |
//! | `CAST(x AS TEXT)` | as is | `AS CHAR` | as is |

use std::{
    collections::HashMap,
    fmt::Write,
    sync::{Arc, PoisonError, RwLock},
};

use crate::Value;

/// Rendered statements that are kept; lists of ids of every length can't make more of them. Then it starts anew.
const MAX_CACHED: usize = 1024;

/// The kinds of engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite 3.
    Sqlite,
    /// PostgreSQL 10 or newer.
    Postgres,
    /// MySQL 8 or newer, MariaDB 10.6 or newer.
    MySql,
}

/// A statement as one engine understands it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    /// Its text.
    pub(crate) text: String,
    /// For each mark of the text, which of the given parameters (from 0) it takes. `None`: each in turn.
    pub(crate) order: Option<Vec<usize>>,
}

/// What the caller wants of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// Count or read rows.
    Run,
    /// Learn the id that an insert has made.
    NewId,
}

/// The statements of one database, rendered.
pub(crate) struct Statements {
    dialect: Dialect,
    rendered: RwLock<HashMap<(String, Purpose), Arc<Rendered>>>,
}

impl Statements {
    pub(crate) fn new(dialect: Dialect) -> Statements {
        Statements { dialect, rendered: RwLock::default() }
    }

    pub(crate) fn get(&self, statement: &str, purpose: Purpose) -> Arc<Rendered> {
        let key = (statement.to_owned(), purpose);
        if let Some(found) = self.rendered.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return found.clone();
        }
        let rendered = Arc::new(render(self.dialect, statement, purpose));
        let mut all = self.rendered.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_CACHED {
            all.clear();
        }
        all.insert(key, rendered.clone());
        rendered
    }
}

/// The text of a statement whose `(??)` stands for `count` parameters, as in `id IN (??)`. Nothing is in a list of none.
pub(crate) fn expand_list(statement: &str, count: usize) -> String {
    if count == 0 {
        return statement.replacen("??", "NULL", 1);
    }
    let mut marks = "?,".repeat(count);
    marks.pop();
    statement.replacen("??", &marks, 1)
}

/// The text with `row` (a list of marks in parentheses) `count` times where it says `VALUES (??)`.
pub(crate) fn expand_rows(statement: &str, row: &str, count: usize) -> String {
    let mut rows = format!("{row}, ").repeat(count);
    rows.truncate(rows.len().saturating_sub(2));
    statement.replacen("(??)", &rows, 1)
}

/// How many rows each of several statements inserts: the sizes are few, so that statements stay prepared.
pub(crate) fn batches(mut rows: usize, most: usize) -> Vec<usize> {
    let mut sizes = Vec::new();
    while rows > 0 {
        let size = if rows <= 16 { rows } else { 1 << rows.ilog2() };
        sizes.push(size.min(most));
        rows -= size.min(most);
    }
    sizes
}

/// The values of a list, with the last one repeated up to a power of two: lists of few lengths stay prepared.
pub(crate) fn padded(mut values: Vec<Value>) -> Vec<Value> {
    if let Some(last) = values.last().cloned() {
        values.resize(values.len().next_power_of_two(), last);
    }
    values
}

fn render(dialect: Dialect, statement: &str, purpose: Purpose) -> Rendered {
    match dialect {
        Dialect::Sqlite => Rendered { text: without_locks(statement), order: None },
        Dialect::Postgres => {
            // A mark with a number names its parameter itself.
            let (mut text, _) = marks(&words_of_postgres(statement), |text, number| {
                // Writing to a String never fails.
                let _ = write!(text, "${}", number + 1);
            });
            if purpose == Purpose::NewId {
                text = returning_id(&text);
            }
            Rendered { text, order: None }
        }
        Dialect::MySql => {
            let statement = statement.replace(" IS ?", " <=> ?").replace(" AS TEXT)", " AS CHAR)");
            let statement = upserts_of_mysql(&statement);
            let (text, order) = marks(&statement, |text, _| text.push('?'));
            let in_turn = order.iter().enumerate().all(|(place, number)| place == *number);
            Rendered { text, order: (!in_turn).then_some(order) }
        }
    }
}

/// The text with each mark replaced, and the parameter (from 0) that each of them takes.
fn marks(statement: &str, mut replace: impl FnMut(&mut String, usize)) -> (String, Vec<usize>) {
    let mut text = String::with_capacity(statement.len() + 16);
    let mut order = Vec::new();
    let mut quoted = false;
    let mut next = 0;
    let mut rest = statement.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\'' {
            quoted = !quoted;
        }
        if c != '?' || quoted {
            text.push(c);
            continue;
        }
        let mut digits = String::new();
        while let Some(digit) = rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        let number = digits.parse::<usize>().map_or(next, |number| number - 1);
        next = number + 1;
        replace(&mut text, number);
        order.push(number);
    }
    (text, order)
}

fn words_of_postgres(statement: &str) -> String {
    statement.replace(" IS ?", " IS NOT DISTINCT FROM ?").replace(" FOR UPDATE", " FOR NO KEY UPDATE")
}

fn without_locks(statement: &str) -> String {
    statement.replace(" FOR UPDATE SKIP LOCKED", "").replace(" FOR UPDATE", "")
}

fn upserts_of_mysql(statement: &str) -> String {
    if let Some((insert, returning)) = statement.split_once(" ON CONFLICT DO NOTHING") {
        return insert.replacen("INSERT INTO", "INSERT IGNORE INTO", 1) + returning;
    }
    let Some((insert, update)) = statement.split_once(" ON CONFLICT (") else { return statement.to_owned() };
    let Some((_, update)) = update.split_once(") DO UPDATE SET ") else { return statement.to_owned() };
    // SQL: a statement of this crate, put into another engine's words.
    let mut text = format!("{insert} ON DUPLICATE KEY UPDATE ");
    let mut rest = update;
    while let Some((before, after)) = rest.split_once("excluded.") {
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let (column, after) = after.split_at(end);
        text += before;
        text += "VALUES(";
        text += column;
        text += ")";
        rest = after;
    }
    text + rest
}

/// The insert that answers the key it has generated.
pub(crate) fn returning_id(insert: &str) -> String {
    // SQL: a statement of this crate.
    format!("{insert} RETURNING {}", id_column(insert))
}

/// The generated key of the table that an `INSERT INTO table …` fills: `id`, but for the two oldest tables.
fn id_column(insert: &str) -> &'static str {
    match insert.split_ascii_whitespace().nth(2) {
        Some("changes") => "changeid",
        Some("users") => "uid",
        _ => "id",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(dialect: Dialect, statement: &str) -> String {
        render(dialect, statement, Purpose::Run).text
    }

    #[test]
    fn marks_become_what_the_engine_calls_them() {
        let statement = "SELECT '?' FROM t WHERE a = ? AND b IS ? LIMIT ?";
        assert_eq!(text(Dialect::Sqlite, statement), statement);
        let postgres = "SELECT '?' FROM t WHERE a = $1 AND b IS NOT DISTINCT FROM $2 LIMIT $3";
        assert_eq!(text(Dialect::Postgres, statement), postgres);
        assert_eq!(text(Dialect::MySql, statement), "SELECT '?' FROM t WHERE a = ? AND b <=> ? LIMIT ?");
    }

    #[test]
    fn a_parameter_may_be_named_twice() {
        let statement = "SELECT 1 FROM t WHERE (?1 IS NULL OR a = ?1) AND b = ?2";
        assert_eq!(
            text(Dialect::Postgres, statement),
            "SELECT 1 FROM t WHERE ($1 IS NULL OR a = $1) AND b = $2"
        );
        let mysql = render(Dialect::MySql, statement, Purpose::Run);
        assert_eq!(mysql.text, "SELECT 1 FROM t WHERE (? IS NULL OR a = ?) AND b = ?");
        assert_eq!(mysql.order, Some(vec![0, 0, 1]));
    }

    #[test]
    fn upserts_are_said_in_each_engines_words() {
        let nothing = "INSERT INTO t (a) VALUES (?) ON CONFLICT DO NOTHING";
        assert_eq!(text(Dialect::MySql, nothing), "INSERT IGNORE INTO t (a) VALUES (?)");
        let returning = text(Dialect::MySql, &format!("{nothing} RETURNING a"));
        assert_eq!(returning, "INSERT IGNORE INTO t (a) VALUES (?) RETURNING a");
        let update = "INSERT INTO t (a, b, c) VALUES (?, ?, ?) ON CONFLICT (a) DO UPDATE SET b = excluded.b, c = excluded.c";
        assert_eq!(
            text(Dialect::MySql, update),
            "INSERT INTO t (a, b, c) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE b = VALUES(b), c = VALUES(c)"
        );
        assert_eq!(text(Dialect::Sqlite, update), update);
    }

    #[test]
    fn row_locks_are_left_out_where_there_is_one_writer() {
        let statement = "SELECT id FROM t WHERE a = ? FOR UPDATE SKIP LOCKED";
        assert_eq!(text(Dialect::Sqlite, statement), "SELECT id FROM t WHERE a = ?");
        assert_eq!(text(Dialect::MySql, statement), statement);
        assert_eq!(
            text(Dialect::Postgres, statement),
            "SELECT id FROM t WHERE a = $1 FOR NO KEY UPDATE SKIP LOCKED"
        );
    }

    #[test]
    fn new_ids_come_from_the_tables_own_key() {
        let id = |statement| render(Dialect::Postgres, statement, Purpose::NewId).text;
        assert_eq!(
            id("INSERT INTO builds (number) VALUES (?)"),
            "INSERT INTO builds (number) VALUES ($1) RETURNING id"
        );
        assert!(id("INSERT INTO changes (author) VALUES (?)").ends_with(" RETURNING changeid"));
        assert!(id("INSERT INTO users (identifier) VALUES (?)").ends_with(" RETURNING uid"));
    }

    #[test]
    fn statements_come_in_few_lengths() {
        assert_eq!(batches(0, 32), [0; 0]);
        assert_eq!(batches(3, 32), [3]);
        assert_eq!(batches(13, 32), [13]);
        assert_eq!(batches(27, 32), [16, 11]);
        assert_eq!(batches(70, 32), [32, 32, 6]);
        let list = |count: i64| padded((0..count).map(Value::Int).collect()).len();
        assert_eq!((list(0), list(1), list(3), list(8), list(9)), (0, 1, 4, 8, 16));
    }

    #[test]
    fn lists_and_rows_have_as_many_marks_as_values() {
        assert_eq!(expand_list("id IN (??)", 3), "id IN (?,?,?)");
        assert_eq!(expand_list("id IN (??)", 0), "id IN (NULL)");
        assert_eq!(
            expand_rows("INSERT INTO t VALUES (??)", "(?, ?)", 2),
            "INSERT INTO t VALUES (?, ?), (?, ?)"
        );
    }
}
