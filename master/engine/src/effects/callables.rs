//! The one place that asks the Python host.

use std::time::Duration;

use muster_config::{Host, HostError, argument, argument::BuildView};
use muster_core::{
    Properties, Results,
    render::{Callable, Renderable, Request},
};
use serde_json::{Map, Value, json};

use super::facts::Facts;

/// How long a callable may think. Its step waits for it, nothing else; then the step is an exception.
const CALL_LIMIT: Duration = Duration::from_secs(300);
/// The wait before a host with too many questions is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// The callables of the configuration in force, if it has any.
#[derive(Clone)]
pub(crate) struct Callables(pub(crate) Option<Host>);

/// What a callable about a step may want to know.
pub(crate) struct StepQuestion<'a> {
    pub(crate) name: &'a str,
    pub(crate) properties: &'a Properties,
    pub(crate) facts: &'a Facts,
}

/// What a function or a provider of secrets is asked, with everything that it is told.
pub(crate) enum Question {
    Secret(String),
    Call { callable: Callable, args: Vec<Value>, kwargs: Map<String, Value> },
}

impl Question {
    /// What a rendering needs.
    pub(crate) fn of(request: &Request, properties: &Properties, facts: &Facts) -> Question {
        match request {
            Request::Secret { name } => Question::Secret(name.clone()),
            Request::Renderer { callable, args, kwargs } => {
                let mut all = vec![argument::properties(&view(properties, facts))];
                all.extend_from_slice(args);
                Question::Call { callable: callable.clone(), args: all, kwargs: kwargs.clone() }
            }
            Request::Function { callable, args, kwargs } => {
                Question::Call { callable: callable.clone(), args: args.clone(), kwargs: kwargs.clone() }
            }
        }
    }

    /// `doStepIf` (without results) or `hideStepIf` (with them).
    pub(crate) fn about_step(
        callable: &Callable,
        results: Option<Results>,
        about: &StepQuestion<'_>,
    ) -> Question {
        let view = view(about.properties, about.facts);
        let step = argument::step(&view, about.name, results.map(Results::code));
        let args = match results {
            Some(results) => vec![Value::from(results.code()), step],
            None => vec![step],
        };
        Question::plain(callable.clone(), args)
    }

    /// A function that gets plain values.
    pub(crate) fn plain(callable: Callable, args: Vec<Value>) -> Question {
        Question::Call { callable, args, kwargs: Map::new() }
    }

    /// The answer of a function that gives a plain value.
    pub(crate) fn plain_answer(value: Renderable) -> Result<Value, String> {
        match value {
            Renderable::Literal(value) => Ok(value),
            other => Err(format!("a plain value was expected, not {other:?}")),
        }
    }
}

impl Callables {
    /// The answer to a question.
    pub(crate) async fn answer(&self, question: Question) -> Result<Renderable, String> {
        match question {
            Question::Secret(name) => self.secret(&name).await,
            Question::Call { callable, args, kwargs } => self.call(&callable, args, kwargs).await,
        }
    }

    /// The answer of `do_build_if`.
    pub(crate) async fn ask_about_build(
        &self,
        callable: &Callable,
        properties: &Properties,
        facts: &Facts,
    ) -> Result<Value, String> {
        let about = vec![argument::build(&view(properties, facts))];
        Question::plain_answer(self.call(callable, about, Map::new()).await?)
    }

    /// Calls a function with arguments made by [`argument`].
    pub(crate) async fn call(
        &self,
        callable: &Callable,
        args: Vec<Value>,
        kwargs: Map<String, Value>,
    ) -> Result<Renderable, String> {
        let host = self.host()?;
        loop {
            match host.call(callable, args.clone(), kwargs.clone(), CALL_LIMIT).await {
                Ok(value) => return Ok(value),
                Err(HostError::Busy) => tokio::time::sleep(ASK_AGAIN).await,
                Err(HostError::Call(failure)) => return Err(format!("{failure}\n{}", failure.traceback)),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    async fn secret(&self, name: &str) -> Result<Renderable, String> {
        self.host()?.secret(name, CALL_LIMIT).await.map_err(|error| error.to_string())
    }

    pub(crate) fn host(&self) -> Result<&Host, String> {
        self.0.as_ref().ok_or_else(|| "the configuration's Python process is not running".to_owned())
    }
}

/// What a function of the configuration sees of a build.
pub(crate) fn view(properties: &Properties, facts: &Facts) -> BuildView {
    let source = |source: &muster_core::SourceStamp| {
        json!({
            "codebase": source.codebase, "branch": source.branch, "revision": source.revision,
            "repository": source.repository, "project": source.project,
        })
    };
    BuildView {
        properties: properties.clone(),
        sourcestamps: facts.sources.iter().map(source).collect(),
        worker: facts.worker_info.clone().into_iter().collect(),
        workername: Some(facts.worker.clone()),
        builder: Some(facts.plan.builder.clone()),
        number: Some(facts.number),
        url: Some(facts.url()),
        buildbot_url: facts.snapshot.buildbot_url.clone(),
        ..BuildView::default()
    }
}
