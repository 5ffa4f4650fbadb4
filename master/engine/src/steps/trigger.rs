//! `Trigger` (`docs/compat/behaviour-5-steps.md` 5.4): builds that this build asks for.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use muster_core::{Properties, RequestId, Results, SourceStamp};
use muster_data::{AddedBuildset, NewPatch, Trigger, TriggeredBuild, WantedSource};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

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
pub(super) async fn trigger(context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
    // A step that fails before it has asked for anything has nothing to say, as in Buildbot.
    context.set_own_summary(OwnSummary::Silent);
    let mut asked = Vec::new();
    match ask_and_wait(context, &mut asked).await {
        Err(StepEnd::Cancelled) => {
            let requests: Vec<RequestId> = asked.iter().flat_map(Asked::requests).collect();
            context.cancel_triggered(&requests).await?;
            context.set_own_summary(OwnSummary::Text(INTERRUPTED.to_owned()));
            Err(StepEnd::Cancelled)
        }
        ended => ended,
    }
}

async fn ask_and_wait(context: &mut StepContext<'_>, asked: &mut Vec<Asked>) -> Result<Results, StepEnd> {
    let schedulers = context.texts("schedulerNames").await?;
    let unimportant: BTreeSet<String> =
        context.texts("unimportantSchedulerNames").await?.into_iter().collect();
    // All of them first: nothing is asked for when a name is wrong.
    schedulers.iter().try_for_each(|scheduler| context.check_trigger(scheduler))?;
    let waits = context.flag("waitForFinish", false).await?;
    let wanted = Trigger {
        sources: sources(context).await?,
        properties: properties(context).await?,
        parent: Some((context.build(), relationship(context).await?)),
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

async fn relationship(context: &mut StepContext<'_>) -> Result<String, StepEnd> {
    Ok(context.text("parent_relationship").await?.unwrap_or_else(|| RELATIONSHIP.to_owned()))
}

async fn properties(context: &mut StepContext<'_>) -> Result<Properties, StepEnd> {
    let given: Map<String, Value> =
        context.typed("set_properties", "a dictionary").await?.unwrap_or_default();
    let mut properties = Properties::new();
    for (name, mut value) in given {
        context.core.recorder.secrets().conceal_value(&mut value);
        if name.starts_with(VIRTUAL_BUILDER) {
            return Err(StepEnd::Exception(format!(
                "Trigger argument set_properties has '{name}': Muster has no virtual builders yet"
            )));
        }
        properties.set(&name, value, SOURCE);
    }
    Ok(properties)
}

/// The given sources; without any, those of this build with the revisions that it has got, or, for the latest, none.
async fn sources(context: &mut StepContext<'_>) -> Result<Vec<WantedSource>, StepEnd> {
    let given: Vec<GivenSource> =
        context.typed("sourceStamps", "a list of dictionaries").await?.unwrap_or_default();
    if !given.is_empty() {
        return by_codebase(given);
    }
    if context.flag("alwaysUseLatest", false).await? {
        return Ok(Vec::new());
    }
    let got = match context.flag("updateSourceStamp", true).await? {
        true => got_revisions(context.properties().get("got_revision")),
        false => BTreeMap::new(),
    };
    let mut sources: Vec<WantedSource> =
        context.sources().iter().map(|stamp| of_build(stamp, &got)).collect();
    sources.sort_by(|one, other| one.codebase.cmp(&other.codebase));
    Ok(sources)
}

fn by_codebase(given: Vec<GivenSource>) -> Result<Vec<WantedSource>, StepEnd> {
    let mut sources = BTreeMap::new();
    for GivenSource { codebase, branch, revision, repository, project } in given {
        let source =
            WantedSource { codebase: codebase.clone(), branch, revision, repository, project, patch: None };
        if sources.insert(codebase.clone(), source).is_some() {
            return Err(StepEnd::Exception(format!(
                "Trigger argument sourceStamps has the codebase '{codebase}' more than once"
            )));
        }
    }
    Ok(sources.into_values().collect())
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
