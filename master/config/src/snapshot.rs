//! One evaluated configuration as data: what the Python host hands over, and what every other part of the master
//! works with. Immutable; a run keeps the one it began with.

mod build;
mod filter;
mod people;
mod report;
mod schedule;
mod site;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use muster_core::render::{Callable, Renderable};
use serde::{Deserialize, Serialize};

pub use build::{
    BuilderConfig, Condition, FactoryConfig, LockAccess, LockConfig, LockKind, LockMode, LockSet, StepConfig,
};
pub use filter::{ChangeAttribute, ChangeFilter, ChangeFilterCheck, ChangeTest};
pub use people::{AuthConfig, AvatarMethod, LogInMethod, OauthConfig, OauthProvider};
pub use report::{GeneratorConfig, MailConfig, ReporterConfig, ReporterKind};
pub use schedule::{
    Branches, ChangeSourceConfig, ChangeSourceKind, CodebaseDefaults, CronField, CronFields, FieldKind,
    ForceConfig, ForceField, GitBranches, GitPollerConfig, NightlyConfig, PbChangesConfig, PeriodicConfig,
    Priority, SchedulerConfig, SchedulerKind, SourceStampSchedulerConfig,
};
pub use site::{
    DbConfig, EmbeddedRouter, LogEncoding, MqConfig, ProjectConfig, ProtocolConfig, ValidationConfig,
    WampAuthMethod, WampConfig, WorkerConfig, WwwConfig,
};

/// A named set of values, in the order in which they are configured.
pub type Values = IndexMap<String, Renderable>;

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
    /// Whether the configuration names it; older versions didn't say.
    #[serde(default)]
    pub log_compression_is_named: bool,
    /// How bytes of logs become text.
    pub log_encoding: LogEncoding,
    /// What people may enter.
    #[serde(default)]
    pub validation: ValidationConfig,
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
    /// Of `c['services']`, in the order of the file.
    #[serde(default)]
    pub reporters: Vec<ReporterConfig>,
    /// Every lock that a builder or a step uses, once, by name.
    pub locks: Vec<LockConfig>,
    /// In the order of the file.
    pub projects: Vec<ProjectConfig>,
    /// What the user should know; the configuration is good nevertheless.
    pub warnings: Vec<String>,
    /// The host must stay: there are Python functions or providers of secrets to be asked.
    pub has_callables: bool,
}

impl Snapshot {
    /// What a `master.cfg` that sets nothing says; tests put into it what they need.
    pub fn empty() -> Snapshot {
        Snapshot {
            config_file: "master.cfg".to_owned(),
            title: "Buildbot".to_owned(),
            title_url: "http://buildbot.net/".to_owned(),
            buildbot_url: "http://localhost:8080/".to_owned(),
            properties: Values::new(),
            multi_master: false,
            db: DbConfig { db_url: Renderable::from("sqlite:///state.sqlite") },
            mq: MqConfig::Simple,
            log_compression_method: "zstd".to_owned(),
            log_compression_is_named: true,
            log_encoding: LogEncoding::Name("utf-8".to_owned()),
            validation: ValidationConfig::default(),
            collapse_requests: CollapseSetting::Default,
            prioritize_builders: None,
            select_next_worker: None,
            codebase_generator: None,
            change_horizon: None,
            caches: BTreeMap::new(),
            protocols: BTreeMap::new(),
            www: WwwConfig::default(),
            workers: Vec::new(),
            builders: Vec::new(),
            schedulers: Vec::new(),
            change_sources: Vec::new(),
            reporters: Vec::new(),
            locks: Vec::new(),
            projects: Vec::new(),
            warnings: Vec::new(),
            has_callables: false,
        }
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
