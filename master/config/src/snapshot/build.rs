//! Builders, their factories and steps, and locks.

use muster_core::StepFlags;
use muster_core::render::{Callable, Renderable};
use serde::{Deserialize, Serialize};

use super::{CollapseSetting, SourceRef, Values};

/// One builder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuilderConfig {
    /// Unique.
    pub name: String,
    /// At least one.
    pub worker_names: Vec<String>,
    /// Directory on the master; unique.
    pub builddir: String,
    /// Directory on the worker.
    pub worker_builddir: String,
    /// Without duplicates.
    pub tags: Vec<String>,
    /// Chooses among the free workers: (builder, workers, request).
    pub next_worker: Option<Callable>,
    /// Chooses among the pending requests: (builder, requests).
    pub next_build: Option<Callable>,
    /// Has the last word: (builder, worker, request).
    pub can_start_build: Option<Callable>,
    /// Taken for the whole build.
    pub locks: LockSet,
    /// Environment of all commands; the steps' own wins.
    pub env: Renderable,
    /// Properties of its builds.
    pub properties: Values,
    /// The same, where no other gave a value.
    pub default_properties: Values,
    /// Over the global setting.
    pub collapse_requests: CollapseSetting,
    /// For people.
    pub description: Option<String>,
    /// `markdown`, or plain.
    pub description_format: Option<String>,
    /// The description as a page shows it, where it has a format.
    #[serde(default)]
    pub description_html: Option<String>,
    /// Name of its project.
    pub project: Option<String>,
    /// Callables get the build; false skips it whole.
    pub do_build_if: Condition,
    /// What a build does.
    pub factory: FactoryConfig,
    /// Where it stands.
    pub source: SourceRef,
}

/// What a build does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FactoryConfig {
    /// Directory below the builder's, for steps without their own.
    pub workdir: Renderable,
    /// In order.
    pub steps: Vec<StepConfig>,
}

/// One step. Arguments that aren't set are absent or null; the step's kind decides what that means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepConfig {
    /// Name of the class that runs it: `ShellCommand`, `Git`, `FileUpload`, … A user's subclass that only sets
    /// arguments has the kind of its base.
    pub kind: String,
    /// As given, or the default of the class; rendered when the step starts.
    pub name: Renderable,
    /// What its result means for the build.
    pub flags: StepFlags,
    /// Callables get the step.
    pub do_step_if: Condition,
    /// Callables get (results, step).
    pub hide_step_if: Condition,
    /// Text or list of texts, while it runs.
    pub description: Renderable,
    /// The same, when it has run.
    pub description_done: Renderable,
    /// The same, after either.
    pub description_suffix: Renderable,
    /// Taken while it runs.
    pub locks: LockSet,
    /// Its directory; null for the factory's.
    pub workdir: Renderable,
    /// Results that show in the build's summary; null for the default of its flags. A list of codes, or a boolean.
    pub update_build_summary_policy: Renderable,
    /// Name of an encoding for its logs; null for the global one.
    pub log_encoding: Renderable,
    /// The step's own arguments, by Buildbot's names (`command`, `repourl`, `haltOnFailure` not among them).
    pub args: Values,
    /// Where it stands.
    pub source: SourceRef,
}

/// Something that may be decided at run time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Known beforehand.
    Fixed(bool),
    /// Rendered; Python's truth of the value decides.
    Renderable(Renderable),
    /// A Python function decides.
    Callable(Callable),
}

/// The locks that something takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockSet {
    /// Known beforehand.
    Accesses(Vec<LockAccess>),
    /// Computed for each build; renders to a list of accesses in the same JSON form.
    Renderable(Renderable),
}

impl Default for LockSet {
    fn default() -> LockSet {
        LockSet::Accesses(Vec::new())
    }
}

/// One lock and how it is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockAccess {
    /// Name of the lock.
    pub lock: String,
    /// How.
    pub mode: LockMode,
    /// Units taken; 1 unless said otherwise. 0 is allowed when counting, and takes nothing.
    pub count: u32,
}

/// How a lock is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockMode {
    /// Nobody else holds it.
    Exclusive,
    /// As many as its count allows.
    Counting,
}

/// One lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LockConfig {
    /// Unique.
    pub name: String,
    /// One for the whole cluster, or one for each worker.
    pub kind: LockKind,
    /// Units there are.
    pub max_count: u32,
    /// Other numbers for some workers.
    pub max_count_for_worker: std::collections::BTreeMap<String, u32>,
}

/// Where a lock holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockKind {
    /// Everywhere.
    Master,
    /// On one worker.
    Worker,
}
