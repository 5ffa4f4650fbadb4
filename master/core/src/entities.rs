//! The things a build master keeps, as rows of Buildbot's tables describe them (`docs/compat/database.md`).

use serde_json::Value;

use crate::{
    BranchId, BuildId, BuilderId, BuildsetId, ChangeId, ChangeSourceId, CodebaseId, CommitId, LogId,
    MasterId, ProjectId, Properties, RequestId, Results, SchedulerId, SourceStampId, StepId, TestResultSetId,
    Timestamp, WorkerId,
};

/// A master process that runs or once ran.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Master {
    pub id: MasterId,
    pub name: String,
    pub active: bool,
    pub last_active: Timestamp,
}

/// A builder's name and what its configuration says about it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Builder {
    pub id: BuilderId,
    pub name: String,
    pub description: Option<String>,
    pub description_format: Option<String>,
    pub description_html: Option<String>,
    pub project: Option<ProjectId>,
    pub tags: Vec<String>,
    /// Active masters that have it configured.
    pub masters: Vec<MasterId>,
}

/// A worker that is or was configured.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Worker {
    pub id: WorkerId,
    pub name: String,
    /// What the worker told about itself: admin, host, access_uri, version.
    pub info: Value,
    pub paused: bool,
    pub pause_reason: Option<String>,
    /// Asked to go when its builds are done.
    pub graceful: bool,
    pub connected_to: Vec<MasterId>,
    pub configured_on: Vec<(MasterId, BuilderId)>,
}

/// One version of the sources of one codebase.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct SourceStamp {
    pub id: SourceStampId,
    pub branch: Option<String>,
    pub revision: Option<String>,
    pub repository: String,
    pub project: String,
    pub codebase: String,
    pub patch: Option<Patch>,
    pub created_at: Timestamp,
}

/// A patch on top of a source version.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Patch {
    pub id: i64,
    pub level: i64,
    pub body: Vec<u8>,
    pub author: String,
    pub comment: String,
    pub subdir: Option<String>,
}

/// A change somebody made.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Change {
    pub id: ChangeId,
    pub author: String,
    pub committer: Option<String>,
    pub comments: String,
    pub branch: Option<String>,
    pub revision: Option<String>,
    pub revlink: Option<String>,
    pub when: Timestamp,
    pub category: Option<String>,
    pub repository: String,
    pub codebase: String,
    pub project: String,
    pub files: Vec<String>,
    pub properties: Properties,
    pub parent: Option<ChangeId>,
    pub sourcestamp: SourceStamp,
}

/// Build requests that were made together.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Buildset {
    pub id: BuildsetId,
    pub external_idstring: Option<String>,
    pub reason: String,
    pub submitted_at: Timestamp,
    pub complete_at: Option<Timestamp>,
    /// `None` while a request of it is open.
    pub results: Option<Results>,
    pub parent_build: Option<BuildId>,
    pub parent_relationship: Option<String>,
    pub rebuilt_build: Option<BuildId>,
    pub sourcestamps: Vec<SourceStamp>,
}

/// One wanted build of one builder.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct BuildRequest {
    pub id: RequestId,
    pub buildset: BuildsetId,
    pub builder: BuilderId,
    pub priority: i64,
    pub claim: Option<Claim>,
    pub submitted_at: Timestamp,
    pub complete: bool,
    pub complete_at: Option<Timestamp>,
    pub results: Option<Results>,
    /// A step waits for it.
    pub waited_for: bool,
}

/// Who took a build request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Claim {
    pub master: MasterId,
    pub at: Timestamp,
}

/// A build, running or done.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Build {
    pub id: BuildId,
    /// Counts the builder's builds from 1.
    pub number: i64,
    pub builder: BuilderId,
    pub request: RequestId,
    pub worker: Option<WorkerId>,
    pub master: MasterId,
    pub started_at: Timestamp,
    pub complete_at: Option<Timestamp>,
    pub locks_duration_s: i64,
    pub state_string: String,
    /// `None` while it runs.
    pub results: Option<Results>,
}

