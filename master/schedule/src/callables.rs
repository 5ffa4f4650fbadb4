//! What only Python can answer: user's functions, renderers, secrets.

use std::time::Duration;

use muster_config::{
    Host, HostError,
    argument::{self, BuildView},
};
use muster_core::{
    Change, Properties,
    render::{Answer, Callable, RenderContext, RenderError, Renderable, Request, is_true, render_all},
};
use muster_data::resources;
use serde_json::{Map, Value};

use crate::change_filter::{ChangeFilter, Question};

/// How often answers may lead to further questions in one rendering; beyond it rendering fails. A renderer that returns
/// a renderer needs one more.
const MAX_ASKED: usize = 32;
/// How long one function may take. A scheduler waits for it with all its later changes; a function that takes longer has
/// failed.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody is there to answer now; asking again later may help.
    #[error("the Python host does not answer: {0}")]
    Unavailable(String),
    /// The answer is an error, and will be again.
    #[error("{0}")]
    Failed(String),
}

/// Asks the host, where there is one.
#[derive(Clone, Default)]
pub(crate) struct Callables(Option<Host>);

impl Callables {
    pub(crate) fn new(host: Option<Host>) -> Callables {
        Callables(host)
    }

    /// What the function returns.
    pub(crate) async fn call(&self, callable: &Callable, arguments: Vec<Value>) -> Result<Value, AskError> {
        let returned = self.call_host(callable, arguments, Map::new()).await?;
        let values = self.render(&[returned], &SchedulerView::default()).await?;
        Ok(values.into_iter().next().unwrap_or_default())
    }

    /// Whether the function says yes.
    pub(crate) async fn is_true(&self, callable: &Callable, arguments: Vec<Value>) -> Result<bool, AskError> {
        self.call(callable, arguments).await.map(|answer| is_true(&answer))
    }

    /// Whether the function says yes to a change.
    pub(crate) async fn is_true_of(&self, callable: &Callable, change: &Change) -> Result<bool, AskError> {
        self.is_true(callable, vec![change_argument(change)]).await
    }

    /// Whether the filter lets the change pass.
    pub(crate) async fn passes(&self, filter: &ChangeFilter, change: &Change) -> Result<bool, AskError> {
        if !filter.may_pass(change).map_err(|error| AskError::Failed(error.to_string()))? {
            return Ok(false);
        }
        for question in filter.questions(change) {
            let yes = match question {
                Question::OfValue(callable, value) => self.is_true(callable, vec![value]).await?,
                Question::OfChange(callable) => self.is_true_of(callable, change).await?,
            };
            if !yes {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Values of renderables, as a scheduler sees the world: there is no build yet.
    pub(crate) async fn render(
        &self,
        renderables: &[Renderable],
        view: &SchedulerView<'_>,
    ) -> Result<Vec<Value>, AskError> {
        let mut context = Answered { view, answers: Vec::new() };
        for _ in 0..MAX_ASKED {
            let requests = match render_all(renderables, &context) {
                Ok(values) => return Ok(values),
                Err(RenderError::Failed(reason)) => return Err(AskError::Failed(reason)),
                Err(RenderError::Pending(requests)) => requests,
            };
            for request in requests {
                let answer = self.answer(&request, view).await?;
                context.answers.push((request, answer));
            }
        }
        Err(AskError::Failed(format!("rendering asks for more than {MAX_ASKED} answers in a row")))
    }

    async fn answer(&self, request: &Request, view: &SchedulerView<'_>) -> Result<Answer, AskError> {
        let answered = match request {
            Request::Secret { name } => self.host()?.secret(name, CALL_LIMIT).await.map_err(AskError::from),
            Request::Renderer { callable, args, kwargs } => {
                let arguments = [vec![view.argument()], args.clone()].concat();
                self.call_host(callable, arguments, kwargs.clone()).await
            }
            Request::Function { callable, args, kwargs } => {
                self.call_host(callable, args.clone(), kwargs.clone()).await
            }
        };
        match answered {
            Ok(value) => Ok(Answer::Value(value)),
            Err(AskError::Failed(reason)) => Ok(Answer::Failed(reason)),
            Err(unavailable) => Err(unavailable),
        }
    }

    async fn call_host(
        &self,
        callable: &Callable,
        arguments: Vec<Value>,
        keywords: Map<String, Value>,
    ) -> Result<Renderable, AskError> {
        Ok(self.host()?.call(callable, arguments, keywords, CALL_LIMIT).await?)
    }

    fn host(&self) -> Result<&Host, AskError> {
        self.0
            .as_ref()
            .ok_or_else(|| AskError::Unavailable("nobody answers Python functions here".to_owned()))
    }
}

impl From<HostError> for AskError {
    fn from(error: HostError) -> AskError {
        match error {
            HostError::Busy | HostError::Stopped | HostError::Broken { .. } => {
                AskError::Unavailable(error.to_string())
            }
            other => AskError::Failed(other.to_string()),
        }
    }
}

/// A change as functions get it.
pub(crate) fn change_argument(change: &Change) -> Value {
    let Value::Object(mut fields) = resources::change(change) else {
        unreachable!("a resource is an object");
    };
    fields.insert("when".to_owned(), change.when.0.into());
    argument::change(fields)
}

/// What a scheduler's renderables may look at.
#[derive(Clone, Copy, Default)]
pub(crate) struct SchedulerView<'a> {
    pub(crate) properties: Option<&'a Properties>,
    /// Sourcestamps of the buildset, in REST's shape.
    pub(crate) sourcestamps: &'a [Value],
    /// Changes that the buildset is made for.
    pub(crate) changes: &'a [Change],
}

impl SchedulerView<'_> {
    /// The first argument of renderers.
    fn argument(&self) -> Value {
        argument::buildset_properties(&BuildView {
            properties: self.properties.cloned().unwrap_or_default(),
            sourcestamps: self.sourcestamps.to_vec(),
            changes: self.changes.iter().map(change_argument).collect(),
            ..BuildView::default()
        })
    }
}

/// A view together with the answers gathered so far.
struct Answered<'a> {
    view: &'a SchedulerView<'a>,
    answers: Vec<(Request, Answer)>,
}

impl RenderContext for Answered<'_> {
    fn property(&self, name: &str) -> Option<&Value> {
        self.view.properties.and_then(|properties| properties.get(name))
    }

    fn source_stamp(&self, codebase: &str, attribute: &str) -> Option<Value> {
        let stamp = self.view.sourcestamps.iter().find(|stamp| stamp["codebase"] == codebase)?;
        stamp.get(attribute).cloned()
    }

    fn worker_info(&self, _key: &str) -> Option<Value> {
        None
    }

    fn build_url(&self) -> Option<String> {
        None
    }

    fn answer(&self, request: &Request) -> Option<Answer> {
        self.answers.iter().find(|(asked, _)| asked == request).map(|(_, answer)| answer.clone())
    }
}
