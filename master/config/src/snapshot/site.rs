//! The master itself: database, bus, web server, workers, projects, services.

use muster_core::{policy::Authz, render::Renderable};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    LockSet, SourceRef, Values,
    people::{AuthConfig, AvatarMethod},
};

/// The database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DbConfig {
    /// SQLAlchemy's form of an address, such as `sqlite:///state.sqlite`; may hold secrets.
    pub db_url: Renderable,
}

/// The message bus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MqConfig {
    /// Inside one process.
    Simple,
    /// A WAMP router.
    Wamp(Box<WampConfig>),
}

/// How to reach the WAMP router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WampConfig {
    /// Its address.
    pub router_url: Renderable,
    /// Its realm.
    pub realm: String,
    /// `wamp_debug_level`: how much the log says about it.
    #[serde(default)]
    pub debug_level: Option<String>,
    /// How the master proves who it is.
    #[serde(default)]
    pub auth_method: WampAuthMethod,
    /// As whom.
    #[serde(default)]
    pub authid: Option<String>,
    /// The ticket or the secret of WAMP-CRA.
    #[serde(default)]
    pub secret: Option<String>,
    /// A file whose first line is that.
    #[serde(default)]
    pub secret_file: Option<String>,
    /// A PEM file of certificate authorities; without it those of the system.
    #[serde(default)]
    pub tls_ca: Option<String>,
    /// A PEM file with the master's own certificate.
    #[serde(default)]
    pub tls_certificate: Option<String>,
    /// A PEM file with its key.
    #[serde(default)]
    pub tls_key: Option<String>,
    /// The role at the router whose peers give orders.
    #[serde(default)]
    pub orders_role: Option<String>,
    /// The router runs inside this master.
    #[serde(default)]
    pub embedded: Option<EmbeddedRouter>,
}

/// How a master proves to a router who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WampAuthMethod {
    /// Not at all.
    #[default]
    Anonymous,
    /// By a shared text.
    Ticket,
    /// By signing a challenge.
    WampCra,
}

/// A router inside a master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddedRouter {
    /// A file as `muster router --config` reads it; without one it listens where `router_url` points to.
    pub file: Option<String>,
}

/// Patterns, as Python's `re.match` reads them, that what people enter has to match; `None` where none was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationConfig {
    /// Branches.
    pub branch: Option<String>,
    /// Revisions.
    pub revision: Option<String>,
    /// Names of properties that people make up.
    pub property_name: Option<String>,
    /// Values of them.
    pub property_value: Option<String>,
}

/// How bytes of logs become text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogEncoding {
    /// The name that Python's `codecs.lookup` gives; undecodable bytes are replaced.
    Name(String),
}

/// A listener for workers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProtocolConfig {
    /// A port or a strports string, always as text (`"9990"`, `"tcp:9990:interface=127.0.0.1"`); `None` without a port.
    pub port: Option<String>,
    /// The others, where a list of ports was given.
    #[serde(default)]
    pub more_ports: Vec<String>,
    /// What else stands there.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

impl ProtocolConfig {
    /// All its ports.
    pub fn ports(&self) -> impl Iterator<Item = &str> {
        self.port.iter().chain(&self.more_ports).map(String::as_str)
    }
}

/// The web server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WwwConfig {
    /// A port or a strports string, always as text; `None` starts no web server.
    pub port: Option<String>,
    /// `allowed_origins`; `None` when not given.
    pub allowed_origins: Option<Vec<String>>,
    /// Who may come in; `None` when not given, which is nobody.
    #[serde(default)]
    pub auth: Option<AuthConfig>,
    /// What they may do; `None` when not given.
    #[serde(default)]
    pub authz: Option<Authz>,
    /// Where pictures of people come from; as Buildbot's default, Gravatar.
    #[serde(default)]
    pub avatar_methods: Option<Vec<AvatarMethod>>,
    /// `cookie_expiration_time` in seconds; `None` when not given.
    #[serde(default)]
    pub cookie_expiration_time: Option<f64>,
    /// Plain settings as they were given (`ui_default_config`, `plugins`, `change_hook_dialects`, …).
    pub raw: Map<String, Value>,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerConfig {
    /// An identifier of at most 50 characters.
    pub name: String,
    /// Buildbot's class, such as `buildbot.worker.base.Worker`.
    pub class_name: String,
    /// May be a secret; `None` for workers without one (latent, local).
    pub password: Option<Renderable>,
    /// How many builds at once; `None` is no limit.
    pub max_builds: Option<u32>,
    /// Mail addresses.
    pub notify_on_missing: Vec<String>,
    /// Seconds of absence before somebody is told.
    pub missing_timeout: f64,
    /// Properties of its builds.
    pub properties: Values,
    /// The same, where no other gave a value.
    pub default_properties: Values,
    /// Taken for each build on it.
    pub locks: LockSet,
    /// Name of the machine it runs on.
    pub machine_name: Option<String>,
    /// Seconds between two keepalives.
    pub keepalive_interval: f64,
    /// Where it stands.
    pub source: SourceRef,
}

/// One project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProjectConfig {
    /// Its name.
    pub name: String,
    /// For addresses.
    pub slug: String,
    /// For people.
    pub description: Option<String>,
    /// `markdown`, or plain.
    pub description_format: Option<String>,
    /// The description as a page shows it, where it has a format.
    #[serde(default)]
    pub description_html: Option<String>,
}
