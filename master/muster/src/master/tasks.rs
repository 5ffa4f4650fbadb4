//! The task tree: the one place that spawns what outlives a call.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long tasks may take to end after they were told to; those that are left then are named and dropped. The engine
/// writes down its runs meanwhile, which takes one commit each.
pub const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// A group of tasks that end together. Each runs until it is told to stop: one that fails, or ends before, fails the
/// group. Clones are the same group.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Inner>);

#[derive(Default)]
struct Inner {
    tracker: TaskTracker,
    stop: CancellationToken,
    failed: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: BTreeMap<&'static str, usize>,
    /// The first one's; later ones are mostly its consequences, and in the log.
    failure: Option<anyhow::Error>,
}

impl Tasks {
    /// Spawns the task that `start` makes. It gets the token that tells it to stop.
    pub fn spawn<F>(&self, name: &'static str, start: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.spawn_on(&Handle::current(), name, start);
    }

    /// The same on another runtime.
    pub fn spawn_on<F>(
        &self,
        runtime: &Handle,
        name: &'static str,
        start: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let work = start(self.0.stop.clone());
        let tasks = self.clone();
        *tasks.state().running.entry(name).or_default() += 1;
        let running = async move {
            let outcome = AssertUnwindSafe(work).catch_unwind().await;
            tasks.ended(
                name,
                outcome.unwrap_or_else(|_| Err(anyhow!("an internal error, see above in the log"))),
            );
        };
        self.0.tracker.spawn_on(running, runtime);
    }

    /// For parts that bring tasks of their own: they run on this tracker, until this token is cancelled.
    pub fn lend(&self) -> (&TaskTracker, CancellationToken) {
        (&self.0.tracker, self.0.stop.clone())
    }

    fn ended(&self, name: &'static str, outcome: Result<()>) {
        let outcome = match outcome {
            Ok(()) if !self.0.stop.is_cancelled() => Err(anyhow!("it ended though nobody told it to")),
            outcome => outcome,
        };
        let mut state = self.state();
        if let Some(left) = state.running.get_mut(name) {
            *left -= 1;
        }
        state.running.retain(|_, left| *left > 0);
        if let Err(error) = outcome.with_context(|| format!("{name} failed")) {
            tracing::error!("{error:#}");
            state.failure.get_or_insert(error);
            self.0.failed.cancel();
        }
    }

    /// Waits until a task failed.
    pub async fn failed(&self) {
        self.0.failed.cancelled().await;
    }

    /// Whether a task failed.
    pub fn has_failed(&self) -> bool {
        self.0.failed.is_cancelled()
    }

    /// The error of the first task that failed; once.
    pub fn failure(&self) -> Option<anyhow::Error> {
        self.state().failure.take()
    }

    /// Tells all tasks to stop and waits for them, but not for ever.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tracker.close();
        if tokio::time::timeout(STOP_PATIENCE, self.0.tracker.wait()).await.is_err() {
            let left = self.state().running.keys().copied().collect::<Vec<_>>().join(", ");
            tracing::warn!("did not stop within {} s and is left alone: {left}", STOP_PATIENCE.as_secs());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_group_stops_when_it_is_told_to() {
        let tasks = Tasks::default();
        tasks.spawn("sleeper", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        tasks.stop().await;
        assert!(!tasks.has_failed());
    }

    async fn fails(end: fn() -> Result<()>, said: &str) {
        let tasks = Tasks::default();
        tasks.spawn("part", |_| async move { end() });
        tasks.failed().await;
        let failure = format!("{:#}", tasks.failure().unwrap());
        assert!(failure.starts_with("part failed: ") && failure.contains(said), "{failure}");
    }

    #[tokio::test]
    async fn failures_ends_and_panics_fail_the_group_under_the_tasks_name() {
        fails(|| Err(anyhow!("refused")), "refused").await;
        fails(|| Ok(()), "nobody told it to").await;
        fails(|| panic!("a test's own"), "internal error").await;
    }
}
