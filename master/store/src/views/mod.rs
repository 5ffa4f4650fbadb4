//! What the pages show beyond plain lists: questions that join several resources.
//!
//! Every statement walks an index and is bounded, because it runs on databases with millions of builds whose indexes
//! are Buildbot's. In particular no index tells which builds run; open requests lead to them.

mod builders;
mod builds;
mod cluster;
mod queue;
mod workers;

pub use builders::{
    BuilderLine, RecentBuild, TagOfBuilder, builder_by_id, builder_by_name, builders, good_before, recent,
    tags,
};
pub use builds::{BuildLine, builds_of_builder, builds_of_worker, latest_builds};
pub use cluster::{ClusterMaster, ClusterRun, LeaseLine, cluster_masters, cluster_runs};
pub use queue::{
    PendingLine, PendingSummary, RunningBuild, pending, pending_summary, running, running_count,
};
pub use workers::{
    BuilderMaster, BuilderWorker, MasterLine, WorkerLine, masters, masters_of_builders, workers,
    workers_of_builders,
};
