//! `Trigger` (`docs/compat/behaviour-5-steps.md` 5.4): builds that this build asks for.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use muster_core::{Properties, RequestId, Results, SourceStamp};
use muster_data::{AddedBuildset, NewPatch, Trigger, TriggeredBuild, WantedSource};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{
    arguments::{Argument, Dictionary, Flag, Misfit, Rendered, Texts},
    kind::StepKind,
};
use crate::effects::{OwnSummary, StepContext, StepEnd};

/// The source of the properties that the step gives.
const SOURCE: &str = "Trigger";
/// How triggered builds are related to this one unless the configuration says something.
const RELATIONSHIP: &str = "Triggered from";
/// Properties by which a build would be shown as another builder's.
const VIRTUAL_BUILDER: &str = "virtual_builder_";
/// What the step says when it was stopped.
const INTERRUPTED: &str = "interrupted";

/// A version of the sources, as a configuration gives it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenSource {
    #[serde(default)]
    codebase: String,
    #[serde(default, deserialize_with = "given")]
    branch: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    revision: Option<Option<String>>,
    repository: Option<String>,
    project: Option<String>,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// What was asked of one scheduler.
struct Asked {
    scheduler: String,
    /// Its results don't count.
    unimportant: bool,
    added: AddedBuildset,
}

impl Asked {
    fn requests(&self) -> impl Iterator<Item = RequestId> {
        self.added.requests.iter().map(|(_, request)| *request)
    }
}

/// `Trigger`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TriggerStep {
    scheduler_names: Rendered<Texts>,
    unimportant_scheduler_names: Rendered<Texts>,
    source_stamps: Rendered<GivenSources>,
    update_source_stamp: Rendered<Flag<true>>,
    always_use_latest: Rendered<Flag<false>>,
    wait_for_finish: Rendered<Flag<false>>,
    #[serde(rename = "set_properties")]
    set_properties: Rendered<GivenProperties>,
    #[serde(rename = "parent_relationship")]
    parent_relationship: Rendered<Option<String>>,
}

/// Versions of the sources, by codebases.
#[derive(Default)]
struct GivenSources(BTreeMap<String, WantedSource>);

impl Argument for GivenSources {
    fn read(value: Value) -> Result<GivenSources, Misfit> {
        if value.is_null() {
            return Ok(GivenSources::default());
        }
        let given: Vec<GivenSource> = serde_json::from_value(value.clone())
            .map_err(|_| Misfit::not("a list of dictionaries", &value))?;
        let mut sources = BTreeMap::new();
        for GivenSource { codebase, branch, revision, repository, project } in given {
            let source = WantedSource {
                codebase: codebase.clone(),
                branch,
                revision,
                repository,
                project,
                patch: None,
            };
            if sources.insert(codebase.clone(), source).is_some() {
                return Err(Misfit::because(format!("it has the codebase '{codebase}' more than once")));
            }
        }
        Ok(GivenSources(sources))
    }
}

/// Properties for the triggered builds.
struct GivenProperties(Map<String, Value>);

impl Argument for GivenProperties {
    fn read(value: Value) -> Result<GivenProperties, Misfit> {
        let Dictionary(given) = Dictionary::read(value)?;
        match given.keys().find(|name| name.starts_with(VIRTUAL_BUILDER)) {
            Some(name) => {
                Err(Misfit::because(format!("it has '{name}': Muster has no virtual builders yet")))
            }
            None => Ok(GivenProperties(given)),
        }
    }
}

impl StepKind for TriggerStep {
    const NAME: &'static str = "Trigger";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        // A step that fails before it has asked for anything has nothing to say, as in Buildbot.
        context.set_own_summary(OwnSummary::Silent);
        let mut asked = Vec::new();
        match self.ask_and_wait(context, &mut asked).await {
            Err(StepEnd::Cancelled) => {
                let requests: Vec<RequestId> = asked.iter().flat_map(Asked::requests).collect();
                context.cancel_triggered(&requests).await?;
                context.set_own_summary(OwnSummary::Text(INTERRUPTED.to_owned()));
                Err(StepEnd::Cancelled)
            }
            ended => ended,
        }
    }

    #[cfg(test)]
    fn example() -> Value {
        serde_json::json!({"schedulerNames": ["one", "two"], "set_properties": {"a": 1}})
    }
}

impl TriggerStep {
    async fn ask_and_wait(
        &self,
        context: &mut StepContext<'_>,
        asked: &mut Vec<Asked>,
    ) -> Result<Results, StepEnd> {
        let Texts(schedulers) = self.scheduler_names.get(context).await?;
        let unimportant: BTreeSet<String> =
            self.unimportant_scheduler_names.get(context).await?.0.into_iter().collect();
        // All of them first: nothing is asked for when a name is wrong.
        schedulers.iter().try_for_each(|scheduler| context.check_trigger(scheduler))?;
        let waits = self.wait_for_finish.get(context).await?.0;
        let wanted = Trigger {
            sources: self.sources(context).await?,
            properties: self.properties(context).await?,
            parent: Some((context.build(), self.relationship(context).await?)),
            waited_for: waits,
        };
        for scheduler in schedulers {
            let added = context.trigger(&scheduler, wanted.clone()).await?;
            for (_, request) in &added.requests {
                let url = context.request_url(*request);
                context.add_url(&format!("{scheduler} #{request}"), &url);
            }
            let unimportant = unimportant.contains(&scheduler);
            asked.push(Asked { scheduler, unimportant, added });
        }
        if context.stopped().is_some() {
            return Err(StepEnd::Cancelled);
        }
        tell(context, asked, &[]);
        if waits { wait(context, asked).await } else { Ok(Results::Success) }
    }

