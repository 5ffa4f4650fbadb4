//! Queries that are asked at the same time, in one transaction: they go to the server together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Result, Row, Value, dialect::Rendered};

/// Where the answer to a query is put.
#[derive(Clone, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<Result<Vec<Row>>>>>);

impl Slot {
    pub(crate) fn fill(&self, answer: Result<Vec<Row>>) {
        *lock(&self.0) = Some(answer);
    }

    /// The answer, once it is there.
    pub(crate) fn take(&self) -> Option<Result<Vec<Row>>> {
        lock(&self.0).take()
    }
}

/// A query, and where its answer goes.
pub(crate) struct Question {
    pub(crate) statement: Arc<Rendered>,
    pub(crate) params: Vec<Value>,
    pub(crate) answer: Slot,
}

/// Queries that are not sent yet, in the order in which they were asked.
#[derive(Default)]
pub(crate) struct Asked(Mutex<Vec<Question>>);

impl Asked {
    /// One more.
    pub(crate) fn push(&self, statement: Arc<Rendered>, params: Vec<Value>) -> Slot {
        let answer = Slot::default();
        lock(&self.0).push(Question { statement, params, answer: answer.clone() });
        answer
    }

    /// All of them, to be sent, but for those whose asker is gone: it may count on not having asked.
    pub(crate) fn take(&self) -> Vec<Question> {
        let mut questions = std::mem::take(&mut *lock(&self.0));
        questions.retain(|question| Arc::strong_count(&question.answer.0) > 1);
        questions
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_waits_for_any_more_is_not_asked() {
        let asked = Asked::default();
        let statement = |text: &str| Arc::new(Rendered { text: text.to_owned(), order: None });
        let kept = asked.push(statement("SELECT 1"), Vec::new());
        drop(asked.push(statement("INSERT INTO t (a) VALUES (1) RETURNING id"), Vec::new()));
        let questions = asked.take();
        assert_eq!(
            questions.iter().map(|question| question.statement.text.as_str()).collect::<Vec<_>>(),
            ["SELECT 1"]
        );
        questions[0].answer.fill(Ok(Vec::new()));
        assert!(kept.take().is_some() && asked.take().is_empty());
    }
}
