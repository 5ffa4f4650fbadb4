//! Statements that go out together with the next one, as one compound statement. MariaDB can prepare those, MySQL can't.

use mysql_async::Value as MySqlValue;

use crate::together::Slot;

/// Statements that wait at most; with more of them, they go out.
const MOST: usize = 15;
/// What they may carry together: with the next one it stays far below `max_allowed_packet`.
const MOST_BYTES: usize = 1 << 20;

/// Those that wait.
#[derive(Default)]
pub(super) struct Deferred {
    text: String,
    params: Vec<MySqlValue>,
    statements: usize,
    bytes: usize,
    answers: Vec<Option<Slot>>,
}

impl Deferred {
    pub(super) fn is_empty(&self) -> bool {
        self.statements == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.statements >= MOST || self.bytes >= MOST_BYTES
    }

    pub(super) fn push(&mut self, statement: &str, params: Vec<MySqlValue>) {
        self.add(statement, params);
        if super::is_query(statement) {
            self.answers.push(None);
        }
    }

    /// A query whose rows are wanted.
    pub(super) fn push_query(&mut self, statement: &str, params: Vec<MySqlValue>, answer: &Slot) {
        self.add(statement, params);
        self.answers.push(Some(answer.clone()));
    }

    fn add(&mut self, statement: &str, params: Vec<MySqlValue>) {
        self.statements += 1;
        self.bytes += params.iter().map(bytes).sum::<usize>();
        self.text += statement;
        self.text += "; ";
        self.params.extend(params);
    }

    /// All of them, and what comes last.
    pub(super) fn followed_by(mut self, last: &str, params: Vec<MySqlValue>) -> Block {
        self.params.extend(params);
        // SQL: statements of this crate, one after the other.
        let text = format!("BEGIN NOT ATOMIC {}{last}; END", self.text);
        Block { text, params: self.params, answers: self.answers }
    }
}

fn bytes(value: &MySqlValue) -> usize {
    match value {
        MySqlValue::Bytes(bytes) => bytes.len(),
        _ => size_of::<u64>(),
    }
}

/// Statements that are sent as one.
pub(super) struct Block {
    pub(super) text: String,
    pub(super) params: Vec<MySqlValue>,
    /// Of those before the last one that answer rows: who wants them.
    pub(super) answers: Vec<Option<Slot>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_statements_become_one() {
        let mut deferred = Deferred::default();
        assert!(deferred.is_empty());
        deferred.push("SELECT id FROM t WHERE id = ? FOR UPDATE", vec![1.into()]);
        deferred.push("UPDATE t SET a = ?", vec![2.into()]);
        let block = deferred.followed_by("COMMIT", Vec::new());
        assert_eq!(
            block.text,
            "BEGIN NOT ATOMIC SELECT id FROM t WHERE id = ? FOR UPDATE; UPDATE t SET a = ?; COMMIT; END"
        );
        assert_eq!(block.params, vec![1.into(), 2.into()] as Vec<MySqlValue>);
        assert!(matches!(block.answers.as_slice(), [None]));
    }

    #[test]
    fn what_waits_is_bounded_in_number_and_size() {
        let mut many = Deferred::default();
        (0..MOST).for_each(|_| many.push("DELETE FROM t", Vec::new()));
        assert!(many.is_full());
        let mut large = Deferred::default();
        large.push("UPDATE t SET a = ?", vec![MySqlValue::Bytes(vec![0; MOST_BYTES])]);
        assert!(large.is_full());
    }
}
