//! Codebases, their branches and commits, and data and test results of builds: what pollers and steps record beside the
//! builds themselves.

use muster_core::{BranchId, CodebaseId, CommitId, ProjectId, TestResultSet, TestResultSetId};
use muster_store::{
    Tx,
    query::{self, Table, test_results},
};
use serde_json::{Value, json};

use super::{
    Args, Error, Page, ResultSpec, Scope,
    apply::{Plan, in_memory, with},
};
use crate::resources;

/// How many generations back a common ancestor of two commits is looked for; Buildbot looks as far.
const GENERATIONS: i64 = 100;

pub(super) async fn codebases(tx: &Tx, spec: &ResultSpec) -> Result<Page, Error> {
    let plan = Plan::new(&query::codebases::TABLE, spec);
    let found = query::codebases::list(tx, &plan.select).await?;
    plan.finish(found.iter().map(resources::codebase).collect())
}

pub(super) async fn branches(tx: &Tx, args: &Args, spec: &ResultSpec) -> Result<Page, Error> {
    let plan = within(&query::branches::TABLE, spec, "codebaseid", args.int("codebaseid"));
    let found = query::branches::list(tx, &plan.select).await?;
    plan.finish(found.iter().map(resources::branch).collect())
}

pub(super) async fn build_data(tx: &Tx, scope: &Scope<'_>, spec: &ResultSpec) -> Result<Page, Error> {
    let Some(build) = scope.build().await? else { return Ok(Page::default()) };
    let found = query::build_data::of_build(tx, build).await?;
    Ok(in_memory(found.iter().map(resources::build_data).collect(), spec))
}

/// How the sets are found, or a range of them, which is short.
pub(super) async fn test_result_sets(
    tx: &Tx,
    scope: &Scope<'_>,
    args: &Args,
    spec: &ResultSpec,
) -> Result<Result<Plan, Page>, Error> {
    if let (Some(from), Some(to)) = commit_range(args) {
        let sets = sets_since(tx, from, to).await?;
        return Ok(Err(in_memory(sets.iter().map(resources::test_result_set).collect(), spec)));
    }
    let mut plan = Plan::new(&test_results::SETS, spec);
    if scope.names_builder() {
        let Some(builder) = scope.builder().await? else { return Ok(Err(Page::default())) };
        plan.select = with(plan.select, &test_results::SETS, "builderid", builder.0);
    }
    for field in ["buildid", "stepid"] {
        if let Some(id) = args.int(field) {
            plan.select = with(plan.select, &test_results::SETS, field, id);
        }
    }
    Ok(Ok(plan))
}

/// The sets of the commits from an ancestor to another commit, both included; none when it is no ancestor.
async fn sets_since(tx: &Tx, from: CommitId, to: CommitId) -> Result<Vec<TestResultSet>, Error> {
    match ranges(tx, from, to).await? {
        Some((common, _, commits)) if common == from => {
            Ok(test_results::sets_of_commits(tx, &commits).await?)
        }
        _ => Ok(Vec::new()),
    }
}

pub(super) fn within(table: &'static Table, spec: &ResultSpec, field: &str, id: Option<i64>) -> Plan {
    let mut plan = Plan::new(table, spec);
    plan.select = with(plan.select, table, field, id.unwrap_or(0));
    plan
}

pub(super) async fn codebase(tx: &Tx, args: &Args) -> Result<Option<Value>, Error> {
    let found = match (args.int("codebaseid"), args.int("projectid"), args.text("codebasename")) {
        (Some(id), ..) => query::codebases::by_id(tx, CodebaseId(id)).await?,
        (None, Some(project), Some(name)) => query::codebases::by_name(tx, ProjectId(project), name).await?,
        _ => None,
    };
    Ok(found.as_ref().map(resources::codebase))
}

pub(super) async fn branch(tx: &Tx, args: &Args) -> Result<Option<Value>, Error> {
    let Some(id) = args.int("branchid") else { return Ok(None) };
    Ok(query::branches::by_id(tx, BranchId(id)).await?.as_ref().map(resources::branch))
}

pub(super) async fn commit(tx: &Tx, args: &Args) -> Result<Option<Value>, Error> {
    let found = match (args.int("commitid"), args.int("codebaseid"), args.text("revision")) {
        (Some(id), ..) => query::commits::by_id(tx, CommitId(id)).await?,
        (None, Some(codebase), Some(revision)) => {
            query::commits::by_revision(tx, CodebaseId(codebase), revision).await?
        }
        _ => None,
    };
    Ok(found.as_ref().map(resources::commit))
}

pub(super) async fn commit_graph(tx: &Tx, args: &Args) -> Result<Option<Value>, Error> {
    let (Some(from), Some(to)) = commit_range(args) else { return Ok(None) };
    let ids = |commits: Vec<CommitId>| commits.into_iter().map(|commit| commit.0).collect::<Vec<_>>();
    let found = ranges(tx, from, to).await?;
    Ok(found.map(|(common, to1, to2)| json!({"common": common.0, "to1": ids(to1), "to2": ids(to2)})))
}

pub(super) async fn data_of_build(tx: &Tx, scope: &Scope<'_>, args: &Args) -> Result<Option<Value>, Error> {
    let (Some(build), Some(name)) = (scope.build().await?, args.text("name")) else { return Ok(None) };
    Ok(query::build_data::by_name(tx, build, name).await?.as_ref().map(resources::build_data))
}

pub(super) async fn test_result_set(tx: &Tx, args: &Args) -> Result<Option<Value>, Error> {
    let Some(id) = args.int("test_result_setid") else { return Ok(None) };
    Ok(test_results::set(tx, TestResultSetId(id)).await?.as_ref().map(resources::test_result_set))
}

fn commit_range(args: &Args) -> (Option<CommitId>, Option<CommitId>) {
    (args.int("commitid1").map(CommitId), args.int("commitid2").map(CommitId))
}

/// The nearest common ancestor of two commits, and the way from it to each of them, both ends included.
async fn ranges(
    tx: &Tx,
    one: CommitId,
    other: CommitId,
) -> Result<Option<(CommitId, Vec<CommitId>, Vec<CommitId>)>, Error> {
    let of_one = query::commits::ancestry(tx, one, GENERATIONS).await?;
    let of_other = query::commits::ancestry(tx, other, GENERATIONS).await?;
    let Some(place) = of_other.iter().position(|commit| of_one.contains(commit)) else { return Ok(None) };
    let common = of_other[place];
    let way = |line: &[CommitId]| {
        let end = line.iter().position(|commit| *commit == common).unwrap_or(0);
        line[..=end].iter().rev().copied().collect::<Vec<_>>()
    };
    Ok(Some((common, way(&of_one), way(&of_other))))
}
