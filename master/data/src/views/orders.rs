//! What an order is about, for the rules that decide who may give it.

use muster_core::policy::{Target, TargetKind};
use muster_core::{BuildId, RequestId};
use muster_store::{
    Error, Result, Tx, builds,
    query::{self, properties::Wanted},
    runs,
};

use crate::Data;

impl Data {
    /// A build as rules see it: its builder's name, and its owner if `with_owner`.
    pub async fn build_as_target(&self, build: BuildId, with_owner: bool) -> Result<Target> {
        self.db().read("build_as_target", |tx| async move { target(&tx, build, with_owner).await }).await
    }

    /// The builds of a request that run.
    pub async fn running_builds_of(&self, request: RequestId) -> Result<Vec<BuildId>> {
        let builds = self
            .db()
            .read("running_builds_of", |tx| async move { runs::builds_of_request(&tx, request).await });
        builds.await
    }
}

async fn target(tx: &Tx, build: BuildId, with_owner: bool) -> Result<Target> {
    let unknown = Target::of(TargetKind::Build);
    let Some(build) = builds::by_id(tx, build).await? else { return Ok(unknown) };
    let Some(builder) = query::builders::by_id(tx, build.builder).await? else { return Ok(unknown) };
    let owner = match with_owner {
        true => query::requests::by_id(tx, build.request).await?.map(|request| request.buildset),
        false => None,
    };
    let owner = match owner {
        Some(set) => {
            let wanted = Wanted::Named(vec!["owner".to_owned()]);
            let mut of_sets = query::properties::of_buildsets(tx, &[set.0], &wanted).await?;
            let properties = of_sets.remove(&set.0).unwrap_or_default();
            properties.get("owner").and_then(|owner| owner.as_str()).map(str::to_owned)
        }
        None => None,
    };
    Ok::<_, Error>(Target::build(builder.name, owner))
}
