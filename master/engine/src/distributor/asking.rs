//! Choices that the configuration leaves to Python: `nextBuild`, `nextWorker` (or `select_next_worker`),
//! `canStartBuild`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use muster_config::{
    argument::{self, Reference},
    snapshot::{BuilderConfig, Snapshot},
};
use muster_core::{
    BuilderId, BuildsetId, WorkerId,
    render::{Callable, Renderable},
};
use muster_store::buildsets::Pending;
use serde_json::{Map, Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{AFTER_ERROR, Look, Match, pause_after, queue};
use crate::{
    Engine,
    effects::Callables,
    reasons::From,
    run::properties::{self, Asked},
    sessions::Slot,
};

/// Whether a builder's work is chosen with Python's help.
pub(super) fn asks(snapshot: &Snapshot, builder: &BuilderConfig) -> bool {
    let own = [&builder.next_build, &builder.next_worker, &builder.can_start_build];
    own.into_iter().any(Option::is_some) || snapshot.select_next_worker.is_some()
}

/// Builders that a task looks after at this moment, and whether something has come since it began to look.
#[derive(Clone, Default)]
pub(super) struct Asking(Arc<Mutex<BTreeMap<BuilderId, bool>>>);

impl Asking {
    /// Whether a task has to be started for a builder. `false`: there is one, and it will look once more.
    fn begin(&self, builder: BuilderId) -> bool {
        match self.builders().entry(builder) {
            Entry::Vacant(vacant) => {
                vacant.insert(false);
                true
            }
            Entry::Occupied(mut again) => {
                again.insert(true);
                false
            }
        }
    }

    /// Whether the task of a builder has to look once more; if not, it looks after it no longer.
    fn looks_again(&self, builder: BuilderId) -> bool {
        let mut builders = self.builders();
        let again = builders.get_mut(&builder).is_some_and(std::mem::take);
        if !again {
            builders.remove(&builder);
        }
        again
    }

    fn builders(&self) -> MutexGuard<'_, BTreeMap<BuilderId, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a task for a builder that asks Python, or tells the one that there is to look once more.
pub(super) fn look_after(
    engine: &Engine,
    builder: BuilderId,
    asking: &Asking,
    tasks: &TaskTracker,
    leaving: &CancellationToken,
) {
    if !asking.begin(builder) {
        return;
    }
    let (engine, asking, leaving) = (engine.clone(), asking.clone(), leaving.clone());
    tasks.spawn(async move {
        loop {
            let look = Look { engine: &engine, active: engine.active(), leaving: &leaving };
            let started = tokio::select! {
                started = look.with_python(builder) => started,
                // A build that was just begun is taken up by the next start.
                () = leaving.cancelled() => return,
            };
            if let Err(error) = started {
                tracing::error!(%error, "can't look for build requests; trying again");
                let _ = tokio::time::timeout(AFTER_ERROR, leaving.cancelled()).await;
            }
            if !asking.looks_again(builder) {
                return;
            }
        }
    });
}

/// What asking came to.
enum Outcome {
    Found(Box<Match>),
    /// Nothing is built now; why, unless that was told already.
    None(Option<String>),
}

/// A request, and what Python sees of it as soon as it was read.
struct Candidate {
    pending: Pending,
    view: Option<Value>,
}

impl Look<'_> {
    /// Starts as many builds of one builder as Python lets it.
    async fn with_python(&self, id: BuilderId) -> muster_store::Result<()> {
        let mut in_vain = 0;
        while !self.leaving.is_cancelled() {
            let ready = self.ready_workers().await?;
            let Some(builder) = self.builder(id) else { break };
            if self.engine.data().collapse_questions().is_open(id) {
                // The answer wakes the distributor.
                break;
            }
            let candidates = self.candidates(id, &ready);
            let mut pending = queue::pending(self.engine.data(), id).await?;
            pending.retain(|request| self.may_build(request));
            if candidates.is_empty() || pending.is_empty() {
                break;
            }
            let asked = self.ask(id, builder, pending, candidates).await?;
            let reasons = &self.engine.0.reasons;
            let found = match asked {
                Outcome::Found(found) => {
                    reasons.unsay(Some(id), From::Choice);
                    *found
                }
                Outcome::None(reason) => {
                    if let Some(reason) = reason {
                        reasons.say(Some(id), From::Choice, reason);
                    }
                    break;
                }
            };
            in_vain = if self.start(vec![found]).await?.is_empty() { in_vain + 1 } else { 0 };
            if in_vain > 0 {
                tokio::time::sleep(pause_after(in_vain)).await;
            }
        }
        Ok(())
    }

    /// The best request that a worker may have, and this worker (`docs/compat/behaviour-2-builds.md` 2.2): workers that one
    /// request can't have are the first to be tried for the next one.
    async fn ask(
        &self,
        id: BuilderId,
        builder: &BuilderConfig,
        pending: Vec<Pending>,
        mut candidates: Vec<Slot>,
    ) -> muster_store::Result<Outcome> {
        let (free, locked) = self.with_free_locks(builder, &candidates).await?;
        if free.is_empty() {
            return Ok(Outcome::None(locked));
        }
        let callables = Callables(self.active.host.clone());
        let question = Question { look: self, id, builder, callables, has_failed: AtomicBool::new(false) };
        let mut requests = question.candidates(pending).await?;
        let mut preferred = VecDeque::new();
        let mut refused_some = false;
        while let Some(mut request) = question.next_build(&mut requests).await {
            let mut refused = VecDeque::new();
            loop {
                let slot = match preferred.pop_front() {
                    Some(slot) => slot,
                    None => match question.next_worker(&mut request, &candidates).await? {
                        Some(slot) => slot,
                        None => break,
                    },
                };
                candidates.retain(|other| other.id() != slot.id());
                if free.contains(&slot.id())
                    && question.can_start(&mut request, &slot).await?
                    && let Some(reservation) = self.reserve(id, &slot)
                {
                    return Ok(Outcome::Found(Box::new(Match {
                        pending: request.pending,
                        slot,
                        reservation,
                    })));
                }
                refused.push_back(slot);
            }
            if refused.is_empty() {
                // `nextWorker` wants none.
                return Ok(question.nothing("nextWorker chose none of the free workers"));
            }
            refused_some = true;
            preferred = refused;
        }
        Ok(question.nothing(match refused_some {
            true => "canStartBuild refuses it on the workers that are free",
            false => "nextBuild chose none of the waiting requests",
        }))
    }

    /// Those of the workers whose locks look free, and the builder's; and what is in the way of another.
    async fn with_free_locks(
        &self,
        builder: &BuilderConfig,
        candidates: &[Slot],
    ) -> muster_store::Result<(BTreeSet<WorkerId>, Option<String>)> {
        let (mut free, mut locked) = (BTreeSet::new(), None);
        for slot in candidates {
            match self.locks_in_the_way(builder, slot).await? {
                None => {
                    free.insert(slot.id());
                }
                why => locked = why,
            }
        }
        Ok((free, locked))
    }
}

/// What Python is asked about: one builder of one configuration.
struct Question<'a> {
    look: &'a Look<'a>,
    id: BuilderId,
    builder: &'a BuilderConfig,
    callables: Callables,
    /// A function has failed in this look, which was told.
    has_failed: AtomicBool,
}

