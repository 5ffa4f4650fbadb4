//! One evaluated configuration as data: what the Python host hands over, and what every other part of the master
//! works with. Immutable; a run keeps the one it began with.

mod build;
mod filter;
mod schedule;
mod site;

use std::collections::BTreeMap;

use muster_core::render::{Callable, Renderable};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use build::{BuilderConfig, FactoryConfig, LockAccess, LockConfig, LockKind, LockMode, LockSet, StepConfig};
pub use filter::{ChangeAttribute, ChangeFilter, ChangeFilterCheck, ChangeTest};
pub use schedule::{
    Branches, ChangeSourceConfig, ChangeSourceKind, CodebaseDefaults, CronField, CronFields, FieldKind, ForceConfig,
    ForceField, GitBranches, GitPollerConfig, NightlyConfig, PeriodicConfig, Priority, SchedulerConfig,
    SchedulerKind, SourceStampSchedulerConfig,
};
pub use site::{
    Authentication, DbConfig, LogEncoding, MqConfig, ProjectConfig, ProtocolConfig, ServiceConfig, UserPassword,
    WorkerConfig, WwwConfig,
};

/// A named set of values, in the order of their names.
pub type Values = BTreeMap<String, Renderable>;

/// Everything that `master.cfg` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The file that was evaluated; the source text of the properties in `c['properties']`.
    pub config_file: String,
    /// Name of the installation.
    pub title: String,
    /// Where the title leads; ends with a slash.
    pub title_url: String,
    /// Address of this master's pages, used for every link; ends with a slash.
    pub buildbot_url: String,
    /// Properties of every build.
    pub properties: Values,
    /// More than one master works on this database.
    pub multi_master: bool,
    /// The database.
    pub db: DbConfig,
    /// The message bus.
    pub mq: MqConfig,
    /// `raw`, `bz2`, `gz`, `lz4`, `br` or `zstd`.
    pub log_compression_method: String,
    /// How bytes of logs become text.
    pub log_encoding: LogEncoding,
    /// Which pending requests become one build, unless the builder says otherwise.
    pub collapse_requests: CollapseSetting,
    /// Orders the builders that look for work.
    pub prioritize_builders: Option<Callable>,
    /// Chooses the worker of a build where the builder has no `next_worker`.
    pub select_next_worker: Option<Callable>,
    /// Names the codebase of a change that comes without one.
    pub codebase_generator: Option<Callable>,
    /// How many changes are kept; `None` keeps all.
    pub change_horizon: Option<u64>,
    /// Named caches with their sizes.
    pub caches: BTreeMap<String, u64>,
    /// Listeners for workers, by protocol (`session`, `pb`, `msgpack_experimental_v7`, `null`).
    pub protocols: BTreeMap<String, ProtocolConfig>,
    /// The web server.
    pub www: WwwConfig,
    /// In the order of the file.
    pub workers: Vec<WorkerConfig>,
    /// In the order of the file.
    pub builders: Vec<BuilderConfig>,
    /// In the order of the file.
    pub schedulers: Vec<SchedulerConfig>,
    /// In the order of the file.
    pub change_sources: Vec<ChangeSourceConfig>,
    /// Every lock that a builder or a step uses, once, by name.
    pub locks: Vec<LockConfig>,
    /// In the order of the file.
    pub projects: Vec<ProjectConfig>,
    /// Reporters and other services, in the order of the file.
    pub services: Vec<ServiceConfig>,
    /// Providers of secrets, in the order in which they are asked.
    pub secrets_providers: Vec<ServiceConfig>,
    /// What the user should know; the configuration is good nevertheless.
    pub warnings: Vec<String>,
    /// What the configuration uses and this version of Muster can't do, with file and line.
    pub unsupported: Vec<String>,
    /// The host must stay and answer.
    pub has_callables: bool,
}

impl Snapshot {
    /// Everything in this configuration that this version can't do: what the host saw already, and the steps whose
    /// class is not among `step_kinds` (the engine's list). One text per finding.
    pub fn unsupported_with(&self, step_kinds: &[&str]) -> Vec<String> {
        let mut found = self.unsupported.clone();
        for builder in &self.builders {
            for step in &builder.factory.steps {
                if !step_kinds.contains(&step.kind.as_str()) {
                    found.push(format!(
                        "builder '{}': the step {} is not supported by Muster yet ({})",
                        builder.name, step.kind, step.source
                    ));
                }
            }
        }
        found
    }

    /// The builder of this name.
    pub fn builder(&self, name: &str) -> Option<&BuilderConfig> {
        self.builders.iter().find(|builder| builder.name == name)
    }

    /// The worker of this name.
    pub fn worker(&self, name: &str) -> Option<&WorkerConfig> {
        self.workers.iter().find(|worker| worker.name == name)
    }

    /// The scheduler of this name.
    pub fn scheduler(&self, name: &str) -> Option<&SchedulerConfig> {
        self.schedulers.iter().find(|scheduler| scheduler.name == name)
    }
}

/// Where something was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRef {
    /// The file, as Python names it; empty when unknown.
    pub file: String,
    /// Line, from 1; 0 when unknown.
    pub line: u32,
}

impl std::fmt::Display for SourceRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Which pending requests become one build.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CollapseSetting {
    /// Not set: the outer setting holds, and requests are collapsed when there is none.
    #[default]
    Default,
    /// Compatible ones are collapsed.
    On,
    /// Never.
    Off,
    /// A Python function decides for each pair.
    Callable(Callable),
}

/// Arguments that were recorded without being understood, for what is not supported yet.
pub type RawArguments = Map<String, Value>;
