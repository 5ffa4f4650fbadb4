//! A master comes, says what it has, and goes.

use std::collections::BTreeMap;

use muster_bus::Event;
use muster_core::{BuilderId, MasterId, WorkerId};
use muster_store::{
    Result, Tx,
    builders::{self, BuilderInfo, ProjectInfo},
    query, runs, stock, workers,
};
use serde_json::{Value, json};

use crate::{Collapse, CollapsePolicy, Data, now, resources};

/// What a configuration says that other masters and pages need to know.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Whether this master runs builds: only then it is named as one that has these builders.
    pub runs_builds: bool,
    /// The projects, also those of no builder.
    pub projects: Vec<ProjectInfo>,
    /// The builders.
    pub builders: Vec<BuilderSetup>,
    /// All workers, also those of no builder.
    pub workers: Vec<String>,
    /// How many builds these workers run at a time; the others as many as come.
    pub max_builds: BTreeMap<String, u32>,
    /// Digest and text of the snapshot.
    pub snapshot: (String, String),
}

/// One builder.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct BuilderSetup {
    pub info: BuilderInfo,
    pub workers: Vec<String>,
    /// Whether older requests collapse into new ones.
    pub collapses: Collapse,
}

/// The ids that a configuration got.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Configured {
    pub builders: BTreeMap<String, BuilderId>,
    pub workers: BTreeMap<String, WorkerId>,
    pub snapshot: i64,
}

impl Data {
    /// Makes the database say what a configuration says about this master.
    pub async fn configure(&self, master: MasterId, setup: &Setup) -> Result<Configured> {
        let committed =
            self.db().tx("configure", |tx| async move { configure(&tx, master, setup).await }).await?;
        let configured = self.tell(committed);
        let collapses = setup
            .builders
            .iter()
            .filter_map(|builder| Some((*configured.builders.get(&builder.info.name)?, builder.collapses)));
        self.set_collapse_policy(CollapsePolicy { master: Some(master), builders: collapses.collect() });
        Ok(configured)
    }
}

pub(super) async fn configure(tx: &Tx, master: MasterId, setup: &Setup) -> Result<(Configured, Vec<Event>)> {
    let mut configured = Configured::default();
    let mut events = Vec::new();
    let before = builders::of_master(tx, master).await?;
    for project in &setup.projects {
        builders::describe_project(tx, project).await?;
        if let Some(stored) = query::projects::by_name(tx, &project.name).await? {
            let name = format!("projects/{}/update", stored.id);
            events.push(Event::new([name], resources::project(&stored, None)));
        }
    }
    for builder in &setup.builders {
        let id = match setup.runs_builds {
            true => builders::configure(tx, master, &builder.info).await?,
            false => builders::describe(tx, &builder.info).await?,
        };
        if setup.runs_builds && !before.iter().any(|(known, _)| *known == id) {
            events.push(builder_short_event(master, id, &builder.info.name, "started"));
        }
        let stored = query::builders::by_id(tx, id).await?;
        let payload = stored.map_or(Value::Null, |builder| resources::builder(&builder));
        events.push(Event::new([format!("builders/{id}/update")], payload));
        configured.builders.insert(builder.info.name.clone(), id);
    }
    for (id, name) in &before {
        if !setup.runs_builds || !configured.builders.contains_key(name) {
            builders::remove_from_master(tx, master, *id).await?;
            events.push(builder_short_event(master, *id, name, "stopped"));
        }
    }
    for worker in &setup.workers {
        let id = workers::find_or_create(tx, worker).await?;
        let uses = setup.builders.iter().filter(|builder| builder.workers.contains(worker));
        let ids: Vec<BuilderId> =
            uses.filter_map(|builder| configured.builders.get(&builder.info.name).copied()).collect();
        workers::configure(tx, master, id, &ids).await?;
        configured.workers.insert(worker.clone(), id);
    }
    if setup.runs_builds {
        let limit = |(name, max): (&String, &u32)| Some((*configured.workers.get(name)?, *max));
        let limits: Vec<(WorkerId, u32)> = setup.max_builds.iter().filter_map(limit).collect();
        workers::set_limits(tx, master, &limits).await?;
    }
    let (digest, content) = &setup.snapshot;
    configured.snapshot = runs::snapshot_id(tx, digest, content, now()).await?;
    stock::set_in_force(tx, master, configured.snapshot).await?;
    Ok((configured, events))
}

fn builder_short_event(master: MasterId, builder: BuilderId, name: &str, what: &str) -> Event {
    let payload = json!({ "builderid": builder, "masterid": master, "name": name });
    Event::new([format!("builders/{builder}/{what}")], payload)
}
