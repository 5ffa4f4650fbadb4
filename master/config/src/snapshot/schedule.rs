//! Schedulers, force forms and change sources.

use std::collections::BTreeMap;

use muster_core::render::{Callable, Renderable};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ChangeFilter, SourceRef, Values};

/// One scheduler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchedulerConfig {
    /// Unique.
    pub name: String,
    /// Buildbot's class, such as `buildbot.schedulers.basic.SingleBranchScheduler`; part of the scheduler's row.
    pub class_name: String,
    /// A list of names (or of renderables), or a renderable of a list.
    pub builder_names: Renderable,
    /// Given to each buildset with the source `Scheduler`; `scheduler` is among them.
    pub properties: Values,
    /// Which codebases it builds, with the defaults for those without a change.
    pub codebases: BTreeMap<String, CodebaseDefaults>,
    /// Of its requests; higher runs first.
    pub priority: Priority,
    /// What it does.
    pub kind: SchedulerKind,
    /// Where it stands.
    pub source: SourceRef,
}

/// Defaults of one codebase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CodebaseDefaults {
    /// Branch where no change gives one.
    pub branch: Option<String>,
    /// The same for the revision.
    pub revision: Option<String>,
    /// The same for the repository.
    pub repository: String,
    /// The same for the project.
    pub project: String,
}

/// Priority of a scheduler's requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Not given: 0.
    #[default]
    Default,
    /// Always this one.
    Fixed(i64),
    /// (builder names, changes by codebase), for buildsets that come from changes.
    Callable(Callable),
}

/// What a scheduler does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "there are a handful of them, and they are never moved")]
pub enum SchedulerKind {
    /// Changes of one branch, with one timer.
    SingleBranch(SourceStampSchedulerConfig),
    /// Changes of any branch, with a timer for each.
    AnyBranch(SourceStampSchedulerConfig),
    /// Every so often.
    Periodic(PeriodicConfig),
    /// At times of the calendar.
    Nightly(NightlyConfig),
    /// When a build's step says so.
    Triggerable {
        /// Reason of its buildsets; `None` for the default text.
        reason: Option<Renderable>,
    },
    /// When a person says so.
    Force(ForceConfig),
}

/// A scheduler that looks at changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceStampSchedulerConfig {
    /// Seconds without a further change before it builds; `None` builds each change at once.
    pub tree_stable_timer: Option<f64>,
    /// Which changes; `branch`, `branches` and `categories` are in it already.
    pub change_filter: ChangeFilter,
    /// Called with the change.
    pub file_is_important: Option<Callable>,
    /// Unimportant changes are dropped.
    pub only_important: bool,
    /// Reason of its buildsets; `None` for the default text.
    pub reason: Option<Renderable>,
    /// Codebases without a change get the last revision seen.
    pub create_absolute_source_stamps: bool,
}

/// The branch a timed scheduler listens to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Branches {
    /// Changes of every branch.
    #[default]
    Any,
    /// Changes of this one (`None`: the default branch) only.
    Only(Option<String>),
}

/// A scheduler with a fixed period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeriodicConfig {
    /// Seconds; above 0.
    pub period: f64,
    /// Builds only when an important change came since the last time.
    pub only_if_changed: bool,
    /// Which changes count; `None` for all.
    pub change_filter: Option<ChangeFilter>,
    /// Called with the change.
    pub file_is_important: Option<Callable>,
    /// Unimportant changes are dropped.
    pub only_important: bool,
    /// Which branch counts.
    pub branch: Branches,
    /// Codebases without a change get the last revision seen.
    pub create_absolute_source_stamps: bool,
    /// Reason of its buildsets; `None` for the default text.
    pub reason: Option<Renderable>,
}

/// A scheduler with a calendar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NightlyConfig {
    /// When.
    pub at: CronFields,
    /// When it builds even without a change; `None` when no `force_at_…` was given.
    pub force_at: Option<CronFields>,
    /// Builds only when an important change came since the last time.
    pub only_if_changed: bool,
    /// Which changes count; `None` for all.
    pub change_filter: Option<ChangeFilter>,
    /// Called with the change.
    pub file_is_important: Option<Callable>,
    /// Unimportant changes are dropped.
    pub only_important: bool,
    /// Which branch counts.
    pub branch: Branches,
    /// Codebases without a change get the last revision seen.
    pub create_absolute_source_stamps: bool,
    /// Reason of its buildsets; `None` for the default text.
    pub reason: Option<Renderable>,
}

/// The five fields, with Buildbot's days of the week: 0 is Monday for single numbers and comma items, while ranges and
/// steps are cron's (0 is Sunday).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CronFields {
    /// 0-59.
    pub minute: CronField,
    /// 0-23.
    pub hour: CronField,
    /// 1-31.
    pub day_of_month: CronField,
    /// 1-12.
    pub month: CronField,
    /// See above.
    pub day_of_week: CronField,
}

/// One field as it was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CronField {
    /// `4`
    Number(i64),
    /// `"*/5"`
    Text(String),
    /// `[0, 30]`
    List(Vec<i64>),
}

