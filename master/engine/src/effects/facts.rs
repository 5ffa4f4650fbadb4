//! What is known about a build when it starts and doesn't change: the world its renderables see.

use std::sync::Arc;

use muster_config::snapshot::Snapshot;
use muster_core::{
    BuilderId, Properties, RequestId, SourceStamp,
    render::{Answer, RenderContext, Renderable, Request, is_true, render},
};
use muster_session::WorkerInfo;
use serde_json::{Value, json};

use crate::plan::Plan;

/// A build's unchanging facts.
pub(crate) struct Facts {
    pub(crate) number: i64,
    pub(crate) builder_id: muster_core::BuilderId,
    pub(crate) plan: Plan,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) worker: String,
    pub(crate) worker_info: WorkerInfo,
    pub(crate) sources: Vec<SourceStamp>,
}

impl Facts {
    /// The sourcestamp of a codebase.
    pub(crate) fn source(&self, codebase: &str) -> Option<&SourceStamp> {
        self.sources.iter().find(|source| source.codebase == codebase)
    }

    /// The address of the build's page.
    pub(crate) fn url(&self) -> String {
        self.build_url(self.builder_id, self.number)
    }

    /// The address of a build's page.
    pub(crate) fn build_url(&self, builder: BuilderId, number: i64) -> String {
        format!("{}#/builders/{builder}/builds/{number}", self.snapshot.buildbot_url)
    }

    /// The address of a request's page.
    pub(crate) fn request_url(&self, request: RequestId) -> String {
        format!("{}#/buildrequests/{request}", self.snapshot.buildbot_url)
    }
}

/// One rendering: the facts, the properties of the moment, and what was answered so far.
pub(crate) struct View<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) properties: &'a Properties,
    pub(crate) answers: &'a Answers,
}

/// What a step has been answered. They are few, and a request is its own key.
#[derive(Default)]
pub(crate) struct Answers(Vec<(Request, Answer)>);

impl Answers {
    pub(crate) fn add(&mut self, request: Request, answer: Answer) {
        self.0.push((request, answer));
    }

    fn of(&self, request: &Request) -> Option<&Answer> {
        self.0.iter().find(|(known, _)| known == request).map(|(_, answer)| answer)
    }
}

impl RenderContext for View<'_> {
    fn property(&self, name: &str) -> Option<&Value> {
        self.properties.get(name)
    }

    fn source_stamp(&self, codebase: &str, attribute: &str) -> Option<Value> {
        let source = self.facts.source(codebase)?;
        let patch = source.patch.as_ref();
        Some(match attribute {
            "branch" => json!(source.branch),
            "revision" => json!(source.revision),
            "repository" => json!(source.repository),
            "project" => json!(source.project),
            "codebase" => json!(source.codebase),
            "patch_level" => json!(patch?.level),
            "patch_body" => json!(String::from_utf8_lossy(&patch?.body)),
            "patch_subdir" => json!(patch?.subdir),
            "patch_author" => json!(patch?.author),
            "patch_comment" => json!(patch?.comment),
            _ => return None,
        })
    }

    fn worker_info(&self, key: &str) -> Option<Value> {
        self.facts.worker_info.get(key).cloned()
    }

    fn build_url(&self) -> Option<String> {
        Some(self.facts.url())
    }

    fn answer(&self, request: &Request) -> Option<Answer> {
        self.answers.of(request).cloned()
    }
}

/// Whether a renderable that needs nobody's answer is true for a build.
pub(crate) fn render_plainly(
    renderable: &Renderable,
    properties: &Properties,
    facts: &Facts,
) -> Result<bool, String> {
    let view = View { facts, properties, answers: &Answers::default() };
    render(renderable, &view).map(|value| is_true(&value)).map_err(|error| error.to_string())
}

/// Properties alone: before there is a build.
pub(crate) struct Standalone<'a>(pub(crate) &'a Properties);

impl RenderContext for Standalone<'_> {
    fn property(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}
