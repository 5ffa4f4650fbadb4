//! What the pages show: answers to questions, each read in one transaction.

mod build;
mod builders;
mod changes;
mod home;
mod log;
mod log_page;
mod orders;
mod queue;
mod waits;
mod workers;

pub use build::{BuildPage, BuildRef, Excerpt, LogRef, PropertyLine, SourceLine, StepLine};
pub use builders::{BuilderPage, BuilderSummary, BuildersPage, ListedBuild};
pub use changes::{ChangeLine, ChangesPage};
pub use home::{Failing, Home, Running, Since, Troubled, WorkerCounts};
pub use log::{Found, Keep, MAX_WINDOW, Match, Part, Search, TextLine};
pub use log_page::LogPage;
pub use muster_store::views::{
    BuildLine, BuilderLine, MasterLine, PendingLine, PendingSummary, RecentBuild, RunningBuild, WorkerLine,
};
pub use queue::{Load, PendingPage, Waiting};
pub(crate) use waits::waits_because;
pub use workers::{WorkerPage, WorkerSummary};

use muster_core::Results;

/// Builders that a page shows; of more the newest are missing, which a page says.
pub const MAX_BUILDERS: i64 = 2_000;
/// Workers that a page shows.
pub const MAX_WORKERS: i64 = 2_000;
/// Running builds that a page shows.
pub const MAX_RUNNING: i64 = 500;
/// Pending requests that a page shows; the count beside them is of all.
pub const MAX_PENDING: i64 = 500;
/// Builds of a strip, and those whose median is the estimate of the next.
pub const STRIP: i64 = 20;

/// Whether a build with this result leaves its builder broken.
fn is_bad(results: Results) -> bool {
    matches!(results, Results::Failure | Results::Exception)
}

/// The usual duration in seconds: the median of the builds that ended well.
fn usual_duration(builds: &[RecentBuild]) -> Option<i64> {
    let good = |build: &&RecentBuild| matches!(build.results, Some(Results::Success | Results::Warnings));
    let mut durations: Vec<i64> = builds
        .iter()
        .filter(good)
        .filter_map(|build| build.complete_at.map(|end| (end.0 - build.started_at.0).max(0)))
        .collect();
    durations.sort_unstable();
    durations.get(durations.len() / 2).copied()
}
