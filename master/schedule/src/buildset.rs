//! From a scheduler's wish to a buildset (`docs/compat/behaviour-3-changes-schedulers.md` 3.4).

use std::collections::{BTreeMap, BTreeSet};

use muster_config::snapshot::{CodebaseDefaults, Priority, SchedulerConfig};
use muster_core::{BuildId, BuilderId, Change, Properties, Property, render::Renderable};
use muster_data::{Data, NewBuildset, NewSourceStamp, SourceOf, resources};
use muster_store::builders;
use serde_json::{Value, json};

use crate::{
    callables::{AskError, Callables, SchedulerView, change_argument},
    reason,
};

/// The source of the properties that a scheduler gives.
const SCHEDULER: &str = "Scheduler";

/// Why a buildset could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The Python host does not answer now.
    #[error("{0}")]
    Unavailable(String),
    /// Something in the configuration gives no usable value; it won't later.
    #[error("{what}: {reason}")]
    Configuration {
        /// Which argument.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The database.
    #[error(transparent)]
    Store(muster_store::Error),
}

/// What can't be stored, among what is wrong with a configuration.
pub(crate) const BUILDSET: &str = "the buildset";

/// What the database can't hold comes from what is configured, or from a change, and won't fit later.
impl From<muster_store::Error> for ComposeError {
    fn from(error: muster_store::Error) -> ComposeError {
        match error {
            muster_store::Error::Unstorable { .. } => {
                ComposeError::Configuration { what: BUILDSET.to_owned(), reason: error.told() }
            }
            error => ComposeError::Store(error),
        }
    }
}

impl ComposeError {
    fn asking(what: &str, error: AskError) -> ComposeError {
        match error {
            AskError::Unavailable(reason) => ComposeError::Unavailable(reason),
            AskError::Failed(reason) => ComposeError::Configuration { what: what.to_owned(), reason },
        }
    }
}

/// One codebase of a buildset.
#[derive(Clone, Debug)]
pub(crate) enum Stamp<'a> {
    /// As this change left it.
    OfChange(&'a Change),
    /// Given by its contents.
    New(Box<NewSourceStamp>),
}

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft<'a> {
    pub(crate) reason: String,
    pub(crate) stamps: Vec<Stamp<'a>>,
    /// Given from outside; the scheduler's own win over them.
    pub(crate) properties: Properties,
    /// Instead of the scheduler's builders.
    pub(crate) builder_names: Option<Vec<String>>,
    pub(crate) priority: i64,
    pub(crate) parent: Option<(BuildId, String)>,
    pub(crate) waited_for: bool,
}

/// The sourcestamps of a buildset for changes: of each codebase the newest change, or its defaults.
pub(crate) fn stamps_of_changes<'a>(
    codebases: &BTreeMap<String, CodebaseDefaults>,
    changes: &'a [Change],
) -> Vec<Stamp<'a>> {
    let newest = |codebase: &str| {
        changes.iter().filter(|change| change.codebase == codebase).max_by_key(|change| change.id)
    };
    let stamp = |(codebase, defaults): (&String, &CodebaseDefaults)| match newest(codebase) {
        Some(change) => Stamp::OfChange(change),
        None => Stamp::New(Box::new(default_stamp(codebase, defaults))),
    };
    codebases.iter().map(stamp).collect()
}

/// The sourcestamps of a buildset for given ones; codebases that are not given get their defaults.
pub(crate) fn stamps_with_defaults<'a>(
    codebases: &BTreeMap<String, CodebaseDefaults>,
    given: Vec<NewSourceStamp>,
) -> Vec<Stamp<'a>> {
    let mut stamps: BTreeMap<String, NewSourceStamp> = codebases
        .iter()
        .map(|(codebase, defaults)| (codebase.clone(), default_stamp(codebase, defaults)))
        .collect();
    stamps.extend(given.into_iter().map(|stamp| (stamp.codebase.clone(), stamp)));
    stamps.into_values().map(|stamp| Stamp::New(Box::new(stamp))).collect()
}

