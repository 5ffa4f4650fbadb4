//! Single things.

use muster_core::{
    BuilderId, BuildsetId, ChangeSourceId, Project, ProjectId, RequestId, SchedulerId, SourceStampId,
};
use muster_store::{
    Tx,
    query::{self, properties::Wanted},
    troubles,
};
use serde_json::{Value, json};

use super::{
    Args, Error, Resource, ResultSpec, Scope, codebases, lists::worker_within, long::wanted_properties,
};
use crate::{resources, views::waits_because};

/// The one `resource` that a path names; `None` when it isn't there.
pub(super) async fn read(
    tx: &Tx,
    resource: Resource,
    args: &Args,
    spec: &ResultSpec,
) -> Result<Option<Value>, Error> {
    let scope = Scope::new(tx, args);
    let id = |name: &str| args.int(name).unwrap_or(0);
    let found = match resource {
        Resource::Build => return build(tx, &scope, spec).await,
        Resource::BuildRequest => return request(tx, RequestId(id("buildrequestid")), spec).await,
        Resource::Codebase => codebases::codebase(tx, args).await?,
        Resource::Branch => codebases::branch(tx, args).await?,
        Resource::Commit => codebases::commit(tx, args).await?,
        Resource::CommitGraph => codebases::commit_graph(tx, args).await?,
        Resource::BuildData => codebases::data_of_build(tx, &scope, args).await?,
        Resource::TestResultSet => codebases::test_result_set(tx, args).await?,
        Resource::Properties => return Ok(Some(properties(tx, &scope, args).await?)),
        Resource::Builder => builder(tx, &scope).await?,
        Resource::Master => master(tx, &scope).await?,
        Resource::Scheduler => {
            let scheduler = query::masters::scheduler(tx, SchedulerId(id("schedulerid"))).await?;
            let owned = scheduler.filter(|it| owned_by(it.master.as_ref(), &scope));
            let troubles = troubles::of_schedulers(tx).await?;
            owned.as_ref().map(|scheduler| resources::scheduler_with(scheduler, &troubles))
        }
        Resource::ChangeSource => {
            let source = query::masters::change_source(tx, ChangeSourceId(id("changesourceid"))).await?;
            let owned = source.filter(|it| owned_by(it.master.as_ref(), &scope));
            owned.as_ref().map(resources::changesource)
        }
        Resource::Buildset => {
            query::buildsets::by_id(tx, BuildsetId(id("bsid"))).await?.as_ref().map(resources::buildset)
        }
        Resource::Change => match scope.change() {
            Some(change) => query::changes::by_id(tx, change).await?.as_ref().map(resources::change),
            None => None,
        },
        Resource::SourceStamp => query::sourcestamps::by_id(tx, SourceStampId(id("ssid")))
            .await?
            .as_ref()
            .map(resources::sourcestamp),
        Resource::Step => match scope.step().await? {
            Some(step) => query::steps::by_id(tx, step).await?.as_ref().map(resources::step),
            None => None,
        },
        Resource::Log => scope.log().await?.as_ref().map(resources::log),
        Resource::Worker => {
            let builder = scope.builder().await?;
            scope.worker().await?.and_then(|worker| worker_within(worker, scope.master(), builder))
        }
        Resource::Project => project(tx, args).await?.map(|project| resources::project(&project, None)),
        // These are lists only, or are read elsewhere.
        Resource::Property
        | Resource::ForceScheduler
        | Resource::LogChunk
        | Resource::TestResult
        | Resource::RootLink
        | Resource::Spec => None,
    };
    Ok(found)
}

async fn build(tx: &Tx, scope: &Scope<'_>, spec: &ResultSpec) -> Result<Option<Value>, Error> {
    let Some(build) = scope.build_row().await? else { return Ok(None) };
    let mut item = resources::build(&build);
    if let Some(wanted) = wanted_properties(spec) {
        let mut found = query::properties::of_builds(tx, &[build.id.0], &wanted).await?;
        item["properties"] = resources::properties(&found.remove(&build.id.0).unwrap_or_default());
    }
    Ok(Some(item))
}

async fn request(tx: &Tx, id: RequestId, spec: &ResultSpec) -> Result<Option<Value>, Error> {
    let Some(request) = query::requests::by_id(tx, id).await? else { return Ok(None) };
    let mut item = resources::build_request(&request);
    if let Some(wanted) = wanted_properties(spec) {
        let mut found = query::properties::of_buildsets(tx, &[request.buildset.0], &wanted).await?;
        item["properties"] = resources::properties(&found.remove(&request.buildset.0).unwrap_or_default());
    }
    if !request.complete && request.claim.is_none() {
        // Not a field of Buildbot's, so it is there only when there is something to say.
        if let Some(why) = waits_because(tx, &[(id, request.builder)]).await?.remove(&id) {
            item["waits_because"] = why.into();
        }
    }
    Ok(Some(item))
}

/// Properties of a build or a buildset; empty when it isn't there.
async fn properties(tx: &Tx, scope: &Scope<'_>, args: &Args) -> Result<Value, Error> {
    if let Some(buildset) = args.int("bsid") {
        let found = query::properties::of_buildset(tx, BuildsetId(buildset)).await?;
        return Ok(resources::properties(&found));
    }
    let Some(build) = scope.build().await? else { return Ok(json!({})) };
    let mut found = query::properties::of_builds(tx, &[build.0], &Wanted::All).await?;
    Ok(resources::properties(&found.remove(&build.0).unwrap_or_default()))
}

async fn builder(tx: &Tx, scope: &Scope<'_>) -> Result<Option<Value>, Error> {
    let Some(BuilderId(id)) = scope.builder().await? else { return Ok(None) };
    let builder = query::builders::by_id(tx, BuilderId(id)).await?;
    let there =
        builder.filter(|builder| scope.master().is_none_or(|master| builder.masters.contains(&master)));
    Ok(there.as_ref().map(resources::builder))
}

async fn master(tx: &Tx, scope: &Scope<'_>) -> Result<Option<Value>, Error> {
    let Some(id) = scope.master() else { return Ok(None) };
    if let Some(builder) = scope.builder().await? {
        let builder = query::builders::by_id(tx, builder).await?;
        if !builder.is_some_and(|builder| builder.masters.contains(&id)) {
            return Ok(None);
        }
    }
    Ok(query::masters::by_id(tx, id).await?.as_ref().map(resources::master))
}

async fn project(tx: &Tx, args: &Args) -> Result<Option<Project>, Error> {
    let found = match (args.int("projectid"), args.text("projectname")) {
        (Some(id), _) => query::projects::by_id(tx, ProjectId(id)).await?,
        (None, Some(name)) => query::projects::by_name(tx, name).await?,
        (None, None) => None,
    };
    Ok(found)
}

fn owned_by(owner: Option<&muster_core::Master>, scope: &Scope<'_>) -> bool {
    scope.master().is_none_or(|wanted| owner.is_some_and(|owner| owner.id == wanted))
}
