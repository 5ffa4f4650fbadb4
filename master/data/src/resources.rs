//! The shapes of REST and of events (`docs/compat/www-api.md` A.4): one function for each resource.

use std::collections::BTreeMap;

use muster_core::{
    Branch, Build, BuildData, BuildRequest, Builder, Buildset, Change, ChangeSource, Codebase, Commit, Log,
    Master, Patch, Project, Properties, Results, Scheduler, SchedulerId, SourceStamp, Step, TestResult,
    TestResultSet, Timestamp, Worker,
};
use muster_store::troubles::Trouble;
use serde_json::{Map, Value, json};

/// What tables and REST say for "no result yet" of requests and buildsets.
const NO_RESULTS: i64 = -1;

/// A build. Its properties are empty here; who asks for some puts them in.
pub fn build(build: &Build) -> Value {
    json!({
        "buildid": build.id.0,
        "number": build.number,
        "builderid": build.builder.0,
        "buildrequestid": build.request.0,
        "workerid": build.worker.map(|worker| worker.0),
        "masterid": build.master.0,
        "started_at": build.started_at.0,
        "complete": build.complete_at.is_some(),
        "complete_at": seconds(build.complete_at),
        "locks_duration_s": build.locks_duration_s,
        "results": build.results.map(Results::code),
        "state_string": build.state_string,
        "properties": {},
    })
}

/// A build request. Its properties are null here; who asks for some puts in those of its buildset.
pub fn build_request(request: &BuildRequest) -> Value {
    json!({
        "buildrequestid": request.id.0,
        "buildsetid": request.buildset.0,
        "builderid": request.builder.0,
        "priority": request.priority,
        "claimed": request.claim.is_some(),
        "claimed_at": request.claim.map(|claim| claim.at.0),
        "claimed_by_masterid": request.claim.map(|claim| claim.master.0),
        "complete": request.complete,
        "complete_at": seconds(request.complete_at),
        "results": request.results.map_or(NO_RESULTS, Results::code),
        "submitted_at": request.submitted_at.0,
        "waited_for": request.waited_for,
        "properties": null,
    })
}

/// A buildset with its source versions.
pub fn buildset(buildset: &Buildset) -> Value {
    json!({
        "bsid": buildset.id.0,
        "external_idstring": buildset.external_idstring,
        "reason": buildset.reason,
        "rebuilt_buildid": buildset.rebuilt_build.map(|build| build.0),
        "submitted_at": buildset.submitted_at.0,
        "complete": buildset.complete_at.is_some(),
        "complete_at": seconds(buildset.complete_at),
        "results": buildset.results.map_or(NO_RESULTS, Results::code),
        "sourcestamps": buildset.sourcestamps.iter().map(sourcestamp).collect::<Vec<_>>(),
        "parent_buildid": buildset.parent_build.map(|build| build.0),
        "parent_relationship": buildset.parent_relationship,
    })
}

/// A change with its source version.
pub fn change(change: &Change) -> Value {
    json!({
        "changeid": change.id.0,
        "parent_changeids": change.parent.iter().map(|parent| parent.0).collect::<Vec<_>>(),
        "author": change.author,
        "committer": change.committer,
        "files": change.files,
        "comments": change.comments,
        "revision": change.revision,
        "when_timestamp": change.when.0,
        "branch": change.branch,
        "category": change.category,
        "revlink": change.revlink,
        "properties": properties(&change.properties),
        "repository": change.repository,
        "project": change.project,
        "codebase": change.codebase,
        "sourcestamp": sourcestamp(&change.sourcestamp),
    })
}

/// A source version.
pub fn sourcestamp(source: &SourceStamp) -> Value {
    json!({
        "ssid": source.id.0,
        "revision": source.revision,
        "branch": source.branch,
        "repository": source.repository,
        "project": source.project,
        "codebase": source.codebase,
        "patch": source.patch.as_ref().map(patch),
        "created_at": source.created_at.0,
    })
}

/// A patch; REST never shows its body.
fn patch(patch: &Patch) -> Value {
    json!({
        "patchid": patch.id,
        "body": null,
        "level": patch.level,
        "subdir": patch.subdir,
        "author": patch.author,
        "comment": patch.comment,
    })
}

/// A step.
pub fn step(step: &Step) -> Value {
    json!({
        "stepid": step.id.0,
        "number": step.number,
        "name": step.name,
        "buildid": step.build.0,
        "started_at": seconds(step.started_at),
        "locks_acquired_at": seconds(step.locks_acquired_at),
        "complete": step.complete_at.is_some(),
        "complete_at": seconds(step.complete_at),
        "results": step.results.map(Results::code),
        "state_string": step.state_string,
        "urls": step.urls,
        "hidden": step.hidden,
    })
}

/// A log, without its lines.
pub fn log(log: &Log) -> Value {
    json!({
        "logid": log.id.0,
        "name": log.name,
        "slug": log.slug,
        "stepid": log.step.0,
        "complete": log.complete,
        "num_lines": log.num_lines,
        "type": log.kind.letter(),
    })
}

