//! The configuration in force, with the ids that its names have in the database.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use muster_config::{
    Host,
    snapshot::{BuilderConfig, CollapseSetting, ProjectConfig, Snapshot, WorkerConfig},
};
use muster_core::{BuilderId, MasterId, Role, Roles};
use muster_data::{BuilderSetup, Collapse, Configured, Data, Setup};
use muster_store::{
    builders::{BuilderInfo, ProjectInfo},
    chunks::Compression,
};

use crate::plan::Plan;

/// A configuration that was registered in the database.
pub struct Active {
    /// What `master.cfg` says.
    pub snapshot: Arc<Snapshot>,
    /// The ids of its builders and workers.
    pub ids: Configured,
    /// What this master does.
    pub roles: Roles,
    /// What it says to the database, to be said again when others have struck it.
    pub setup: Arc<Setup>,
    /// Answers the configuration's callables, when there are any.
    pub host: Option<Host>,
    /// How logs are compressed.
    pub(crate) compression: Compression,
    builders: BTreeMap<BuilderId, Builder>,
    /// The ids of all of them.
    pub(crate) builder_ids: Arc<BTreeSet<BuilderId>>,
    /// Where each worker is in the snapshot: there may be thousands, and each is looked for again and again.
    workers: HashMap<String, usize>,
}

/// What is asked about a builder all the time.
struct Builder {
    /// Where it is in the snapshot.
    place: usize,
    /// JSON of its plan, made once.
    plan: Arc<str>,
    /// The workers that may build for it.
    workers: HashSet<String>,
}

impl Active {
    /// The builder with this id, if it is configured.
    pub(crate) fn builder(&self, id: BuilderId) -> Option<&BuilderConfig> {
        self.builders.get(&id).map(|builder| &self.snapshot.builders[builder.place])
    }

    /// The worker of this name, if it is configured.
    pub(crate) fn worker(&self, name: &str) -> Option<&WorkerConfig> {
        self.workers.get(name).map(|place| &self.snapshot.workers[*place])
    }

    /// Whether a worker may build for a builder.
    pub(crate) fn may_build(&self, worker: &str, builder: BuilderId) -> bool {
        self.builders.get(&builder).is_some_and(|builder| builder.workers.contains(worker))
    }

    pub(crate) fn plan(&self, builder: BuilderId) -> Option<Arc<str>> {
        self.builders.get(&builder).map(|builder| builder.plan.clone())
    }
}

/// Registers a loaded configuration: builders, workers, the snapshot itself. A master that has no engine names itself
/// at no builder.
///
/// # Errors
/// Whatever the database says.
pub async fn activate(
    data: &Data,
    master: MasterId,
    snapshot: Arc<Snapshot>,
    digest: &str,
    host: Option<Host>,
    roles: Roles,
) -> muster_store::Result<Active> {
    let content = serde_json::to_string(&*snapshot).map_err(unserialisable)?;
    let setup = Setup {
        runs_builds: roles.has(Role::Engine),
        projects: snapshot.projects.iter().map(project_info).collect(),
        builders: snapshot.builders.iter().map(|builder| builder_setup(&snapshot, builder)).collect(),
        workers: snapshot.workers.iter().map(|worker| worker.name.clone()).collect(),
        max_builds: snapshot
            .workers
            .iter()
            .filter_map(|worker| Some((worker.name.clone(), worker.max_builds?)))
            .collect(),
        snapshot: (digest.to_owned(), content),
    };
    let compression = compression(data, &snapshot).await?;
    let ids = data.configure(master, &setup).await?;
    let mut builders = BTreeMap::new();
    for (place, builder) in snapshot.builders.iter().enumerate() {
        let plan = serde_json::to_string(&Plan::of(builder)).map_err(unserialisable)?.into();
        if let Some(id) = ids.builders.get(&builder.name) {
            let workers = builder.worker_names.iter().cloned().collect();
            builders.insert(*id, Builder { place, plan, workers });
        }
    }
    let workers = snapshot.workers.iter().enumerate().map(|(place, worker)| (worker.name.clone(), place));
    let workers = workers.collect();
    let builder_ids = Arc::new(builders.keys().copied().collect());
    Ok(Active {
        snapshot,
        ids,
        roles,
        setup: Arc::new(setup),
        host,
        compression,
        builders,
        builder_ids,
        workers,
    })
}

/// As the configuration says. Where it says nothing and Buildbot made the database, in a way that every Buildbot can read: its
/// own default needs a package that may not be there.
async fn compression(data: &Data, snapshot: &Snapshot) -> muster_store::Result<Compression> {
    if !snapshot.log_compression_is_named && data.db().is_adopted().await? {
        return Ok(Compression::Gz);
    }
    Ok(Compression::for_writing(&snapshot.log_compression_method).unwrap_or(Compression::Gz))
}

fn project_info(project: &ProjectConfig) -> ProjectInfo {
    let ProjectConfig { name, slug, description, description_format, description_html } = project.clone();
    ProjectInfo { name, slug, description, description_format, description_html }
}

fn builder_setup(snapshot: &Snapshot, builder: &BuilderConfig) -> BuilderSetup {
    BuilderSetup {
        info: BuilderInfo {
            name: builder.name.clone(),
            description: builder.description.clone(),
            description_format: builder.description_format.clone(),
            description_html: builder.description_html.clone(),
            project: builder.project.clone(),
            tags: builder.tags.clone(),
        },
        workers: builder.worker_names.clone(),
        collapses: match collapse_setting(snapshot, builder) {
            CollapseSetting::Default | CollapseSetting::On => Collapse::ByRule,
            CollapseSetting::Off => Collapse::Off,
            CollapseSetting::Callable(_) => Collapse::Ask,
        },
    }
}

/// The setting that holds for a builder.
pub(crate) fn collapse_setting<'a>(
    snapshot: &'a Snapshot,
    builder: &'a BuilderConfig,
) -> &'a CollapseSetting {
    match &builder.collapse_requests {
        CollapseSetting::Default => &snapshot.collapse_requests,
        own => own,
    }
}

fn unserialisable(error: serde_json::Error) -> muster_store::Error {
    muster_store::Error::Data(format!("the configuration can't be stored: {error}"))
}
