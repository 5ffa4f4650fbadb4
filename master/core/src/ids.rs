//! Identifiers of rows, one type for each table, so that a build's id can't be passed for a request's.

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    /// A row of `masters`.
    MasterId;
    /// A row of `builders`.
    BuilderId;
    /// A row of `workers`.
    WorkerId;
    /// A row of `schedulers`.
    SchedulerId;
    /// A row of `changesources`.
    ChangeSourceId;
    /// A row of `changes`.
    ChangeId;
    /// A row of `sourcestamps`.
    SourceStampId;
    /// A row of `buildsets`.
    BuildsetId;
    /// A row of `buildrequests`.
    RequestId;
    /// A row of `builds`.
    BuildId;
    /// A row of `steps`.
    StepId;
    /// A row of `logs`.
    LogId;
    /// A row of `projects`.
    ProjectId;
    /// A row of `codebases`.
    CodebaseId;
    /// A row of `codebase_commits`.
    CommitId;
    /// A row of `codebase_branches`.
    BranchId;
    /// A row of `test_result_sets`.
    TestResultSetId;
}

/// A number that grows each time a thing changes its owner; a write under an old epoch changes no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub i64);

/// Seconds since 1970 (UTC), as Buildbot's tables store time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// Names one command for ever, over all masters and workers: (build, step number, ordinal of the effect).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommandId {
    /// The build that runs the command.
    pub build: BuildId,
    /// The step's number in the build.
    pub step: u32,
    /// The effect's ordinal in the step's journal.
    pub ordinal: u32,
}

impl std::fmt::Display for CommandId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.build, self.step, self.ordinal)
    }
}
