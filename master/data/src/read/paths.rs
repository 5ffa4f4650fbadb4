//! Paths below `/api/v2` and what they name (`docs/compat/www-api.md` A.2, A.3).

use Resource::{
    Branch, Build, BuildData, BuildRequest, Builder, Buildset, Change, ChangeSource, Codebase, Commit,
    CommitGraph, ForceScheduler, Log, LogChunk, Master, Project, Properties, Property, RootLink, Scheduler,
    SourceStamp, Spec, Step, TestResult, TestResultSet, Worker,
};

use super::{
    spec::{is_api_identifier, python_int},
    types::{self, Type},
};

/// What can stand at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Resource {
    Property,
    Branch,
    Build,
    BuildData,
    Builder,
    BuildRequest,
    Buildset,
    Change,
    ChangeSource,
    Codebase,
    Commit,
    CommitGraph,
    ForceScheduler,
    Log,
    LogChunk,
    Master,
    Project,
    RootLink,
    Scheduler,
    Properties,
    SourceStamp,
    Spec,
    Step,
    TestResult,
    TestResultSet,
    Worker,
}

impl Resource {
    /// Its fields.
    pub fn schema(self) -> &'static Type {
        match self {
            Property => &types::PROPERTY,
            Branch => &types::BRANCH,
            Build => &types::BUILD,
            BuildData => &types::BUILD_DATA,
            Builder => &types::BUILDER,
            BuildRequest => &types::BUILDREQUEST,
            Buildset => &types::BUILDSET,
            Change => &types::CHANGE,
            ChangeSource => &types::CHANGESOURCE,
            Codebase => &types::CODEBASE,
            Commit => &types::COMMIT,
            CommitGraph => &types::COMMIT_GRAPH,
            ForceScheduler => &types::FORCESCHEDULER,
            Log => &types::LOG,
            LogChunk => &types::LOGCHUNK,
            Master => &types::MASTER,
            Project => &types::PROJECT,
            RootLink => &types::ROOTLINK,
            Scheduler => &types::SCHEDULER,
            Properties => &types::SOURCEDPROPERTIES,
            SourceStamp => &types::SOURCESTAMP,
            Spec => &types::SPEC,
            Step => &types::STEP,
            TestResult => &types::TEST_RESULT,
            TestResultSet => &types::TEST_RESULT_SET,
            Worker => &types::WORKER,
        }
    }
}

/// How the things at a path are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A list, with its total.
    List,
    /// One thing, in a list of one.
    Single,
    /// The text of a log or a build's data itself; `attachment` asks the browser to store it.
    Raw {
        /// Whether a browser stores it instead of showing it.
        attachment: bool,
    },
}

/// One pattern of paths.
#[derive(Debug)]
pub struct Endpoint {
    /// `n:` is a number, `i:` an identifier, `s:` and `:` any text.
    pub pattern: &'static str,
    /// What is there.
    pub resource: Resource,
    /// How it is answered.
    pub kind: Kind,
}

