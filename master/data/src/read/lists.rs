//! Lists. A parent that isn't there has none.

use muster_core::{BuildId, BuildsetId, SourceStampId, Worker};
use muster_store::{
    Tx,
    query::{self, Select, Table},
    troubles,
};
use serde_json::{Value, json};

use super::{
    Args, Error, Page, Resource, ResultSpec, Scope,
    apply::{Plan, check_length, in_memory, with},
    codebases::{self, within},
    long::{Listed, long},
};
use crate::resources;

/// The list of `resource` that a path names; `None` where the build on its way isn't there.
pub(super) async fn read(
    tx: &Tx,
    resource: Resource,
    args: &Args,
    spec: &ResultSpec,
) -> Result<Option<Listed>, Error> {
    let scope = Scope::new(tx, args);
    let page = match resource {
        Resource::Build => return builds(tx, &scope, args, spec).await.map(Some),
        Resource::BuildRequest => return requests(tx, &scope, spec).await.map(Some),
        Resource::Buildset => {
            let plan = Plan::new(&query::buildsets::TABLE, spec);
            return long(tx, resource, plan, spec).await.map(Some);
        }
        Resource::Change => return changes(tx, &scope, args, spec).await.map(Some),
        Resource::SourceStamp => return sourcestamps(tx, args, spec).await.map(Some),
        Resource::Commit => {
            let plan = within(&query::commits::TABLE, spec, "codebaseid", args.int("codebaseid"));
            return long(tx, resource, plan, spec).await.map(Some);
        }
        Resource::TestResult => {
            let set = args.int("test_result_setid");
            let plan = within(&query::test_results::RESULTS, spec, "test_result_setid", set);
            return long(tx, resource, plan, spec).await.map(Some);
        }
        Resource::TestResultSet => match codebases::test_result_sets(tx, &scope, args, spec).await? {
            Ok(plan) => return long(tx, resource, plan, spec).await.map(Some),
            Err(page) => Ok(page),
        },
        Resource::Step => {
            let Some(build) = scope.build().await? else { return Ok(None) };
            let select = query::steps::of_build(all_by(&query::steps::TABLE, "number"), build);
            let found = query::steps::list(tx, &select).await?;
            Ok(in_memory(found.iter().map(resources::step).collect(), spec))
        }
        Resource::Log => {
            let Some(step) = scope.step().await? else { return Ok(Some(Page::default().into())) };
            let found = query::logs::list(tx, &query::logs::of_step(Select::all(), step)).await?;
            Ok(in_memory(found.iter().map(resources::log).collect(), spec))
        }
        Resource::Property => raw_properties(tx, args, spec).await,
        Resource::Project => projects(tx, spec).await,
        Resource::Codebase => codebases::codebases(tx, spec).await,
        Resource::Branch => codebases::branches(tx, args, spec).await,
        Resource::BuildData => codebases::build_data(tx, &scope, spec).await,
        other => {
            let items = small_list(tx, other, &scope, args).await?;
            check_length(items.len())?;
            Ok(in_memory(items, spec))
        }
    };
    page.map(|page| Some(page.into()))
}

fn all_by(table: &Table, field: &str) -> Select {
    match table.column(field) {
        Some(column) => Select::all().order_by(column, false),
        None => Select::all(),
    }
}

async fn builds(tx: &Tx, scope: &Scope<'_>, args: &Args, spec: &ResultSpec) -> Result<Listed, Error> {
    let table = &query::builds::TABLE;
    let mut plan = Plan::new(table, spec);
    if scope.names_builder() {
        let Some(builder) = scope.builder().await? else { return Ok(Page::default().into()) };
        plan.select = with(plan.select, table, "builderid", builder.0);
    }
    for field in ["buildrequestid", "workerid"] {
        if let Some(id) = args.int(field) {
            plan.select = with(plan.select, table, field, id);
        }
    }
    if let Some(build) = args.int("buildid") {
        plan.select = query::builds::triggered_by(plan.select, BuildId(build));
    }
    if let Some(change) = scope.change() {
        plan.select = query::builds::of_change(plan.select, change);
    }
    long(tx, Resource::Build, plan, spec).await
}

