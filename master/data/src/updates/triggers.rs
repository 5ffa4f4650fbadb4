//! Buildsets that running builds ask for (`docs/compat/behaviour-5-steps.md` 5.4).

use std::collections::{BTreeMap, btree_map::Entry};

use muster_core::{Build, BuildId, BuilderId, BuildsetId, Properties, RequestId, Results};
use muster_store::{
    Error, query,
    runs::{self, JournalRow, RunKey},
    sourcestamps::{NewPatch, NewSourceStamp},
};

use serde::{Deserialize, Deserializer, Serialize};

use super::buildsets::insert;
use crate::{AddedBuildset, Data, NewBuildset};

/// A version of the sources as a build asks for it: what is `None` is left to the scheduler's defaults of the codebase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct WantedSource {
    pub codebase: String,
    /// `Some(None)` is no branch, whatever the default is.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub branch: Option<Option<String>>,
    /// `Some(None)` is the newest revision, whatever the default is.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub revision: Option<Option<String>>,
    pub repository: Option<String>,
    pub project: Option<String>,
    pub patch: Option<NewPatch>,
}

/// In JSON what is there and null is `Some(None)`, and what is not there is `None`.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl WantedSource {
    /// The version, with `defaults` where it says nothing.
    pub fn with_defaults(self, defaults: NewSourceStamp) -> NewSourceStamp {
        NewSourceStamp {
            branch: self.branch.unwrap_or(defaults.branch),
            revision: self.revision.unwrap_or(defaults.revision),
            repository: self.repository.unwrap_or(defaults.repository),
            project: self.project.unwrap_or(defaults.project),
            codebase: self.codebase,
            patch: self.patch.or(defaults.patch),
        }
    }
}

/// What a build asks a Triggerable scheduler for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trigger {
    /// Versions of the sources; codebases that are not among them get the scheduler's defaults.
    pub sources: Vec<WantedSource>,
    /// Properties for the new builds; the scheduler's own win over them. A property `reason` is the buildset's reason.
    pub properties: Properties,
    /// The asking build, and how the two are related.
    pub parent: Option<(BuildId, String)>,
    /// It waits for the end.
    pub waited_for: bool,
}

/// A build that was triggered.
#[derive(Clone, Debug, PartialEq)]
pub struct TriggeredBuild {
    /// The build.
    pub build: Build,
    /// The name of its builder.
    pub builder: String,
}

impl Data {
    /// Makes a buildset that a step of a run asks for. The step's journal says so in the same transaction: `row` is written
    /// with what was made (an [`AddedBuildset`]) as its outcome, so whoever goes on with the run asks for nothing twice.
    ///
    /// # Errors
    /// [`Error::Fenced`] when the run has another owner or epoch; nothing was made then.
    pub async fn trigger(
        &self,
        run: &RunKey,
        row: &JournalRow,
        set: &NewBuildset,
    ) -> muster_store::Result<AddedBuildset> {
        self.may_act()?;
        let policy = &self.collapse_policy();
        let committed = self.db().tx("trigger", |tx| async move {
            runs::fence(&tx, run).await?;
            let (added, events) = insert(&tx, set, policy).await?;
            let outcome = serde_json::to_string(&added)
                .map_err(|error| Error::Data(format!("a buildset can't be noted: {error}")))?;
            let row = JournalRow { outcome, ..row.clone() };
            runs::journal_all(&tx, &[(run.build, &row)]).await?;
            Ok::<_, Error>((added, events))
        });
        Ok(self.tell_set(committed.await?, AddedBuildset::itself))
    }

    /// The results of those of the buildsets that are complete.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn complete_buildsets(
        &self,
        sets: &[BuildsetId],
    ) -> muster_store::Result<BTreeMap<BuildsetId, Results>> {
        let sets = self
            .db()
            .read("complete_buildsets", |tx| async move { query::buildsets::by_ids(&tx, sets).await });
        Ok(sets.await?.into_iter().filter_map(|set| Some((set.id, set.results?))).collect())
    }

    /// The builds of requests, in the order of the requests and then of the builds.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn builds_of_requests(
        &self,
        requests: &[RequestId],
    ) -> muster_store::Result<Vec<TriggeredBuild>> {
        let read = self.db().read("builds_of_requests", |tx| async move {
            let builds = query::builds::of_requests(&tx, requests).await?;
            let mut names: BTreeMap<BuilderId, String> = BTreeMap::new();
            for build in &builds {
                if let Entry::Vacant(unknown) = names.entry(build.builder) {
                    let builder = query::builders::by_id(&tx, build.builder).await?;
                    unknown.insert(builder.map(|builder| builder.name).unwrap_or_default());
                }
            }
            Ok::<_, Error>((builds, names))
        });
        let (builds, names) = read.await?;
        let place: BTreeMap<RequestId, usize> = requests.iter().copied().zip(0..).collect();
        let mut found: Vec<TriggeredBuild> = builds
            .into_iter()
            .map(|build| TriggeredBuild { builder: names[&build.builder].clone(), build })
            .collect();
        found.sort_by_key(|found| (place[&found.build.request], found.build.id));
        Ok(found)
    }
}