/// The parts of a path that its pattern names.
#[derive(Debug, Default)]
pub struct Args(Vec<(&'static str, String)>);

impl Args {
    /// The number called `name`.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.text(name).and_then(python_int)
    }

    /// The text called `name`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

const fn list(pattern: &'static str, resource: Resource) -> Endpoint {
    Endpoint { pattern, resource, kind: Kind::List }
}

const fn single(pattern: &'static str, resource: Resource) -> Endpoint {
    Endpoint { pattern, resource, kind: Kind::Single }
}

const fn raw(pattern: &'static str) -> Endpoint {
    Endpoint { pattern, resource: LogChunk, kind: Kind::Raw { attachment: true } }
}

const fn raw_data(pattern: &'static str) -> Endpoint {
    Endpoint { pattern, resource: BuildData, kind: Kind::Raw { attachment: true } }
}

const fn raw_inline(pattern: &'static str) -> Endpoint {
    Endpoint { pattern, resource: LogChunk, kind: Kind::Raw { attachment: false } }
}

/// In the order in which they are tried: a number before a name.
pub static ENDPOINTS: &[Endpoint] = &[
    list("builds/n:buildid/property_list", Property),
    list("buildsets/n:bsid/properties_list", Property),
    list("changes/n:changeid/properties_list", Property),
    single("branches/n:branchid", Branch),
    list("codebases/n:codebaseid/branches", Branch),
    list("builds", Build),
    single("builds/n:buildid", Build),
    list("builders/n:builderid/builds", Build),
    list("builders/s:buildername/builds", Build),
    list("buildrequests/n:buildrequestid/builds", Build),
    list("builds/n:buildid/triggered_builds", Build),
    list("changes/n:changeid/builds", Build),
    list("workers/n:workerid/builds", Build),
    single("builders/n:builderid/builds/n:build_number", Build),
    single("builders/s:buildername/builds/n:build_number", Build),
    list("builds/n:buildid/data", BuildData),
    single("builds/n:buildid/data/i:name", BuildData),
    list("builders/n:builderid/builds/n:build_number/data", BuildData),
    list("builders/s:buildername/builds/n:build_number/data", BuildData),
    raw_data("builds/n:buildid/data/i:name/value"),
    single("builders/n:builderid/builds/n:build_number/data/i:name", BuildData),
    single("builders/s:buildername/builds/n:build_number/data/i:name", BuildData),
    raw_data("builders/n:builderid/builds/n:build_number/data/i:name/value"),
    raw_data("builders/s:buildername/builds/n:build_number/data/i:name/value"),
    list("builders", Builder),
    single("builders/n:builderid", Builder),
    single("builders/s:buildername", Builder),
    list("masters/n:masterid/builders", Builder),
    list("projects/n:projectid/builders", Builder),
    list("workers/n:workerid/builders", Builder),
    single("masters/n:masterid/builders/n:builderid", Builder),
    list("buildrequests", BuildRequest),
    single("buildrequests/n:buildrequestid", BuildRequest),
    list("builders/n:builderid/buildrequests", BuildRequest),
    list("buildsets", Buildset),
    single("buildsets/n:bsid", Buildset),
    list("changes", Change),
    single("changes/n:changeid", Change),
    list("builds/n:buildid/changes", Change),
    list("sourcestamps/n:ssid/changes", Change),
    list("builders/n:builderid/builds/n:build_number/changes", Change),
    list("changesources", ChangeSource),
    single("changesources/n:changesourceid", ChangeSource),
    list("masters/n:masterid/changesources", ChangeSource),
    single("masters/n:masterid/changesources/n:changesourceid", ChangeSource),
    list("codebases", Codebase),
    single("codebases/n:codebaseid", Codebase),
    single("projects/n:projectid/codebases/i:codebasename", Codebase),
    single("commits/n:commitid", Commit),
    list("codebases/n:codebaseid/commits", Commit),
    single("codebases/n:codebaseid/commits_by_revision/s:revision", Commit),
    single("codebases/n:codebaseid/commit_range/n:commitid1/n:commitid2/commits_common_parent", CommitGraph),
    list("forceschedulers", ForceScheduler),
    single("forceschedulers/i:schedulername", ForceScheduler),
    list("builders/:builderid/forceschedulers", ForceScheduler),
    single("logs/n:logid", Log),
    list("steps/n:stepid/logs", Log),
    single("steps/n:stepid/logs/i:log_slug", Log),
    list("builds/n:buildid/steps/i:step_name/logs", Log),
    list("builds/n:buildid/steps/n:step_number/logs", Log),
    single("builds/n:buildid/steps/i:step_name/logs/i:log_slug", Log),
    single("builds/n:buildid/steps/n:step_number/logs/i:log_slug", Log),
    list("builders/n:builderid/builds/n:build_number/steps/i:step_name/logs", Log),
    list("builders/n:builderid/builds/n:build_number/steps/n:step_number/logs", Log),
    list("builders/s:buildername/builds/n:build_number/steps/i:step_name/logs", Log),
    list("builders/s:buildername/builds/n:build_number/steps/n:step_number/logs", Log),
    single("builders/n:builderid/builds/n:build_number/steps/i:step_name/logs/i:log_slug", Log),
    single("builders/n:builderid/builds/n:build_number/steps/n:step_number/logs/i:log_slug", Log),
    single("builders/s:buildername/builds/n:build_number/steps/i:step_name/logs/i:log_slug", Log),
    single("builders/s:buildername/builds/n:build_number/steps/n:step_number/logs/i:log_slug", Log),
    single("logchunks", LogChunk),
    single("logs/n:logid/contents", LogChunk),
    raw("logs/n:logid/raw"),
    raw_inline("logs/n:logid/raw_inline"),
    single("steps/n:stepid/logs/i:log_slug/contents", LogChunk),
    raw("steps/n:stepid/logs/i:log_slug/raw"),
    raw_inline("steps/n:stepid/logs/i:log_slug/raw_inline"),
    single("builds/n:buildid/steps/i:step_name/logs/i:log_slug/contents", LogChunk),
    raw("builds/n:buildid/steps/i:step_name/logs/i:log_slug/raw"),
    raw_inline("builds/n:buildid/steps/i:step_name/logs/i:log_slug/raw_inline"),
    single("builds/n:buildid/steps/n:step_number/logs/i:log_slug/contents", LogChunk),
    raw("builds/n:buildid/steps/n:step_number/logs/i:log_slug/raw"),
    raw_inline("builds/n:buildid/steps/n:step_number/logs/i:log_slug/raw_inline"),
    single("builders/n:builderid/builds/n:build_number/steps/i:step_name/logs/i:log_slug/contents", LogChunk),
    raw("builders/n:builderid/builds/n:build_number/steps/i:step_name/logs/i:log_slug/raw"),
    raw_inline("builders/n:builderid/builds/n:build_number/steps/i:step_name/logs/i:log_slug/raw_inline"),
    single(
        "builders/n:builderid/builds/n:build_number/steps/n:step_number/logs/i:log_slug/contents",
        LogChunk,
    ),
    raw("builders/n:builderid/builds/n:build_number/steps/n:step_number/logs/i:log_slug/raw"),
    raw_inline("builders/n:builderid/builds/n:build_number/steps/n:step_number/logs/i:log_slug/raw_inline"),
    list("masters", Master),
    single("masters/n:masterid", Master),
    list("builders/n:builderid/masters", Master),
    single("builders/n:builderid/masters/n:masterid", Master),
    list("projects", Project),
    single("projects/i:projectname", Project),
    single("projects/n:projectid", Project),
    list("", RootLink),
    list("schedulers", Scheduler),
    single("schedulers/n:schedulerid", Scheduler),
    list("masters/n:masterid/schedulers", Scheduler),
    single("masters/n:masterid/schedulers/n:schedulerid", Scheduler),
    single("builds/n:buildid/properties", Properties),
    single("buildsets/n:bsid/properties", Properties),
    single("builders/n:builderid/builds/n:build_number/properties", Properties),
    list("sourcestamps", SourceStamp),
    single("sourcestamps/n:ssid", SourceStamp),
    list("buildsets/:buildsetid/sourcestamps", SourceStamp),
    list("application.spec", Spec),
    single("steps/n:stepid", Step),
    list("builds/n:buildid/steps", Step),
    single("builds/n:buildid/steps/i:step_name", Step),
    single("builds/n:buildid/steps/n:step_number", Step),
    list("builders/n:builderid/builds/n:build_number/steps", Step),
    list("builders/s:buildername/builds/n:build_number/steps", Step),
    single("builders/n:builderid/builds/n:build_number/steps/i:step_name", Step),
    single("builders/n:builderid/builds/n:build_number/steps/n:step_number", Step),
    single("builders/s:buildername/builds/n:build_number/steps/i:step_name", Step),
    single("builders/s:buildername/builds/n:build_number/steps/n:step_number", Step),
    list("test_result_sets/n:test_result_setid/results", TestResult),
    list("test_result_sets", TestResultSet),
    single("test_result_sets/n:test_result_setid", TestResultSet),
    list("builders/n:builderid/test_result_sets", TestResultSet),
    list("builders/s:buildername/test_result_sets", TestResultSet),
    list("builds/n:buildid/test_result_sets", TestResultSet),
    list("steps/n:stepid/test_result_sets", TestResultSet),
    list("codebases/n:codebaseid/commit_range/n:commitid1/n:commitid2/test_result_sets", TestResultSet),
    list("workers", Worker),
    single("workers/i:name", Worker),
    single("workers/n:workerid", Worker),
    list("builders/n:builderid/workers", Worker),
    list("masters/n:masterid/workers", Worker),
    single("builders/n:builderid/workers/i:name", Worker),
    single("builders/n:builderid/workers/n:workerid", Worker),
    single("masters/n:masterid/workers/i:name", Worker),
    single("masters/n:masterid/workers/n:workerid", Worker),
    list("masters/n:masterid/builders/n:builderid/workers", Worker),
    single("masters/n:masterid/builders/n:builderid/workers/i:name", Worker),
    single("masters/n:masterid/builders/n:builderid/workers/n:workerid", Worker),
];

/// The endpoint of a path, given by its decoded parts, and its named parts.
pub fn find(parts: &[String]) -> Option<(&'static Endpoint, Args)> {
    ENDPOINTS.iter().find_map(|endpoint| matched(endpoint.pattern, parts).map(|args| (endpoint, args)))
}

fn matched(pattern: &'static str, parts: &[String]) -> Option<Args> {
    let mut args = Args::default();
    let mut parts = parts.iter();
    for element in pattern.split('/').filter(|element| !element.is_empty()) {
        let part = parts.next()?.as_str();
        let Some((form, name)) = element.split_once(':') else {
            if element == part {
                continue;
            }
            return None;
        };
        let fits = match form {
            "n" => python_int(part).is_some(),
            "i" => is_api_identifier(part),
            _ => true,
        };
        if !fits {
            return None;
        }
        args.0.push((name, part.to_owned()));
    }
    parts.next().is_none().then_some(args)
}

/// The names that the root lists, in Buildbot's order.
pub const ROOT_LINKS: &[&str] = &[
    "builders",
    "builds",
    "buildrequests",
    "codebases",
    "workers",
    "logchunks",
    "buildsets",
    "changes",
    "changesources",
    "masters",
    "sourcestamps",
    "schedulers",
    "forceschedulers",
    "projects",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Option<(&'static Endpoint, Args)> {
        find(&path.split('/').map(str::to_owned).collect::<Vec<_>>())
    }

    fn pattern(path: &str) -> Option<&'static str> {
        found(path).map(|(endpoint, _)| endpoint.pattern)
    }

    #[test]
    fn numbers_come_before_names() {
        assert_eq!(pattern("builders/7"), Some("builders/n:builderid"));
        assert_eq!(pattern("builders/-1"), Some("builders/n:builderid"));
        assert_eq!(pattern("builders/a b"), Some("builders/s:buildername"));
        assert_eq!(pattern("builds/3/steps/1"), Some("builds/n:buildid/steps/n:step_number"));
        assert_eq!(pattern("builds/3/steps/git"), Some("builds/n:buildid/steps/i:step_name"));
        let (_, args) = found("builders/a b/builds/12").unwrap();
        assert_eq!((args.text("buildername"), args.int("build_number")), (Some("a b"), Some(12)));
    }

    #[test]
    fn the_root_leads_to_paths() {
        assert!(ROOT_LINKS.iter().all(|name| pattern(name) == Some(name)));
    }

    #[test]
    fn everything_else_is_no_path() {
        for path in
            ["nosuch", "builds/", "builds/abc", "steps", "logs", "workers/bad name", "builds/1/steps/a b"]
        {
            assert_eq!(pattern(path), None, "{path}");
        }
    }
}
