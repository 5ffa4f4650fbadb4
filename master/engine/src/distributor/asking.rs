//! Choices that the configuration leaves to Python: `nextBuild`, `nextWorker` (or `select_next_worker`),
//! `canStartBuild`.

use muster_config::{
    argument::{self, Reference},
    snapshot::{BuilderConfig, Snapshot},
};
use muster_core::{
    BuilderId, BuildsetId,
    render::{Callable, Renderable},
};
use muster_store::buildsets::Pending;
use serde_json::{Map, Value, json};

use super::{Look, Match, queue};
use crate::{
    effects::Callables,
    run::properties::{self, Asked},
    sessions::Slot,
};

/// Whether a builder's work is chosen with Python's help.
pub(super) fn asks(snapshot: &Snapshot, builder: &BuilderConfig) -> bool {
    let own = [&builder.next_build, &builder.next_worker, &builder.can_start_build];
    own.into_iter().any(Option::is_some) || snapshot.select_next_worker.is_some()
}

impl Look<'_> {
    /// Starts as many builds of one builder as Python lets it; answers how many.
    pub(super) async fn with_python(&self, id: BuilderId) -> muster_store::Result<usize> {
        let mut started = 0;
        while !self.leaving.is_cancelled() {
            let ready = self.ready_workers().await?;
            let Some(builder) = self.builder(id) else { break };
            let candidates = self.candidates(id, &ready);
            let mut pending = queue::pending(self.engine.data(), id).await?;
            pending.retain(|request| self.engine.takes(request));
            if candidates.is_empty() || pending.is_empty() {
                break;
            }
            let Some(found) = self.ask(id, builder, pending, candidates).await? else { break };
            started += self.start(vec![found]).await?.len();
        }
        Ok(started)
    }

    async fn ask(
        &self,
        id: BuilderId,
        builder: &BuilderConfig,
        pending: Vec<Pending>,
        mut candidates: Vec<Slot>,
    ) -> muster_store::Result<Option<Match>> {
        let question = Question { look: self, id, builder, callables: Callables(self.active.host.clone()) };
        let requests = match &builder.next_build {
            Some(callable) => question.next_build(callable, pending).await?.into_iter().collect(),
            None => pending,
        };
        for pending in requests {
            while !candidates.is_empty() {
                let Some(slot) = question.next_worker(&pending, &candidates).await? else { break };
                candidates.retain(|other| other.id() != slot.id());
                if !self.locks_look_free(builder, &slot).await?
                    || !question.can_start(&pending, &slot).await?
                {
                    continue;
                }
                if let Some(reservation) = self.reserve(id, &slot) {
                    return Ok(Some(Match { pending, slot, reservation }));
                }
            }
        }
        Ok(None)
    }
}

/// What Python is asked about: one builder of one configuration.
struct Question<'a> {
    look: &'a Look<'a>,
    id: BuilderId,
    builder: &'a BuilderConfig,
    callables: Callables,
}

impl Question<'_> {
    /// The request that `nextBuild` chooses; none when it raises or chooses something else.
    async fn next_build(
        &self,
        callable: &Callable,
        pending: Vec<Pending>,
    ) -> muster_store::Result<Option<Pending>> {
        let requests = self.requests(&pending).await?;
        let chosen = self.call(callable, vec![self.builder_view(&[]), Value::Array(requests)]).await;
        let chosen = chosen.and_then(|result| Reference::from_result(&result));
        Ok(chosen.and_then(|reference| pending.into_iter().find(|request| request.id.0 == reference.id)))
    }

    /// The worker that `nextWorker` chooses, or one at random; none ends the look at this request.
    async fn next_worker(
        &self,
        pending: &Pending,
        candidates: &[Slot],
    ) -> muster_store::Result<Option<Slot>> {
        let global = &self.look.active.snapshot.select_next_worker;
        let Some(callable) = self.builder.next_worker.as_ref().or(global.as_ref()) else {
            return Ok(fastrand::choice(candidates).cloned());
        };
        let workers: Vec<Value> = candidates.iter().map(|slot| self.worker(slot)).collect();
        let args = vec![self.builder_view(candidates), Value::Array(workers), self.request(pending).await?];
        let chosen = self.call(callable, args).await.and_then(|result| Reference::from_result(&result));
        Ok(chosen.and_then(|reference| candidates.iter().find(|slot| slot.id().0 == reference.id).cloned()))
    }

    /// What `canStartBuild` says; without one, yes.
    async fn can_start(&self, pending: &Pending, slot: &Slot) -> muster_store::Result<bool> {
        let Some(callable) = &self.builder.can_start_build else { return Ok(true) };
        let candidates = std::slice::from_ref(slot);
        let args = vec![self.builder_view(candidates), self.worker(slot), self.request(pending).await?];
        let answer = self.call(callable, args).await;
        Ok(answer.is_some_and(
            |answer| matches!(&answer, Renderable::Literal(value) if crate::effects::truth(value)),
        ))
    }

    /// The answer, or none when it raised: then this builder waits for the next look.
    async fn call(&self, callable: &Callable, args: Vec<Value>) -> Option<Renderable> {
        match self.callables.call(callable, args, Map::new()).await {
            Ok(answer) => Some(answer),
            Err(reason) => {
                tracing::error!(
                    builder = self.builder.name,
                    callable = callable.handle,
                    reason,
                    "Python refused"
                );
                None
            }
        }
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

    async fn request(&self, pending: &Pending) -> muster_store::Result<Value> {
        let requests = self.requests(std::slice::from_ref(pending)).await?;
        Ok(requests.into_iter().next().unwrap_or_default())
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