async fn requests(tx: &Tx, scope: &Scope<'_>, spec: &ResultSpec) -> Result<Listed, Error> {
    let table = &query::requests::TABLE;
    let mut plan = Plan::new(table, spec);
    if let Some(builder) = scope.builder().await? {
        plan.select = with(plan.select, table, "builderid", builder.0);
    }
    long(tx, Resource::BuildRequest, plan, spec).await
}

async fn changes(tx: &Tx, scope: &Scope<'_>, args: &Args, spec: &ResultSpec) -> Result<Listed, Error> {
    if args.text("buildid").is_some() || args.text("build_number").is_some() {
        let Some(build) = scope.build_row().await? else { return Ok(Page::default().into()) };
        let found = query::changes::of_build(tx, &build).await?;
        return Ok(in_memory(found.iter().map(resources::change).collect(), spec).into());
    }
    let mut plan = Plan::new(&query::changes::TABLE, spec);
    if let Some(source) = args.int("ssid") {
        plan.select = query::changes::of_sourcestamp(plan.select, SourceStampId(source));
    }
    long(tx, Resource::Change, plan, spec).await
}

async fn sourcestamps(tx: &Tx, args: &Args, spec: &ResultSpec) -> Result<Listed, Error> {
    if args.text("buildsetid").is_some() {
        let Some(buildset) = args.int("buildsetid") else { return Ok(Page::default().into()) };
        let mut found = query::sourcestamps::of_buildsets(tx, &[buildset]).await?;
        let found = found.remove(&BuildsetId(buildset)).unwrap_or_default();
        return Ok(in_memory(found.iter().map(resources::sourcestamp).collect(), spec).into());
    }
    let plan = Plan::new(&query::sourcestamps::TABLE, spec);
    let counted = match plan.is_page() {
        // Buildbot reads them all, and counts them before it takes the page out.
        true => usize::try_from(query::sourcestamps::count(tx, &plan.select).await?).ok(),
        false => None,
    };
    let mut listed = long(tx, Resource::SourceStamp, plan, spec).await?;
    listed.total = counted.unwrap_or(listed.total);
    Ok(listed)
}

/// `name`, `source` and the value as JSON text: that is how Buildbot lists properties.
async fn raw_properties(tx: &Tx, args: &Args, spec: &ResultSpec) -> Result<Page, Error> {
    if let Some(build) = args.int("buildid") {
        let found = query::properties::raw_of_build(tx, BuildId(build)).await?;
        let item = |property: query::properties::RawProperty| json!({"name": property.name, "source": property.source, "value": property.value});
        let mut page = in_memory(found.into_iter().map(item).collect(), spec);
        // These Buildbot pages in the database, and counts the page.
        page.total = page.items.len();
        return Ok(page);
    }
    let properties = match (args.int("bsid"), args.int("changeid")) {
        (Some(buildset), _) => query::properties::of_buildset(tx, BuildsetId(buildset)).await?,
        (None, Some(change)) => query::properties::of_change(tx, muster_core::ChangeId(change)).await?,
        (None, None) => return Ok(Page::default()),
    };
    let mut items = Vec::with_capacity(properties.len());
    for (name, property) in properties.iter() {
        let value = muster_store::json_text(property.value())?;
        items.push(json!({"name": name, "source": property.source(), "value": value}));
    }
    Ok(in_memory(items, spec))
}

