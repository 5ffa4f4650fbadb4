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

    /// All of them, to be sent.
    pub(crate) fn take(&self) -> Vec<Question> {
        std::mem::take(&mut lock(&self.0))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