impl Question<'_> {
    /// The requests in the order in which they are tried. `nextBuild` is shown all of them, oldest first.
    async fn candidates(&self, mut pending: Vec<Pending>) -> muster_store::Result<Vec<Candidate>> {
        if self.builder.next_build.is_none() {
            return Ok(pending.into_iter().map(|pending| Candidate { pending, view: None }).collect());
        }
        pending.sort_by_key(|pending| pending.id);
        let views = self.requests(&pending).await?;
        let candidates = pending.into_iter().zip(views);
        Ok(candidates.map(|(pending, view)| Candidate { pending, view: Some(view) }).collect())
    }

    /// Takes the request that is tried next: the one that `nextBuild` chooses (none when it raises or chooses something
    /// else), or the best.
    async fn next_build(&self, requests: &mut Vec<Candidate>) -> Option<Candidate> {
        if requests.is_empty() {
            return None;
        }
        let Some(callable) = &self.builder.next_build else { return Some(requests.remove(0)) };
        let views = requests.iter().map(|request| request.view.clone().unwrap_or_default()).collect();
        let chosen =
            self.call("nextBuild", callable, vec![self.builder_view(&[]), Value::Array(views)]).await?;
        let reference = Reference::from_result(&chosen)?;
        let position = requests.iter().position(|request| request.pending.id.0 == reference.id)?;
        Some(requests.remove(position))
    }

    /// The worker that `nextWorker` chooses, or one at random; none ends the look at this request.
    async fn next_worker(
        &self,
        request: &mut Candidate,
        candidates: &[Slot],
    ) -> muster_store::Result<Option<Slot>> {
        let global = &self.look.active.snapshot.select_next_worker;
        let Some(callable) = self.builder.next_worker.as_ref().or(global.as_ref()) else {
            return Ok(fastrand::choice(candidates).cloned());
        };
        if candidates.is_empty() {
            return Ok(None);
        }
        let workers: Vec<Value> = candidates.iter().map(|slot| self.worker(slot)).collect();
        let args = vec![self.builder_view(candidates), Value::Array(workers), self.request(request).await?];
        let chosen =
            self.call("nextWorker", callable, args).await.and_then(|result| Reference::from_result(&result));
        Ok(chosen.and_then(|reference| candidates.iter().find(|slot| slot.id().0 == reference.id).cloned()))
    }

    /// What `canStartBuild` says; without one, yes.
    async fn can_start(&self, request: &mut Candidate, slot: &Slot) -> muster_store::Result<bool> {
        let Some(callable) = &self.builder.can_start_build else { return Ok(true) };
        let candidates = std::slice::from_ref(slot);
        let args = vec![self.builder_view(candidates), self.worker(slot), self.request(request).await?];
        let answer = self.call("canStartBuild", callable, args).await;
        Ok(answer.is_some_and(
            |answer| matches!(&answer, Renderable::Literal(value) if crate::effects::truth(value)),
        ))
    }

    /// The answer, or none when it raised: then this builder waits for the next look.
    async fn call(&self, function: &str, callable: &Callable, args: Vec<Value>) -> Option<Renderable> {
        let reasons = &self.look.engine.0.reasons;
        let answer = self.callables.call(callable, args, Map::new());
        match reasons.while_asking(Some(self.id), From::Choice, function, answer).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.has_failed.store(true, Ordering::Relaxed);
                reasons.failed(
                    Some(self.id),
                    From::Choice,
                    function,
                    &error,
                    "nothing is built here until it answers",
                );
                None
            }
        }
    }

    fn nothing(&self, why: &str) -> Outcome {
        Outcome::None((!self.has_failed.load(Ordering::Relaxed)).then(|| why.to_owned()))
    }

    fn worker(&self, slot: &Slot) -> Value {
        let properties = properties::of_worker(&self.look.active, slot.name());
        let info: Map<String, Value> = slot.info().into_iter().collect();
        argument::worker_for_builder(slot.id().0, slot.name(), &properties, &info)
    }

    fn builder_view(&self, candidates: &[Slot]) -> Value {
        let workers = candidates.iter().map(|slot| self.worker(slot)).collect();
        argument::builder(self.id.0, &self.builder.name, workers)
    }

    /// What Python sees of a request; it is read once.
    async fn request(&self, request: &mut Candidate) -> muster_store::Result<Value> {
        if let Some(view) = &request.view {
            return Ok(view.clone());
        }
        let views = self.requests(std::slice::from_ref(&request.pending)).await?;
        Ok(request.view.insert(views.into_iter().next().unwrap_or_default()).clone())
    }

    async fn requests(&self, pending: &[Pending]) -> muster_store::Result<Vec<Value>> {
        let sets: Vec<BuildsetId> = pending.iter().map(|request| request.buildset).collect();
        let asked = Asked::load(self.look.engine.data().db(), &sets).await?;
        Ok(pending.iter().zip(asked).map(|(pending, asked)| self.view(pending, &asked)).collect())
    }

    fn view(&self, pending: &Pending, asked: &Asked) -> Value {
        let fields = json!({
            "id": pending.id, "buildsetid": pending.buildset, "builder": self.builder.name,
            "priority": pending.priority, "submitted_at": pending.submitted_at, "reason": asked.reason,
            "properties": asked.properties,
            "sourcestamps": asked.sources.iter().map(muster_data::resources::sourcestamp).collect::<Vec<_>>(),
        });
        let Value::Object(fields) = fields else { return fields };
        argument::request(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_while_python_thinks_is_looked_at_afterwards() {
        let (asking, builder) = (Asking::default(), BuilderId(1));
        assert!(asking.begin(builder));
        assert!(!asking.begin(builder) && !asking.begin(builder), "there is a task");
        assert!(asking.begin(BuilderId(2)), "but not for others");
        assert!(asking.looks_again(builder), "something has come");
        assert!(!asking.looks_again(builder), "and nothing since");
        assert!(asking.begin(builder), "it was not looked after any more");
    }
}
