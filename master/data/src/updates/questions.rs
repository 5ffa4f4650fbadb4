//! What a function of the configuration has to be asked about new requests.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_core::{BuilderId, RequestId};
use tokio::sync::watch;

/// Whether older requests of a builder collapse into new ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Collapse {
    /// Never.
    #[default]
    Off,
    /// Compatible ones, by Buildbot's rule.
    ByRule,
    /// As a function says.
    Ask,
}

/// A new request, and those of its builder that waited when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CollapseQuestion {
    pub builder: BuilderId,
    pub new: RequestId,
    pub older: Vec<RequestId>,
}

/// Questions that wait for their answers. More than these aren't asked: their requests are kept apart.
const MAX_OPEN: usize = 10_000;
/// Older requests that a new one is compared with, oldest first: each is a call of Python.
pub(super) const MAX_COMPARED: usize = 500;

/// The questions of this master. Clones are the same ones.
#[derive(Clone, Default)]
pub struct CollapseQuestions(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<CollapseQuestion>,
    /// How many of a builder are not answered yet.
    open: BTreeMap<BuilderId, usize>,
}

impl CollapseQuestions {
    pub(super) fn put(&self, questions: &[CollapseQuestion]) {
        if questions.is_empty() {
            return;
        }
        let mut state = self.state();
        for question in questions {
            if state.waiting.len() >= MAX_OPEN {
                tracing::warn!(
                    request = %question.new,
                    "collapseRequests has {MAX_OPEN} questions to answer already: the request is kept apart unasked"
                );
                continue;
            }
            *state.open.entry(question.builder).or_default() += 1;
            state.waiting.push_back(question.clone());
        }
        drop(state);
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// The next question. Its builder is held until it is [`done`](CollapseQuestions::done).
    pub fn take(&self) -> Option<CollapseQuestion> {
        self.state().waiting.pop_front()
    }

    /// A question is answered, or never will be.
    pub fn done(&self, builder: BuilderId) {
        let mut state = self.state();
        if let Some(open) = state.open.get_mut(&builder) {
            *open -= 1;
            if *open == 0 {
                state.open.remove(&builder);
            }
        }
        drop(state);
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// Whether requests of a builder may still collapse into others.
    pub fn is_open(&self, builder: BuilderId) -> bool {
        self.state().open.contains_key(&builder)
    }

    /// Tells of new questions and of answers.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
