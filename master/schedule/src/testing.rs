//! Things that several tests need.

use std::{collections::BTreeMap, sync::Arc};

use muster_bus::Bus;
use muster_config::snapshot::{
    Branches, CodebaseDefaults, CollapseSetting, DbConfig, LogEncoding, MqConfig, Priority, SchedulerConfig,
    SchedulerKind, Snapshot, SourceRef, SourceStampSchedulerConfig, WwwConfig,
};
use muster_core::{
    BuilderId, Change, ChangeId, MasterId, Properties, SourceStamp, SourceStampId, Timestamp, render::Renderable,
};
use muster_data::{Data, NewChange};
use muster_store::{Db, DbUrl, builders::BuilderInfo};
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
        let url = DbUrl::Sqlite(directory.path().join("state.sqlite").display().to_string());
        let db = Db::upgrade(&url).await.unwrap();
        let data = Data::new(db, Bus::default());
        let set_up = data.db().tx("set_up", |tx| async move {
            let master = muster_store::masters::start(&tx, "master", Timestamp(0)).await?;
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

    /// Adds a change of a branch and answers its id.
    pub(crate) async fn commit(&self, branch: &str, revision: &str) -> ChangeId {
        self.data.add_change(new_change(branch, revision)).await.unwrap()
    }

    /// All buildsets: their reasons, revisions by codebase, and numbers of requests.
    pub(crate) async fn buildsets(&self) -> Vec<Built> {
        let list = self.data.db().read("buildsets_of_test", |tx| async move {
            let mut built = Vec::new();
            for set in muster_store::query::buildsets::list(&tx, &muster_store::query::Select::all()).await? {
                let properties = muster_store::query::properties::of_buildset(&tx, set.id).await?;
                let requests: i64 = 0;
                built.push(Built {
                    reason: set.reason.clone(),
                    revisions: set
                        .sourcestamps
                        .iter()
                        .map(|stamp| (stamp.codebase.clone(), stamp.revision.clone().unwrap_or_default()))
                        .collect(),
                    branches: set.sourcestamps.iter().map(|stamp| stamp.branch.clone()).collect(),
                    properties,
                    requests,
                });
            }
            Ok::<_, muster_store::Error>(built)
        });
        list.await.unwrap()
    }
}

/// What a test looks at in a buildset.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Built {
    pub(crate) reason: String,
    pub(crate) revisions: BTreeMap<String, String>,
    pub(crate) branches: Vec<Option<String>>,
    pub(crate) properties: Properties,
    pub(crate) requests: i64,
}
