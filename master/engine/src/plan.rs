//! What a build does, as it is stored with its run.

use muster_config::snapshot::{BuilderConfig, Condition, LockSet, StepConfig};
use muster_core::render::Renderable;
use serde::{Deserialize, Serialize};

/// Version of this form; a binary that doesn't know a plan's version ends its run for a retry.
pub(crate) const VERSION: u32 = 1;

/// A build's steps with their arguments, fixed when the build starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) version: u32,
    pub(crate) builder: String,
    /// On the worker, below its base directory.
    pub(crate) builddir: String,
    pub(crate) workdir: Renderable,
    pub(crate) env: Renderable,
    pub(crate) locks: LockSet,
    pub(crate) do_build_if: Condition,
    pub(crate) steps: Vec<StepConfig>,
    /// Names of the secrets that its steps have used so far: they stay concealed for whoever goes on with the build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) secrets: Vec<String>,
    /// The first order to stop that was carried out between two steps: no row of a step tells of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stopped: Option<Stopped>,
}

/// An order to stop that came between two steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stopped {
    /// The place in the plan of the step that would have come next.
    pub(crate) before: usize,
    pub(crate) number: i64,
    pub(crate) reason: String,
}

impl Plan {
    pub(crate) fn of(builder: &BuilderConfig) -> Plan {
        Plan {
            version: VERSION,
            builder: builder.name.clone(),
            builddir: builder.worker_builddir.clone(),
            workdir: builder.factory.workdir.clone(),
            env: builder.env.clone(),
            locks: builder.locks.clone(),
            do_build_if: builder.do_build_if.clone(),
            steps: builder.factory.steps.clone(),
            secrets: Vec::new(),
            stopped: None,
        }
    }
}