/// A builder.
pub fn builder(builder: &Builder) -> Value {
    json!({
        "builderid": builder.id.0,
        "name": builder.name,
        "masterids": builder.masters.iter().map(|master| master.0).collect::<Vec<_>>(),
        "description": builder.description,
        "description_format": builder.description_format,
        "description_html": builder.description_html,
        "projectid": builder.project.map(|project| project.0),
        "tags": builder.tags,
    })
}

/// A worker.
pub fn worker(worker: &Worker) -> Value {
    let connected: Vec<Value> =
        worker.connected_to.iter().map(|master| json!({"masterid": master.0})).collect();
    let configured = worker.configured_on.iter();
    let configured: Vec<Value> =
        configured.map(|(master, builder)| json!({"masterid": master.0, "builderid": builder.0})).collect();
    json!({
        "workerid": worker.id.0,
        "name": worker.name,
        "connected_to": connected,
        "configured_on": configured,
        "workerinfo": worker.info,
        "paused": worker.paused,
        "pause_reason": worker.pause_reason,
        "graceful": worker.graceful,
    })
}

/// A master.
pub fn master(master: &Master) -> Value {
    json!({
        "masterid": master.id.0,
        "name": master.name,
        "active": master.active,
        "last_active": master.last_active.0,
    })
}

/// A scheduler with its owner.
pub fn scheduler(scheduler: &Scheduler) -> Value {
    json!({
        "schedulerid": scheduler.id.0,
        "name": scheduler.name,
        "enabled": scheduler.enabled,
        "master": scheduler.master.as_ref().map(master),
    })
}

/// The same, with what it can't do. That is no field of Buildbot's, so it is there only when there is something to say.
pub fn scheduler_with(row: &Scheduler, troubles: &BTreeMap<SchedulerId, Trouble>) -> Value {
    let mut item = scheduler(row);
    if let Some(trouble) = troubles.get(&row.id) {
        item["trouble"] = json!({"since": trouble.since.0, "text": trouble.text});
    }
    item
}

/// A change source with its owner.
pub fn changesource(source: &ChangeSource) -> Value {
    json!({
        "changesourceid": source.id.0,
        "name": source.name,
        "master": source.master.as_ref().map(master),
    })
}

/// A project. `active` is null unless the list was filtered by it; then it is that value.
pub fn project(project: &Project, active: Option<bool>) -> Value {
    json!({
        "projectid": project.id.0,
        "name": project.name,
        "slug": project.slug,
        "active": active,
        "description": project.description,
        "description_format": project.description_format,
        "description_html": project.description_html,
    })
}

/// A codebase of a project.
pub fn codebase(codebase: &Codebase) -> Value {
    json!({
        "codebaseid": codebase.id.0,
        "projectid": codebase.project.0,
        "name": codebase.name,
        "slug": codebase.slug,
    })
}

/// A commit of a codebase.
pub fn commit(commit: &Commit) -> Value {
    json!({
        "commitid": commit.id.0,
        "codebaseid": commit.codebase.0,
        "author": commit.author,
        "committer": commit.committer,
        "comments": commit.comments,
        "when_timestamp": commit.when.0,
        "revision": commit.revision,
        "parent_commitid": commit.parent.map(|parent| parent.0),
    })
}

/// A branch of a codebase.
pub fn branch(branch: &Branch) -> Value {
    json!({
        "branchid": branch.id.0,
        "codebaseid": branch.codebase.0,
        "name": branch.name,
        "commitid": branch.commit.map(|commit| commit.0),
        "last_timestamp": branch.last_timestamp.0,
    })
}

/// Data of a build; REST shows its value at a path of its own only.
pub fn build_data(data: &BuildData) -> Value {
    json!({
        "buildid": data.build.0,
        "name": data.name,
        "length": data.length,
        "value": null,
        "source": data.source,
    })
}

/// A set of test results.
pub fn test_result_set(set: &TestResultSet) -> Value {
    json!({
        "test_result_setid": set.id.0,
        "builderid": set.builder.0,
        "buildid": set.build.0,
        "stepid": set.step.0,
        "description": set.description,
        "category": set.category,
        "value_unit": set.value_unit,
        "tests_passed": set.tests_passed,
        "tests_failed": set.tests_failed,
        "complete": set.complete,
    })
}

/// The result of a test.
pub fn test_result(result: &TestResult) -> Value {
    json!({
        "test_resultid": result.id,
        "builderid": result.builder.0,
        "test_result_setid": result.set.0,
        "test_name": result.test_name,
        "test_code_path": result.code_path,
        "line": result.line,
        "duration_ns": result.duration_ns,
        "value": result.value,
    })
}

/// Properties as `{name: [value, source]}`.
pub fn properties(properties: &Properties) -> Value {
    let pair = |(name, property): (&str, &muster_core::Property)| {
        (name.to_owned(), json!([property.value(), property.source()]))
    };
    Value::Object(properties.iter().map(pair).collect::<Map<_, _>>())
}

fn seconds(moment: Option<Timestamp>) -> Option<i64> {
    moment.map(|moment| moment.0)
}