/// A step of a build.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Step {
    pub id: StepId,
    pub build: BuildId,
    pub number: i64,
    pub name: String,
    pub started_at: Option<Timestamp>,
    pub locks_acquired_at: Option<Timestamp>,
    pub complete_at: Option<Timestamp>,
    pub state_string: String,
    pub results: Option<Results>,
    pub urls: Vec<StepUrl>,
    pub hidden: bool,
}

/// A link that a step shows.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs)]
pub struct StepUrl {
    pub name: String,
    pub url: String,
}

/// A log of a step.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Log {
    pub id: LogId,
    pub step: StepId,
    pub name: String,
    pub slug: String,
    pub complete: bool,
    pub num_lines: i64,
    pub kind: LogKind,
}

/// What the lines of a log are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum LogKind {
    /// Each line begins with `o` (stdout), `e` (stderr) or `h` (header).
    #[serde(rename = "s")]
    Stdio,
    /// Plain text.
    #[serde(rename = "t")]
    Text,
    /// HTML.
    #[serde(rename = "h")]
    Html,
    /// The content was removed by the janitor.
    #[serde(rename = "d")]
    Deleted,
}

impl LogKind {
    /// The letter in `logs.type`.
    pub fn letter(self) -> &'static str {
        match self {
            LogKind::Stdio => "s",
            LogKind::Text => "t",
            LogKind::Html => "h",
            LogKind::Deleted => "d",
        }
    }

    /// The kind with this letter.
    pub fn from_letter(letter: &str) -> Option<LogKind> {
        [LogKind::Stdio, LogKind::Text, LogKind::Html, LogKind::Deleted]
            .into_iter()
            .find(|kind| kind.letter() == letter)
    }
}

/// A scheduler's name and switch.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Scheduler {
    pub id: SchedulerId,
    pub name: String,
    pub enabled: bool,
    pub master: Option<Master>,
}

/// A change source's name and owner.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct ChangeSource {
    pub id: ChangeSourceId,
    pub name: String,
    pub master: Option<Master>,
}

/// A project: builders that belong together.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Project {
    pub id: ProjectId,
    pub name: String,
    pub slug: String,
    pub description: Option<String>,
    pub description_format: Option<String>,
    pub description_html: Option<String>,
}

/// A codebase of a project, whose commits a poller records.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Codebase {
    pub id: CodebaseId,
    pub project: ProjectId,
    pub name: String,
    pub slug: String,
}

/// A recorded commit of a codebase.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Commit {
    pub id: CommitId,
    pub codebase: CodebaseId,
    pub author: String,
    pub committer: Option<String>,
    pub comments: String,
    pub when: Timestamp,
    pub revision: String,
    pub parent: Option<CommitId>,
}

/// A branch of a codebase, as it was last seen.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Branch {
    pub id: BranchId,
    pub codebase: CodebaseId,
    pub name: String,
    pub commit: Option<CommitId>,
    pub last_timestamp: Timestamp,
}

/// Data that a step has stored with its build, without the bytes.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct BuildData {
    pub build: BuildId,
    pub name: String,
    /// Bytes of the value.
    pub length: i64,
    pub source: String,
}

/// Results of one kind that a step has found.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct TestResultSet {
    pub id: TestResultSetId,
    pub builder: BuilderId,
    pub build: BuildId,
    pub step: StepId,
    pub description: Option<String>,
    pub category: String,
    pub value_unit: String,
    pub tests_passed: Option<i64>,
    pub tests_failed: Option<i64>,
    pub complete: bool,
}

/// One result of a test.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct TestResult {
    pub id: i64,
    pub builder: BuilderId,
    pub set: TestResultSetId,
    pub test_name: Option<String>,
    pub code_path: Option<String>,
    pub line: Option<i64>,
    /// Nanoseconds that it took.
    pub duration_ns: Option<i64>,
    pub value: String,
}
