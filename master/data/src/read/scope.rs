//! What the named parts of a path stand for.

use muster_core::{Build, BuildId, Builder, BuilderId, ChangeId, LogId, MasterId, StepId, WorkerId};
use muster_store::{Result, Tx, builders, query};

use super::Args;

/// The rows that a path names on its way; `None` where one isn't there.
pub struct Scope<'a> {
    tx: &'a Tx,
    args: &'a Args,
}

impl<'a> Scope<'a> {
    /// The scope of a path.
    pub fn new(tx: &'a Tx, args: &'a Args) -> Scope<'a> {
        Scope { tx, args }
    }

    /// The master it names.
    pub fn master(&self) -> Option<MasterId> {
        self.args.int("masterid").map(MasterId)
    }

    /// Whether it names a builder.
    pub fn names_builder(&self) -> bool {
        self.args.text("builderid").is_some() || self.args.text("buildername").is_some()
    }

    /// The builder, by id (which isn't looked up) or by name.
    pub async fn builder(&self) -> Result<Option<BuilderId>> {
        if let Some(id) = self.args.int("builderid") {
            return Ok(Some(BuilderId(id)));
        }
        match self.args.text("buildername") {
            Some(name) => builders::by_name(self.tx, name).await,
            None => Ok(None),
        }
    }

    /// The build's id, by id (which isn't looked up) or by builder and number.
    pub async fn build(&self) -> Result<Option<BuildId>> {
        if let Some(id) = self.args.int("buildid") {
            return Ok(Some(BuildId(id)));
        }
        Ok(self.build_row().await?.map(|build| build.id))
    }

    /// The build itself.
    pub async fn build_row(&self) -> Result<Option<Build>> {
        if let Some(id) = self.args.int("buildid") {
            return query::builds::by_id(self.tx, BuildId(id)).await;
        }
        match (self.builder().await?, self.args.int("build_number")) {
            (Some(builder), Some(number)) => query::builds::by_number(self.tx, builder, number).await,
            _ => Ok(None),
        }
    }

    /// The step, by id (which isn't looked up) or by build and name or number.
    pub async fn step(&self) -> Result<Option<StepId>> {
        if let Some(id) = self.args.int("stepid") {
            return Ok(Some(StepId(id)));
        }
        let Some(build) = self.build().await? else { return Ok(None) };
        let step = match (self.args.int("step_number"), self.args.text("step_name")) {
            (Some(number), _) => query::steps::by_number(self.tx, build, number).await?,
            (None, Some(name)) => query::steps::by_name(self.tx, build, name).await?,
            (None, None) => None,
        };
        Ok(step.map(|step| step.id))
    }

    /// The log, by id or by step and slug.
    pub async fn log(&self) -> Result<Option<muster_core::Log>> {
        if let Some(id) = self.args.int("logid") {
            return query::logs::by_id(self.tx, LogId(id)).await;
        }
        match (self.step().await?, self.args.text("log_slug")) {
            (Some(step), Some(slug)) => query::logs::by_slug(self.tx, step, slug).await,
            _ => Ok(None),
        }
    }

    /// The worker, by id or by name.
    pub async fn worker(&self) -> Result<Option<muster_core::Worker>> {
        match (self.args.int("workerid"), self.args.text("name")) {
            (Some(id), _) => query::workers::by_id(self.tx, WorkerId(id)).await,
            (None, Some(name)) => query::workers::by_name(self.tx, name).await,
            (None, None) => Ok(None),
        }
    }

    /// The change it names.
    pub fn change(&self) -> Option<ChangeId> {
        self.args.int("changeid").map(ChangeId)
    }
}

/// The name of the builder that a path names.
pub(super) async fn builder_name(tx: &Tx, args: &Args) -> Result<Option<String>> {
    let Some(id) = Scope::new(tx, args).builder().await? else { return Ok(None) };
    Ok(query::builders::by_id(tx, id).await?.map(|Builder { name, .. }| name))
}