pub(crate) fn default_stamp(codebase: &str, defaults: &CodebaseDefaults) -> NewSourceStamp {
    NewSourceStamp {
        branch: defaults.branch.clone(),
        revision: defaults.revision.clone(),
        repository: defaults.repository.clone(),
        project: defaults.project.clone(),
        codebase: codebase.to_owned(),
        patch: None,
    }
}

/// A scheduler with what it needs to make buildsets.
#[derive(Clone)]
pub(crate) struct Composer<'a> {
    pub(crate) scheduler: &'a SchedulerConfig,
    pub(crate) data: &'a Data,
    pub(crate) callables: &'a Callables,
}

impl Composer<'_> {
    /// A buildset for changes, with the sourcestamps of `codebases` where there is no change.
    pub(crate) async fn for_changes(
        &self,
        reason: String,
        codebases: &BTreeMap<String, CodebaseDefaults>,
        changes: &[Change],
    ) -> Result<NewBuildset, ComposeError> {
        let priority = self.priority_for(changes).await?;
        let stamps = stamps_of_changes(codebases, changes);
        self.compose(Draft { reason, stamps, priority, ..Draft::default() }).await
    }

    /// Fills everything that the draft leaves to the scheduler.
    pub(crate) async fn compose(&self, draft: Draft<'_>) -> Result<NewBuildset, ComposeError> {
        let sourcestamps: Vec<Value> = draft.stamps.iter().map(Stamp::to_json).collect();
        let changes: Vec<Change> = draft.stamps.iter().filter_map(Stamp::change).cloned().collect();
        let view = SchedulerView { properties: None, sourcestamps: &sourcestamps, changes: &changes };
        let properties = self.properties(&draft.properties, view).await?;
        let view = SchedulerView { properties: Some(&properties), ..view };
        let builders = self.builders(draft.builder_names, view).await?;
        Ok(NewBuildset {
            scheduler: self.scheduler.name.clone(),
            reason: draft.reason,
            sources: draft.stamps.into_iter().map(Stamp::into_source).collect(),
            properties,
            builders,
            external_idstring: None,
            parent: draft.parent,
            rebuilt_build: None,
            waited_for: draft.waited_for,
            priority: draft.priority,
        })
    }

    /// The priority where no changes are involved: a function of changes has nothing to look at then.
    pub(crate) fn fixed_priority(&self) -> i64 {
        match self.scheduler.priority {
            Priority::Fixed(priority) => priority,
            Priority::Default | Priority::Callable(_) => 0,
        }
    }

    /// The reason that the configuration gives, or the usual text.
    pub(crate) async fn reason(&self, given: Option<&Renderable>) -> Result<String, ComposeError> {
        let name = self.scheduler.name.as_str();
        let class = class_of(self.scheduler);
        let format = match given {
            Some(reason) if !reason.is_none() => self.text("reason", reason).await?,
            _ => format!("The {class} scheduler named '%(name)s' triggered this build"),
        };
        Ok(reason::fill(&format, &[("name", name), ("classname", class)]))
    }

    async fn text(&self, what: &str, renderable: &Renderable) -> Result<String, ComposeError> {
        let rendered =
            self.callables.render(std::slice::from_ref(renderable), &SchedulerView::default()).await;
        let values = rendered.map_err(|error| ComposeError::asking(what, error))?;
        Ok(values.first().map(muster_core::render::py_str).unwrap_or_default())
    }

    async fn priority_for(&self, changes: &[Change]) -> Result<i64, ComposeError> {
        let Priority::Callable(callable) = &self.scheduler.priority else {
            return Ok(self.fixed_priority());
        };
        let mut by_codebase: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for change in changes {
            by_codebase.entry(&change.codebase).or_default().push(change_argument(change));
        }
        let builder_names = json!(self.scheduler.builder_names.literal_strings().unwrap_or_default());
        let answer = self.callables.call(callable, vec![builder_names, json!(by_codebase)]).await;
        let answer = answer.map_err(|error| ComposeError::asking("priority", error))?;
        answer.as_i64().ok_or_else(|| ComposeError::Configuration {
            what: "priority".to_owned(),
            reason: format!("the function returned {answer}, not a number"),
        })
    }

    /// Given ones, over them the scheduler's, over both those of the changes; all rendered.
    async fn properties(
        &self,
        given: &Properties,
        view: SchedulerView<'_>,
    ) -> Result<Properties, ComposeError> {
        let mut plain = given.clone();
        let mut dynamic = Vec::new();
        for (name, value) in &self.scheduler.properties {
            match value.literal() {
                Some(value) => plain.set(name, value.clone(), SCHEDULER),
                None => dynamic.push((name.clone(), value.clone())),
            }
        }
        plain.set_default("scheduler", self.scheduler.name.as_str(), SCHEDULER);
        let of_changes = view.changes.iter().flat_map(|change| change.properties.iter());
        for (name, Property(value, source)) in of_changes {
            plain.set(name, value.clone(), source);
            dynamic.retain(|(other, _)| other != name);
        }
        let (names, renderables): (Vec<String>, Vec<Renderable>) = dynamic.into_iter().unzip();
        let view = SchedulerView { properties: Some(&plain), ..view };
        let rendered = self.callables.render(&renderables, &view).await;
        let values = rendered.map_err(|error| ComposeError::asking("properties", error))?;
        for (name, value) in names.into_iter().zip(values) {
            plain.set(name, value, SCHEDULER);
        }
        Ok(plain)
    }

    /// Ids of the wanted builders. A name that no builder has is left out, as in Buildbot: a configuration may name
    /// builders that another master brings.
    async fn builders(
        &self,
        given: Option<Vec<String>>,
        view: SchedulerView<'_>,
    ) -> Result<Vec<BuilderId>, ComposeError> {
        let names = match given {
            Some(names) => names,
            None => self.builder_names(&view).await?,
        };
        let wanted = names.as_slice();
        let find = |tx| async move { builders::by_names(&tx, wanted).await };
        let found = self.data.db().look("builders_of_scheduler", find).await?;
        for builder in names.iter().filter(|name| !found.contains_key(*name)) {
            tracing::debug!(builder, "a scheduler names a builder that doesn't exist");
        }
        let ids: BTreeSet<BuilderId> = found.into_values().collect();
        Ok(ids.into_iter().collect())
    }

    async fn builder_names(&self, view: &SchedulerView<'_>) -> Result<Vec<String>, ComposeError> {
        let what = "builderNames";
        let renderable = std::slice::from_ref(&self.scheduler.builder_names);
        let rendered = self.callables.render(renderable, view).await;
        let rendered = rendered.map_err(|error| ComposeError::asking(what, error))?.pop().unwrap_or_default();
        let names: Option<Vec<String>> = match &rendered {
            Value::Array(names) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
            Value::String(name) => Some(vec![name.clone()]),
            _ => None,
        };
        names.ok_or_else(|| ComposeError::Configuration {
            what: what.to_owned(),
            reason: format!("rendered to {rendered}, which is not a list of names"),
        })
    }
}

/// The bare name of a scheduler's class: part of texts, and the key of its state.
pub(crate) fn class_of(scheduler: &SchedulerConfig) -> &str {
    scheduler.class_name.rsplit('.').next().unwrap_or_default()
}

impl<'a> Stamp<'a> {
    fn change(&self) -> Option<&'a Change> {
        match self {
            Stamp::OfChange(change) => Some(change),
            Stamp::New(_) => None,
        }
    }

    fn into_source(self) -> SourceOf {
        match self {
            Stamp::OfChange(change) => SourceOf::Id(change.sourcestamp.id),
            Stamp::New(stamp) => SourceOf::New(stamp),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Stamp::OfChange(change) => resources::sourcestamp(&change.sourcestamp),
            Stamp::New(stamp) => json!({
                "branch": stamp.branch,
                "revision": stamp.revision,
                "repository": stamp.repository,
                "project": stamp.project,
                "codebase": stamp.codebase,
            }),
        }
    }
}
