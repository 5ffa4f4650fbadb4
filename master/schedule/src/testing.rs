//! Things that several tests need.

use std::{collections::BTreeMap, sync::Arc};

use muster_bus::Bus;
use muster_config::snapshot::{
    ChangeFilter, ChangeSourceConfig, CodebaseDefaults, Priority, SchedulerConfig, SchedulerKind, Snapshot,
    SourceRef, SourceStampSchedulerConfig, Values,
};
use muster_core::policy::{Action, Permit};
use muster_core::{
    BuilderId, BuildsetId, Change, ChangeId, MasterId, Properties, SchedulerId, SourceStamp, SourceStampId,
    Timestamp, render::Renderable,
};
use muster_data::{Data, NewChange, Singleton};
use muster_store::{
    Db, DbUrl,
    builders::BuilderInfo,
    query::{self, Select},
};
use serde_json::json;
use tempfile::TempDir;

/// A change of the branch `main`.
pub(crate) fn change(id: i64) -> Change {
    let stamp = SourceStamp {
        id: SourceStampId(id),
        branch: Some("main".into()),
        revision: Some(format!("r{id}")),
        repository: "repo".into(),
        project: String::new(),
        codebase: String::new(),
        patch: None,
        created_at: Timestamp(0),
    };
    Change {
        id: ChangeId(id),
        author: "A <a@example.org>".into(),
        committer: None,
        comments: "text".into(),
        branch: stamp.branch.clone(),
        revision: stamp.revision.clone(),
        revlink: None,
        when: Timestamp(0),
        category: None,
        repository: stamp.repository.clone(),
        codebase: String::new(),
        project: String::new(),
        files: vec!["file".into()],
        properties: Properties::new(),
        parent: None,
        sourcestamp: stamp,
    }
}

/// A change to be added.
pub(crate) fn new_change(branch: &str, revision: &str) -> NewChange {
    NewChange {
        author: "A <a@example.org>".into(),
        branch: Some(branch.into()),
        revision: Some(revision.into()),
        repository: "repo".into(),
        ..NewChange::default()
    }
}

/// A scheduler of the builders `a` and `b`, with one codebase and one property.
pub(crate) fn scheduler(class: &str, kind: SchedulerKind) -> SchedulerConfig {
    SchedulerConfig {
        name: "s".into(),
        class_name: format!("buildbot.schedulers.{class}"),
        builder_names: Renderable::Literal(json!(["a", "b", "nobody"])),
        properties: Values::from([("flavour".into(), Renderable::from("x"))]),
        codebases: BTreeMap::from([(String::new(), CodebaseDefaults::default())]),
        priority: Priority::Default,
        kind,
        source: SourceRef::default(),
    }
}

/// Everything is important, nothing waits, no change is filtered out.
pub(crate) fn plain() -> SourceStampSchedulerConfig {
    SourceStampSchedulerConfig {
        tree_stable_timer: None,
        change_filter: ChangeFilter::default(),
        file_is_important: None,
        only_important: false,
        reason: None,
        create_absolute_source_stamps: false,
    }
}

/// A configuration of these schedulers and change sources.
pub(crate) fn snapshot(
    schedulers: Vec<SchedulerConfig>,
    change_sources: Vec<ChangeSourceConfig>,
) -> Arc<Snapshot> {
    Arc::new(Snapshot { schedulers, change_sources, ..Snapshot::empty() })
}

/// A fresh database with one master and the builders `a` and `b`.
pub(crate) struct World {
    pub(crate) data: Data,
    pub(crate) master: MasterId,
    pub(crate) builders: Vec<BuilderId>,
    pub(crate) directory: TempDir,
}

impl World {
    pub(crate) async fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let url = DbUrl::Sqlite(directory.path().join("state.sqlite"));
        let db = Db::upgrade(&url).await.unwrap();
        let data = Data::new(db, Bus::default());
        let set_up = data.db().tx("set_up", |tx| async move {
            let master = muster_store::masters::find_or_create(&tx, "master").await?;
            let mut builders = Vec::new();
            for name in ["a", "b"] {
                let info = BuilderInfo { name: name.into(), ..BuilderInfo::default() };
                builders.push(muster_store::builders::configure(&tx, master, &info).await?);
            }
            Ok::<_, muster_store::Error>((master, builders))
        });
        let (master, builders) = set_up.await.unwrap().into_inner();
        World { data, master, builders, directory }
    }

    /// Makes the world's master the owner of a scheduler.
    pub(crate) async fn start_scheduler(&self, name: &str) -> SchedulerId {
        let owned = self.data.start_scheduler(self.master, name).await.unwrap().unwrap();
        match owned.singleton {
            Singleton::Scheduler(id) => id,
            Singleton::ChangeSource(_) => panic!("no scheduler"),
        }
    }

    /// Adds a change of a branch and answers its id.
    pub(crate) async fn commit(&self, branch: &str, revision: &str) -> ChangeId {
        self.data
            .add_change(&Permit::system("a test", Action::SendChange), new_change(branch, revision))
            .await
            .unwrap()
    }

    /// All buildsets, oldest first.
    pub(crate) async fn buildsets(&self) -> Vec<Built> {
        let list = self.data.db().read("buildsets_of_test", |tx| async move {
            let requests = query::requests::list(&tx, &Select::all()).await?;
            let mut built = Vec::new();
            for set in query::buildsets::list(&tx, &Select::all()).await? {
                let mut of_set: Vec<_> =
                    requests.iter().filter(|request| request.buildset == set.id).collect();
                of_set.sort_by_key(|request| request.id);
                built.push(Built {
                    id: set.id,
                    reason: set.reason.clone(),
                    sources: set.sourcestamps,
                    properties: query::properties::of_buildset(&tx, set.id).await?,
                    builders: of_set.iter().map(|request| request.builder).collect(),
                    priorities: of_set.iter().map(|request| request.priority).collect(),
                });
            }
            built.sort_by_key(|set| set.id);
            Ok::<_, muster_store::Error>(built)
        });
        list.await.unwrap()
    }

    /// The revisions of all buildsets, oldest first; of several codebases joined.
    pub(crate) async fn revisions(&self) -> Vec<String> {
        let revision = |stamp: &SourceStamp| stamp.revision.clone().unwrap_or_default();
        let joined = |set: Built| set.sources.iter().map(revision).collect::<Vec<_>>().join(" ");
        self.buildsets().await.into_iter().map(joined).collect()
    }
}

/// What a test looks at in a buildset.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Built {
    pub(crate) id: BuildsetId,
    pub(crate) reason: String,
    pub(crate) sources: Vec<SourceStamp>,
    pub(crate) properties: Properties,
    pub(crate) builders: Vec<BuilderId>,
    pub(crate) priorities: Vec<i64>,
}