/// A force form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForceConfig {
    /// Text on the button.
    pub button_name: String,
    /// Title of the form.
    pub label: String,
    /// Reason of its buildsets, with `%(owner)s` and `%(reason)s`.
    pub reason_string: String,
    /// The form: first a nameless group of user name, reason and priority, then the codebases, then the properties.
    pub fields: Vec<ForceField>,
}

/// One field of a force form, or a group of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForceField {
    /// What it is.
    pub kind: FieldKind,
    /// Its own name; may be empty for groups.
    pub name: String,
    /// With the names of its groups; the key in the request. `None` for nameless groups.
    pub full_name: Option<String>,
    /// For people, and in error texts.
    pub label: String,
    /// Value when nothing was given.
    pub default: Value,
    /// An empty value is an error.
    pub required: bool,
    /// Several values are allowed.
    pub multiple: bool,
    /// Pattern (Python's) that the value must match at its start.
    pub regex: Option<String>,
    /// Longest value, in characters.
    pub maxsize: Option<u64>,
    /// What may be chosen.
    #[serde(default)]
    pub choices: Vec<String>,
    /// Only what is among `choices` may be chosen.
    #[serde(default)]
    pub strict: bool,
    /// The user name must be a mail address.
    #[serde(default)]
    pub need_email: bool,
    /// Codebase of a `Codebase` group.
    #[serde(default)]
    pub codebase: Option<String>,
    /// Fields of a group.
    #[serde(default)]
    pub fields: Vec<ForceField>,
    /// The description that the REST API gives, without `fields`.
    pub spec: Map<String, Value>,
}

impl ForceField {
    /// The description that the REST API gives, with all fields inside.
    pub fn to_spec(&self) -> Value {
        let mut spec = self.spec.clone();
        if self.kind.is_group() {
            spec.insert("fields".into(), self.fields.iter().map(ForceField::to_spec).collect());
        }
        Value::Object(spec)
    }
}

/// What a field of a force form is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum FieldKind {
    Text,
    TextArea,
    Int,
    Bool,
    Fixed,
    UserName,
    Choice,
    WorkerChoice,
    File,
    /// A group; its value is a dictionary, or is merged into its parent's when its name is empty.
    Nested,
    AnyProperty,
    Codebase,
    Patch,
}

impl FieldKind {
    /// Whether it has fields of its own.
    pub fn is_group(self) -> bool {
        matches!(self, FieldKind::Nested | FieldKind::AnyProperty | FieldKind::Codebase | FieldKind::Patch)
    }
}

/// One change source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeSourceConfig {
    /// Unique.
    pub name: String,
    /// Buildbot's class, such as `buildbot.changes.gitpoller.GitPoller`.
    pub class_name: String,
    /// What it does.
    pub kind: ChangeSourceKind,
    /// Where it stands.
    pub source: SourceRef,
}

/// What a change source does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ChangeSourceKind {
    /// Asks a git repository.
    GitPoller(Box<GitPollerConfig>),
    /// Takes what `buildbot sendchange` sends.
    Pb(PbChangesConfig),
}

/// Changes that come over Perspective Broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PbChangesConfig {
    /// Who may send them.
    pub user: String,
    /// Their password; may be a secret.
    pub password: Renderable,
    /// A port of its own, as text; `None` for the port of the workers.
    pub port: Option<String>,
    /// Takes only files below it, and takes it off.
    pub prefix: Option<String>,
}

/// A poller of a git repository. Times in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GitPollerConfig {
    /// May hold secrets.
    pub repourl: Renderable,
    /// Which.
    pub branches: GitBranches,
    /// Directory of the bare copy, below the base directory unless absolute.
    pub workdir: String,
    /// The program.
    pub gitbin: String,
    /// Changes have the commit's time (else the time they were seen).
    pub use_timestamps: bool,
    /// A text, or a callable of the change.
    pub category: Renderable,
    /// Name of the project.
    pub project: String,
    /// Of commit texts.
    pub encoding: String,
    /// A branch that moves without new commits is a change too.
    pub build_pushes_with_no_commits: bool,
    /// Tags instead of branches.
    pub only_tags: bool,
    /// Between two polls.
    pub poll_interval: f64,
    /// The first poll comes at once.
    pub poll_at_launch: bool,
    /// Random delay of each poll.
    pub poll_random_delay_min: f64,
    /// Its upper end.
    pub poll_random_delay_max: f64,
    /// Private key, host key, known hosts: may be secrets.
    pub ssh_private_key: Renderable,
    /// One key of the host.
    pub ssh_host_key: Renderable,
    /// Content of a `known_hosts` file.
    pub ssh_known_hosts: Renderable,
    /// User and password, for repositories that are reached by HTTP.
    #[serde(default)]
    pub auth_credentials: Option<[Renderable; 2]>,
}

/// The branches of a git poller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GitBranches {
    /// The one that the repository calls HEAD.
    Default,
    /// All heads.
    All,
    /// These.
    Names(Vec<String>),
    /// Every ref for which the function says yes.
    Callable(Callable),
}
