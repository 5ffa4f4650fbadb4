//! The properties a build begins with (`docs/compat/behaviour-4-properties.md` 4.1): later origins win.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{join, join3};
use muster_core::{
    BuilderId, Buildset, BuildsetId, Properties, RequestId, SourceStamp,
    render::{Renderable, render},
    retries::Past,
};
use muster_store::{Db, Result, Tx, builds, query};
use serde_json::{Value, json};

use crate::{Active, effects::Standalone, sessions::Slot};

/// What a request asks for, beside its builder.
pub(crate) struct Asked {
    pub(crate) sources: Vec<SourceStamp>,
    pub(crate) reason: String,
    pub(crate) properties: Properties,
    change_properties: Properties,
    authors: BTreeSet<String>,
}

impl Asked {
    /// What the requests of these buildsets ask for, in their order.
    pub(crate) async fn load(db: &Db, sets: &[BuildsetId]) -> Result<Vec<Asked>> {
        db.look("asked_for", |tx| async move { Asked::of(&tx, sets).await }).await
    }

    /// The same, with the builds that these requests have had.
    pub(crate) async fn load_with_past(
        db: &Db,
        sets: &[BuildsetId],
        requests: &[RequestId],
    ) -> Result<(Vec<Asked>, BTreeMap<RequestId, Vec<Past>>)> {
        db.look("asked_for", |tx| async move {
            let (asked, past) = join(Asked::of(&tx, sets), builds::past_of_requests(&tx, requests)).await;
            Ok((asked?, past?))
        })
        .await
    }

    async fn of(tx: &Tx, sets: &[BuildsetId]) -> Result<Vec<Asked>> {
        let ids: Vec<i64> = sets.iter().map(|set| set.0).collect();
        let properties = query::properties::of_buildsets(tx, &ids, &query::properties::Wanted::All);
        let changes = query::changes::of_buildsets(tx, sets);
        let (rows, properties, changes) =
            join3(query::buildsets::by_ids(tx, sets), properties, changes).await;
        let (rows, properties, changes) = (rows?, properties?, changes?);
        let rows: BTreeMap<BuildsetId, Buildset> = rows.into_iter().map(|set| (set.id, set)).collect();
        let asked = |id: &BuildsetId| {
            let set = rows.get(id);
            let sources = set.map(|set| set.sourcestamps.clone()).unwrap_or_default();
            let mut change_properties = Properties::new();
            let mut authors = BTreeSet::new();
            for change in sources.iter().filter_map(|source| changes.get(&source.id)).flatten() {
                change_properties.update(&change.properties);
                authors.insert(change.author.clone());
            }
            authors.extend(sources.iter().filter_map(|source| Some(source.patch.as_ref()?.author.clone())));
            Asked {
                sources,
                reason: set.map(|set| set.reason.clone()).unwrap_or_default(),
                properties: properties.get(&id.0).cloned().unwrap_or_default(),
                change_properties,
                authors,
            }
        };
        Ok(sets.iter().map(asked).collect())
    }
}

/// All properties of a new build but its number.
pub(crate) fn assemble(active: &Active, builder: BuilderId, slot: &Slot, asked: &Asked) -> Properties {
    let snapshot = &active.snapshot;
    let mut properties = Properties::new();
    add(&mut properties, &snapshot.properties, &snapshot.config_file);
    properties.update(&asked.change_properties);
    properties.update(&asked.properties);
    let builder_id = builder;
    let builder = active.builder(builder_id);
    if let Some(builder) = builder {
        properties.set("buildername", builder.name.clone(), "Builder");
        properties.set("builderid", builder_id.0, "Builder");
        if let Some(project) = &builder.project {
            properties.set("projectname", project.clone(), "Builder");
        }
        add(&mut properties, &builder.properties, "Builder");
        add_defaults(&mut properties, &builder.default_properties, "Builder");
    }
    if let Some(worker) = active.worker(slot.name()) {
        add(&mut properties, &worker.properties, "Worker");
        add_defaults(&mut properties, &worker.default_properties, "Worker");
    }
    properties.set("workername", slot.name(), "Worker");
    if let [source] = asked.sources.as_slice() {
        properties.set("branch", json!(source.branch), "Build");
        properties.set("revision", json!(source.revision), "Build");
        properties.set("repository", source.repository.clone(), "Build");
        properties.set("codebase", source.codebase.clone(), "Build");
        properties.set("project", source.project.clone(), "Build");
    }
    let mut owners = asked.authors.clone();
    owners.extend(properties.get("owner").and_then(Value::as_str).map(str::to_owned));
    if !owners.is_empty() {
        properties.set("owners", json!(owners), "Build");
    }
    if let (Some(Value::String(basedir)), Some(builder)) = (slot.info().get("basedir"), builder) {
        properties.set("basedir", basedir.clone(), "Worker");
        properties.set("builddir", format!("{basedir}/{}", builder.worker_builddir), "Worker");
    }
    properties
}

/// The properties that a worker gives to its builds.
pub(crate) fn of_worker(active: &Active, name: &str) -> Properties {
    let mut properties = Properties::new();
    if let Some(worker) = active.worker(name) {
        add(&mut properties, &worker.properties, "Worker");
        add_defaults(&mut properties, &worker.default_properties, "Worker");
    }
    properties
}

fn add(properties: &mut Properties, values: &muster_config::snapshot::Values, source: &str) {
    for (name, value) in values {
        if let Some(value) = plain(value, properties) {
            properties.set(name.clone(), value, source);
        }
    }
}

fn add_defaults(properties: &mut Properties, values: &muster_config::snapshot::Values, source: &str) {
    for (name, value) in values {
        if !properties.contains(name)
            && let Some(value) = plain(value, properties)
        {
            properties.set(name.clone(), value, source);
        }
    }
}

/// A configured value, rendered against the properties so far.
fn plain(value: &Renderable, properties: &Properties) -> Option<Value> {
    match render(value, &Standalone(properties)) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(%error, "a property of the configuration can't be rendered and is left out");
            None
        }
    }
}
