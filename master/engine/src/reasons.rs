//! Why requests wait, where this engine knows more than the rows show: a function of the configuration that refuses, has
//! failed or does not answer, a lock that is held. Kept here, and written down for the pages and for `cluster status`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use muster_core::BuilderId;
use muster_data::Reason;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::Engine;

/// The least time between two writings: what holds for less need not be told.
const PAUSE: Duration = Duration::from_millis(500);
/// A wait for an answer of Python that is told.
const SLOW: Duration = Duration::from_secs(1);
/// The wait after the database refused.
const AGAIN: Duration = Duration::from_secs(5);

/// What a reason comes from; of several, the first is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum From {
    /// `prioritizeBuilders`.
    Order,
    /// `collapseRequests`.
    Collapse,
    /// `nextBuild`, `nextWorker`, `select_next_worker`, `canStartBuild`.
    Choice,
    /// Locks of the builder and of its workers.
    Locks,
}

/// What is known now.
#[derive(Debug, Default)]
pub(crate) struct Reasons {
    known: Mutex<BTreeMap<(Option<BuilderId>, From), String>>,
    changes: watch::Sender<u64>,
}

impl Reasons {
    /// Says why requests of a builder (or of all) wait. `true`: that is new, and the log should tell it, too.
    pub(crate) fn say(&self, builder: Option<BuilderId>, from: From, text: impl Into<String>) -> bool {
        let text = text.into();
        let old = self.known().insert((builder, from), text.clone());
        let is_new = old.as_ref() != Some(&text);
        if is_new {
            self.changes.send_modify(|count| *count += 1);
        }
        is_new
    }

    /// What Python answers. While it takes its time, that is why the requests of a builder (or of all) wait.
    pub(crate) async fn while_asking<T>(
        &self,
        builder: Option<BuilderId>,
        from: From,
        function: &str,
        answer: impl Future<Output = T>,
    ) -> T {
        let mut answer = std::pin::pin!(answer);
        if let Ok(answered) = timeout(SLOW, &mut answer).await {
            return answered;
        }
        if self.say(builder, from, format!("{function} has not answered yet")) {
            tracing::warn!(
                builder = builder.map(|id| id.0),
                "{function} is slow; what waits for its answer waits on"
            );
        }
        answer.await
    }

    /// A function of Python has failed: that is told once, and why the requests of a builder (or of all) wait.
    pub(crate) fn failed(
        &self,
        builder: Option<BuilderId>,
        from: From,
        function: &str,
        error: &str,
        consequence: &str,
    ) {
        let line = error.lines().next().unwrap_or_default();
        if self.say(builder, from, format!("{function} failed ({line}): {consequence}")) {
            tracing::error!(builder = builder.map(|id| id.0), error, "{function} failed; {consequence}");
        }
    }

    /// It holds no longer.
    pub(crate) fn unsay(&self, builder: Option<BuilderId>, from: From) {
        if self.known().remove(&(builder, from)).is_some() {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// Of the reasons from one source, only these still hold.
    pub(crate) fn keep(&self, from: From, builders: &BTreeSet<BuilderId>) {
        let mut known = self.known();
        let before = known.len();
        known.retain(|(builder, other), _| {
            *other != from || builder.is_none_or(|builder| builders.contains(&builder))
        });
        if known.len() != before {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// One for each builder.
    fn told(&self) -> Vec<Reason> {
        let mut told: Vec<Reason> = Vec::new();
        for ((builder, _), text) in self.known().iter() {
            if told.last().is_none_or(|(other, _)| other != builder) {
                told.push((*builder, text.clone()));
            }
        }
        told
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<(Option<BuilderId>, From), String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes down what is known, until `leaving`. What an earlier life of this master has left is replaced.
pub(crate) async fn write(engine: Engine, leaving: CancellationToken) {
    let reasons = &engine.0.reasons;
    let mut changes = reasons.changes.subscribe();
    let writing = async {
        let mut written = None;
        loop {
            changes.mark_unchanged();
            let told = reasons.told();
            if written.as_ref() != Some(&told) {
                match engine.data().say_reasons(engine.master(), &told).await {
                    Ok(()) => written = Some(told),
                    Err(error) => {
                        tracing::warn!(%error, "can't write down why requests wait; trying again");
                        sleep(AGAIN).await;
                        continue;
                    }
                }
            }
            sleep(PAUSE).await;
            if changes.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = writing => {}
        () = leaving.cancelled() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_new_once_and_the_first_source_is_told() {
        let reasons = Reasons::default();
        let one = Some(BuilderId(1));
        assert!(reasons.say(one, From::Locks, "a lock is held"));
        assert!(!reasons.say(one, From::Locks, "a lock is held"));
        assert!(reasons.say(one, From::Choice, "nextBuild failed"));
        assert!(reasons.say(None, From::Order, "no order"));
        let told = |reasons: &Reasons| reasons.told().into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(told(&reasons), ["no order", "nextBuild failed"]);
        reasons.unsay(one, From::Choice);
        assert_eq!(told(&reasons), ["no order", "a lock is held"]);
        reasons.keep(From::Locks, &BTreeSet::from([BuilderId(2)]));
        assert_eq!(told(&reasons), ["no order"]);
    }
}
