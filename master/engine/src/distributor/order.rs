//! In which order builders get workers: `prioritizeBuilders`, or the usual one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use muster_config::argument::{self, BuilderFacts, Reference};
use muster_core::{
    BuilderId, Timestamp,
    render::{Callable, Renderable},
};
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout};

use super::{Look, queue::Queue};
use crate::{effects::Callables, reasons::From, sessions::Slot};

/// How long the function may take: nothing starts on this master meanwhile, since nobody knows what should be first.
const LIMIT: Duration = Duration::from_secs(30);
/// How long it is not asked again after it took longer.
const REST: Duration = Duration::from_secs(300);

/// What is remembered of the function between two looks.
#[derive(Default)]
pub(super) struct Ordering {
    /// It has not answered in time; until then the usual order holds.
    rests_until: Option<Instant>,
    /// When a request of a builder was completed last.
    completed: BTreeMap<BuilderId, Option<Timestamp>>,
}

impl Look<'_> {
    /// The builders that have something to do and are able to, in the order in which they are looked at.
    pub(super) async fn order(
        &self,
        queue: &mut Queue,
        ordering: &mut Ordering,
        ready: &[Slot],
    ) -> muster_store::Result<Vec<BuilderId>> {
        let name = |id| self.builder(id).map(|builder| builder.name.as_str());
        let mut usual = queue.waiting().in_order(|builder| self.is_able(builder, ready), name);
        // Which of their requests are left, `collapseRequests` is just being asked.
        usual.retain(|builder| !self.engine.data().collapse_questions().is_open(*builder));
        let reasons = &self.engine.0.reasons;
        let Some(callable) = &self.active.snapshot.prioritize_builders else {
            reasons.unsay(None, From::Order);
            return Ok(usual);
        };
        for builder in queue.take_completed() {
            ordering.completed.remove(&builder);
        }
        if usual.is_empty() || ordering.rests_until.is_some_and(|until| Instant::now() < until) {
            return Ok(usual);
        }
        let unknown: Vec<BuilderId> =
            usual.iter().copied().filter(|builder| !ordering.completed.contains_key(builder)).collect();
        if !unknown.is_empty() {
            ordering.completed.extend(self.engine.data().newest_completions(&unknown).await?);
        }
        let views = usual.iter().map(|id| self.facts(*id, queue, ordering)).collect();
        match self.ask_for_order(callable, views, ordering).await {
            Ok(order) => {
                reasons.unsay(None, From::Order);
                // Those that it leaves out wait for the next look, as in Buildbot.
                let able: BTreeSet<BuilderId> = usual.into_iter().collect();
                let mut seen = BTreeSet::new();
                Ok(order.into_iter().filter(|id| able.contains(id) && seen.insert(*id)).collect())
            }
            Err(error) => {
                reasons.failed(None, From::Order, "prioritizeBuilders", &error, "the usual order holds");
                Ok(usual)
            }
        }
    }

    fn facts(&self, id: BuilderId, queue: &Queue, ordering: &Ordering) -> Value {
        let waiting = queue.waiting();
        argument::builder_with_facts(&BuilderFacts {
            id: id.0,
            name: self.builder(id).map(|builder| builder.name.clone()).unwrap_or_default(),
            building: self.engine.0.runs.reservations.builds_of(id),
            oldest_request_time: waiting.oldest(id).map(|at| at.0),
            highest_priority: waiting.of(id).next().map(|best| best.priority),
            newest_complete_time: ordering.completed.get(&id).copied().flatten().map(|at| at.0),
        })
    }

    /// What the function answers.
    async fn ask_for_order(
        &self,
        callable: &Callable,
        builders: Vec<Value>,
        ordering: &mut Ordering,
    ) -> Result<Vec<BuilderId>, String> {
        let callables = Callables(self.active.host.clone());
        let args = vec![argument::master(&self.active.snapshot.buildbot_url), Value::Array(builders)];
        let call = timeout(LIMIT, callables.call(callable, args, Map::new()));
        let asking = self.engine.0.reasons.while_asking(None, From::Order, "prioritizeBuilders", call);
        let answered = tokio::select! {
            answered = asking => answered,
            () = self.leaving.cancelled() => return Ok(Vec::new()),
        };
        let answered = answered.map_err(|_| {
            ordering.rests_until = Some(Instant::now() + REST);
            format!("no answer within {} s", LIMIT.as_secs())
        })?;
        builders_of(&answered?)
    }
}

fn builders_of(answer: &Renderable) -> Result<Vec<BuilderId>, String> {
    let items = answer.literal().and_then(Value::as_array);
    let builder = |item: &Value| Reference::from_value(item).filter(|found| found.kind == "builder");
    let builders: Option<Vec<BuilderId>> = items
        .and_then(|items| items.iter().map(|item| builder(item).map(|found| BuilderId(found.id))).collect());
    builders.ok_or_else(|| "it returned something else than a list of builders".to_owned())
}
