//! Reporters.

use std::collections::BTreeMap;

use muster_core::render::Renderable;
use serde::{Deserialize, Serialize};

use super::SourceRef;

/// Tells people what happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReporterConfig {
    /// Unique.
    pub name: String,
    /// How it tells.
    pub kind: ReporterKind,
    /// What it tells.
    pub generators: Vec<GeneratorConfig>,
    /// Where it stands.
    pub source: SourceRef,
}

/// How a reporter tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReporterKind {
    /// `MailNotifier`.
    Mail(MailConfig),
}

/// What a reporter tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GeneratorConfig {
    /// `WorkerMissingGenerator`.
    WorkerMissing {
        /// Names; `None` are all.
        workers: Option<Vec<String>>,
    },
}

/// A `MailNotifier`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MailConfig {
    /// The sender.
    pub from_address: String,
    /// The server that takes the mails.
    pub relay_host: String,
    /// Its port.
    pub smtp_port: u16,
    /// TLS is required, by STARTTLS.
    pub use_tls: bool,
    /// TLS from the first byte.
    pub use_smtps: bool,
    /// For servers that ask for it: plain text or a secret.
    pub smtp_user: Option<Renderable>,
    /// The same.
    pub smtp_password: Option<Renderable>,
    /// What is put behind the `@` of a name that is no address.
    pub domain: Option<String>,
    /// Further lines of each mail's head.
    pub extra_headers: BTreeMap<String, String>,
    /// The text of each mail goes to the log.
    pub dump_mails_to_log: bool,
}
