//! Asks `collapseRequests` where it is a function.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use muster_config::{
    argument,
    snapshot::{BuilderConfig, CollapseSetting},
};
use muster_core::{
    BuilderId, RequestId,
    render::{Callable, Renderable},
};
use muster_data::{CollapseQuestion, Data};
use serde_json::{Map, Value};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Active, Engine,
    active::collapse_setting,
    effects::Callables,
    reasons::{From, Reasons},
};

const FUNCTION: &str = "collapseRequests";
const CONSEQUENCE: &str = "the requests are kept apart";
/// How long one answer may take: nothing of its builder begins on this master meanwhile.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a builder's function is not asked again after it took longer.
const REST: Duration = Duration::from_secs(300);

/// Answers the questions of this master until `stop`. A builder's are asked one after the other, those of others meanwhile.
pub async fn answer_collapses(
    data: Data,
    active: watch::Receiver<Arc<Active>>,
    engine: Option<Engine>,
    stop: CancellationToken,
) {
    let questions = data.collapse_questions().clone();
    let mut changes = questions.changes();
    let mut turns: BTreeMap<BuilderId, Arc<tokio::sync::Mutex<()>>> = BTreeMap::new();
    let tasks = TaskTracker::new();
    let asker = Asker { data, active, engine, alone: Arc::default(), resting: Arc::default() };
    while !stop.is_cancelled() {
        changes.mark_unchanged();
        turns.retain(|builder, _| questions.is_open(*builder));
        while let Some(question) = questions.take() {
            let turn = turns.entry(question.builder).or_default().clone().lock_owned();
            let (asker, questions, stop) = (asker.clone(), questions.clone(), stop.clone());
            tasks.spawn(async move {
                let answering = async {
                    let _turn = turn.await;
                    asker.answer(&question).await;
                };
                tokio::select! {
                    () = answering => {}
                    () = stop.cancelled() => {}
                }
                questions.done(question.builder);
            });
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { break },
            () = stop.cancelled() => {}
        }
    }
    tasks.close();
    tasks.wait().await;
}

#[derive(Clone)]
struct Asker {
    data: Data,
    active: watch::Receiver<Arc<Active>>,
    engine: Option<Engine>,
    /// What a master without an engine has to say goes into its log only.
    alone: Arc<Reasons>,
    /// Builders whose function has not answered in time, and until when it isn't asked.
    resting: Arc<Mutex<BTreeMap<BuilderId, Instant>>>,
}

impl Asker {
    async fn answer(&self, question: &CollapseQuestion) {
        let active = self.active.borrow().clone();
        let Some(builder) = active.builder(question.builder) else { return };
        let CollapseSetting::Callable(callable) = collapse_setting(&active.snapshot, builder) else { return };
        let reasons = self.engine.as_ref().map_or(&*self.alone, |engine| &engine.0.reasons);
        if self.rests(question.builder) {
            return;
        }
        match self.ask(&active, builder, callable, question, reasons).await {
            Ok(()) => reasons.unsay(Some(question.builder), From::Collapse),
            Err(error) => {
                reasons.failed(Some(question.builder), From::Collapse, FUNCTION, &error, CONSEQUENCE);
            }
        }
    }

    async fn ask(
        &self,
        active: &Active,
        builder: &BuilderConfig,
        callable: &Callable,
        question: &CollapseQuestion,
        reasons: &Reasons,
    ) -> Result<(), String> {
        let views = self.data.collapse_views(question).await.map_err(|error| error.to_string())?;
        let Some(views) = views else { return Ok(()) };
        let callables = Callables(active.host.clone());
        let mut collapsed: Vec<RequestId> = Vec::new();
        for (old, view) in views.older {
            let args = vec![
                argument::master_with(&active.snapshot.buildbot_url, &views.resources),
                argument::builder(question.builder.0, &builder.name, Vec::new()),
                argument::resource(views.new.clone()),
                argument::resource(view),
            ];
            let call = timeout(LIMIT, callables.call(callable, args, Map::new()));
            let answer = reasons.while_asking(Some(question.builder), From::Collapse, FUNCTION, call).await;
            let answer = answer.map_err(|_| self.rest(question.builder))??;
            if matches!(answer, Renderable::Literal(Value::Bool(true))) {
                collapsed.push(old);
            }
        }
        if !collapsed.is_empty() {
            self.data.collapse(&collapsed).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn rests(&self, builder: BuilderId) -> bool {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.retain(|_, until| Instant::now() < *until);
        resting.contains_key(&builder)
    }

    fn rest(&self, builder: BuilderId) -> String {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.insert(builder, Instant::now() + REST);
        format!("no answer within {} s", LIMIT.as_secs())
    }
}
