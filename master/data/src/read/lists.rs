//! Lists. A parent that isn't there has none.

use muster_core::{BuildId, BuildsetId, SourceStampId, Worker};
use muster_store::{
    Tx,
    query::{self, Select, Table, properties::Wanted},
};
use serde_json::{Value, json};

use super::{
    Args, Error, Page, Resource, ResultSpec, Scope,
    apply::{Plan, check_length, in_memory, with},
    codebases,
};
use crate::resources;

/// The list of `resource` that a path names; `None` where the build on its way isn't there.
pub(super) async fn read(
    tx: &Tx,
    resource: Resource,
    args: &Args,
    spec: &ResultSpec,
) -> Result<Option<Page>, Error> {
    let scope = Scope::new(tx, args);
    let page = match resource {
        Resource::Build => builds(tx, &scope, args, spec).await,
        Resource::BuildRequest => requests(tx, &scope, spec).await,
        Resource::Buildset => {
            let plan = Plan::new(&query::buildsets::TABLE, spec);
            let found = query::buildsets::list(tx, &plan.select).await?;
            plan.finish(found.iter().map(resources::buildset).collect())
        }
        Resource::Change => changes(tx, &scope, args, spec).await,
        Resource::SourceStamp => sourcestamps(tx, args, spec).await,
        Resource::Step => {
            let Some(build) = scope.build().await? else { return Ok(None) };
            let select = query::steps::of_build(all_by(&query::steps::TABLE, "number"), build);
            let found = query::steps::list(tx, &select).await?;
            Ok(in_memory(found.iter().map(resources::step).collect(), spec))
        }
        Resource::Log => {
            let Some(step) = scope.step().await? else { return Ok(Some(Page::default())) };
            let found = query::logs::list(tx, &query::logs::of_step(Select::all(), step)).await?;
            Ok(in_memory(found.iter().map(resources::log).collect(), spec))
        }
        Resource::Property => raw_properties(tx, args, spec).await,
        Resource::Project => projects(tx, spec).await,
        Resource::Codebase => codebases::codebases(tx, spec).await,
        Resource::Branch => codebases::branches(tx, args, spec).await,
        Resource::Commit => codebases::commits(tx, args, spec).await,
        Resource::BuildData => codebases::build_data(tx, &scope, spec).await,
        Resource::TestResult => codebases::test_results(tx, args, spec).await,
        Resource::TestResultSet => codebases::test_result_sets(tx, &scope, args, spec).await,
        other => {
            let items = small_list(tx, other, &scope, args).await?;
            check_length(items.len())?;
            Ok(in_memory(items, spec))
        }
    };
    page.map(Some)
}

fn all_by(table: &Table, field: &str) -> Select {
    match table.column(field) {
        Some(column) => Select::all().order_by(column, false),
        None => Select::all(),
    }
}

async fn builds(tx: &Tx, scope: &Scope<'_>, args: &Args, spec: &ResultSpec) -> Result<Page, Error> {
    let table = &query::builds::TABLE;
    let mut plan = Plan::new(table, spec);
    if scope.names_builder() {
        let Some(builder) = scope.builder().await? else { return Ok(Page::default()) };
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
    let found = query::builds::list(tx, &plan.select).await?;
    let mut items: Vec<Value> = found.iter().map(resources::build).collect();
    if let Some(wanted) = wanted_properties(spec) {
        let ids: Vec<i64> = found.iter().map(|build| build.id.0).collect();
        let mut properties = query::properties::of_builds(tx, &ids, &wanted).await?;
        for (item, id) in items.iter_mut().zip(ids) {
            item["properties"] = resources::properties(&properties.remove(&id).unwrap_or_default());
        }
    }
    plan.finish(items)
}

async fn requests(tx: &Tx, scope: &Scope<'_>, spec: &ResultSpec) -> Result<Page, Error> {
    let table = &query::requests::TABLE;
    let mut plan = Plan::new(table, spec);
    if let Some(builder) = scope.builder().await? {
        plan.select = with(plan.select, table, "builderid", builder.0);
    }
    let found = query::requests::list(tx, &plan.select).await?;
    let mut items: Vec<Value> = found.iter().map(resources::build_request).collect();
    if let Some(wanted) = wanted_properties(spec) {
        let buildsets: Vec<i64> = found.iter().map(|request| request.buildset.0).collect();
        let properties = query::properties::of_buildsets(tx, &buildsets, &wanted).await?;
        for (item, buildset) in items.iter_mut().zip(buildsets) {
            let found = properties.get(&buildset).cloned().unwrap_or_default();
            item["properties"] = resources::properties(&found);
        }
    }
    plan.finish(items)
}

/// Which properties `property=` asks for.
pub(super) fn wanted_properties(spec: &ResultSpec) -> Option<Wanted> {
    match &spec.properties[..] {
        [] => None,
        names if names.iter().any(|name| name == "*") => Some(Wanted::All),
        names => Some(Wanted::Named(names.to_vec())),
    }
}

async fn changes(tx: &Tx, scope: &Scope<'_>, args: &Args, spec: &ResultSpec) -> Result<Page, Error> {
    if args.text("buildid").is_some() || args.text("build_number").is_some() {
        let Some(build) = scope.build_row().await? else { return Ok(Page::default()) };
        let found = query::changes::of_build(tx, &build).await?;
        return Ok(in_memory(found.iter().map(resources::change).collect(), spec));
    }
    let mut plan = Plan::new(&query::changes::TABLE, spec);
    if let Some(source) = args.int("ssid") {
        plan.select = query::changes::of_sourcestamp(plan.select, SourceStampId(source));
    }
    let mut found = query::changes::list(tx, &plan.select).await?;
    if spec.order.is_empty() {
        // Buildbot turns every page of changes round; where an order was asked for, it is kept instead.
        found.reverse();
    }
    plan.finish(found.iter().map(resources::change).collect())
}

async fn sourcestamps(tx: &Tx, args: &Args, spec: &ResultSpec) -> Result<Page, Error> {
    if args.text("buildsetid").is_some() {
        let Some(buildset) = args.int("buildsetid") else { return Ok(Page::default()) };
        let mut found = query::sourcestamps::of_buildsets(tx, &[buildset]).await?;
        let found = found.remove(&BuildsetId(buildset)).unwrap_or_default();
        return Ok(in_memory(found.iter().map(resources::sourcestamp).collect(), spec));
    }
    let plan = Plan::new(&query::sourcestamps::TABLE, spec);
    let found = query::sourcestamps::list(tx, &plan.select).await?;
    let mut page = plan.finish(found.iter().map(resources::sourcestamp).collect())?;
    if plan.is_page() {
        // Buildbot reads them all, and counts them before it takes the page out.
        page.total =
            usize::try_from(query::sourcestamps::count(tx, &plan.select).await?).unwrap_or(page.total);
    }
    Ok(page)
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
            Ok(found.iter().map(resources::scheduler).collect())
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