    async fn relationship(&self, context: &mut StepContext<'_>) -> Result<String, StepEnd> {
        Ok(self.parent_relationship.get(context).await?.unwrap_or_else(|| RELATIONSHIP.to_owned()))
    }

    async fn properties(&self, context: &mut StepContext<'_>) -> Result<Properties, StepEnd> {
        let GivenProperties(given) = self.set_properties.get(context).await?;
        let mut properties = Properties::new();
        for (name, mut value) in given {
            context.core.recorder.secrets().conceal_value(&mut value);
            properties.set(&name, value, SOURCE);
        }
        Ok(properties)
    }

    /// The given sources; without any, those of this build with the revisions that it has got, or, for the latest,
    /// none.
    async fn sources(&self, context: &mut StepContext<'_>) -> Result<Vec<WantedSource>, StepEnd> {
        let GivenSources(given) = self.source_stamps.get(context).await?;
        if !given.is_empty() {
            return Ok(given.into_values().collect());
        }
        if self.always_use_latest.get(context).await?.0 {
            return Ok(Vec::new());
        }
        let got = match self.update_source_stamp.get(context).await?.0 {
            true => got_revisions(context.properties().get("got_revision")),
            false => BTreeMap::new(),
        };
        let mut sources: Vec<WantedSource> =
            context.sources().iter().map(|stamp| of_build(stamp, &got)).collect();
        sources.sort_by(|one, other| one.codebase.cmp(&other.codebase));
        Ok(sources)
    }
}

/// Waits for everything that was asked for; the worst that counts is the step's result.
async fn wait(context: &mut StepContext<'_>, asked: &[Asked]) -> Result<Results, StepEnd> {
    let sets: Vec<_> = asked.iter().map(|asked| asked.added.id).collect();
    let requests: Vec<RequestId> = asked.iter().flat_map(Asked::requests).collect();
    let (mut complete, mut builds) = (BTreeMap::new(), Vec::new());
    while complete.len() < sets.len() {
        complete = context.wait_for_buildsets(&sets, complete.len()).await?;
        builds = context.triggered_builds(&requests).await?;
        tell(context, asked, &builds);
    }
    for TriggeredBuild { build, builder } in builds {
        let url = context.build_url(build.builder, build.number);
        let results = build.results.map_or("not finished", Results::name);
        context.add_url(&format!("{results}: {builder} #{}", build.number), &url);
    }
    let counting = asked.iter().filter(|asked| !asked.unimportant);
    let results = counting.filter_map(|asked| complete.get(&asked.added.id));
    Ok(results.fold(Results::Success, |worst, results| worst.worst(*results)))
}

/// Says what was asked for, and how many of the builds have ended how.
fn tell(context: &mut StepContext<'_>, asked: &[Asked], builds: &[TriggeredBuild]) {
    if asked.is_empty() {
        return;
    }
    let names: Vec<&str> = asked.iter().map(|asked| asked.scheduler.as_str()).collect();
    let mut text = format!("triggered {}", names.join(", "));
    for results in Results::ALL {
        match builds.iter().filter(|triggered| triggered.build.results == Some(results)).count() {
            0 => {}
            1 => text.push_str(&format!(", 1 {results}")),
            count => text.push_str(&format!(", {count} {}", results.plural())),
        }
    }
    context.set_state(&text);
    context.set_own_summary(OwnSummary::Text(text));
}

fn of_build(stamp: &SourceStamp, got: &BTreeMap<String, String>) -> WantedSource {
    let patch = stamp.patch.as_ref().map(|patch| NewPatch {
        level: patch.level,
        body_base64: STANDARD.encode(&patch.body),
        author: patch.author.clone(),
        comment: patch.comment.clone(),
        subdir: patch.subdir.clone(),
    });
    let revision = got.get(&stamp.codebase).cloned().or_else(|| stamp.revision.clone());
    WantedSource {
        codebase: stamp.codebase.clone(),
        branch: Some(stamp.branch.clone()),
        revision: Some(revision),
        repository: Some(stamp.repository.clone()),
        project: Some(stamp.project.clone()),
        patch,
    }
}

/// The property that source steps set: one text, or with codebases a dictionary.
fn got_revisions(property: Option<&Value>) -> BTreeMap<String, String> {
    match property {
        Some(Value::String(revision)) => BTreeMap::from([(String::new(), revision.clone())]),
        Some(Value::Object(revisions)) => revisions
            .iter()
            .filter_map(|(codebase, revision)| Some((codebase.clone(), revision.as_str()?.to_owned())))
            .collect(),
        _ => BTreeMap::new(),
    }
}