async fn projects(tx: &Tx, spec: &ResultSpec) -> Result<Page, Error> {
    let active = spec.filters.iter().find(|filter| filter.field.name == "active");
    let select = match (active, query::projects::TABLE.column("active")) {
        (Some(filter), Some(column)) if filter.values.len() == 1 => {
            let wanted = filter.values[0].as_bool().unwrap_or(false);
            Select::all().and(column, filter.op, vec![wanted.into()])
        }
        _ => Select::all(),
    };
    let shown = active.and_then(|filter| filter.values.first()).and_then(Value::as_bool);
    let found = query::projects::list(tx, &select).await?;
    let rest = ResultSpec {
        filters: spec.filters.iter().filter(|filter| filter.field.name != "active").cloned().collect(),
        ..spec.clone()
    };
    Ok(in_memory(found.iter().map(|project| resources::project(project, shown)).collect(), &rest))
}

/// Lists that a configuration bounds: they are read whole.
async fn small_list(
    tx: &Tx,
    resource: Resource,
    scope: &Scope<'_>,
    args: &Args,
) -> Result<Vec<Value>, Error> {
    let all = Select::all();
    match resource {
        Resource::Builder => builders(tx, scope, args).await,
        Resource::Worker => {
            let found = query::workers::list(tx, &all).await?;
            let builder = scope.builder().await?;
            Ok(found
                .into_iter()
                .filter_map(|worker| worker_within(worker, scope.master(), builder))
                .collect())
        }
        Resource::Master => {
            let mut found = query::masters::list(tx, &all).await?;
            if let Some(builder) = scope.builder().await? {
                let builder = query::builders::by_id(tx, builder).await?;
                let masters = builder.map(|builder| builder.masters).unwrap_or_default();
                found.retain(|master| masters.contains(&master.id));
            }
            Ok(found.iter().map(resources::master).collect())
        }
        Resource::Scheduler => {
            let mut found = query::masters::schedulers(tx, &all).await?;
            if let Some(owner) = scope.master() {
                found.retain(|scheduler| scheduler.master.as_ref().is_some_and(|master| master.id == owner));
            }
            let troubles = troubles::of_schedulers(tx).await?;
            Ok(found.iter().map(|scheduler| resources::scheduler_with(scheduler, &troubles)).collect())
        }
        Resource::ChangeSource => {
            let mut found = query::masters::change_sources(tx, &all).await?;
            if let Some(owner) = scope.master() {
                found.retain(|source| source.master.as_ref().is_some_and(|master| master.id == owner));
            }
            Ok(found.iter().map(resources::changesource).collect())
        }
        // Everything else has no list, or one that is read elsewhere.
        _ => Ok(Vec::new()),
    }
}

async fn builders(tx: &Tx, scope: &Scope<'_>, args: &Args) -> Result<Vec<Value>, Error> {
    let mut found = query::builders::list(tx, &Select::all()).await?;
    if let Some(master) = scope.master() {
        found.retain(|builder| builder.masters.contains(&master));
    }
    if let Some(project) = args.int("projectid") {
        found.retain(|builder| builder.project.is_some_and(|id| id.0 == project));
    }
    if args.text("workerid").is_some() {
        let worker = scope.worker().await?;
        let configured = worker.map(|worker| worker.configured_on).unwrap_or_default();
        found.retain(|builder| configured.iter().any(|(_, id)| *id == builder.id));
    }
    Ok(found.iter().map(resources::builder).collect())
}

/// A worker as seen from a master or a builder: only what is configured there. `None` when it isn't configured there.
pub(super) fn worker_within(
    mut worker: Worker,
    master: Option<muster_core::MasterId>,
    builder: Option<muster_core::BuilderId>,
) -> Option<Value> {
    if master.is_none() && builder.is_none() {
        return Some(resources::worker(&worker));
    }
    worker.configured_on.retain(|(on_master, on_builder)| {
        master.is_none_or(|master| master == *on_master)
            && builder.is_none_or(|builder| builder == *on_builder)
    });
    worker.connected_to.retain(|connected| master.is_none_or(|master| master == *connected));
    (!worker.configured_on.is_empty()).then(|| resources::worker(&worker))
}
