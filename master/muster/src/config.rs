//! The configuration, read and refused as a whole.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use muster_config::{
    ConfigError, ConfigErrors, Host, HostDriver, HostError, Loaded, python,
    snapshot::{MqConfig, Snapshot},
};
use muster_core::render::Renderable;
use muster_store::DbUrl;

use crate::master_dir::MasterDir;
use crate::mq::Mq;

/// The database when nothing else is said.
pub const DEFAULT_DB_URL: &str = "sqlite:///state.sqlite";
/// The configuration that the documentation explains, that `create-master` hands out and that the demo runs.
pub const FIRST_CONFIG: &str = include_str!("../../../docs/first-master.cfg");

/// A host for `dir`, and what has to run for it.
pub fn host(dir: &MasterDir) -> (Host, HostDriver) {
    Host::new(&interpreter(), dir.path())
}

/// Reads the configuration of `dir` in a process of its own and lets that go.
pub async fn evaluate(dir: &MasterDir) -> Result<Loaded, HostError> {
    accept(muster_config::evaluate(&interpreter(), dir.path(), dir.config_name()).await?, dir)
}

/// Reads the configuration of `dir` and puts it in force in `host`.
pub async fn load(host: &Host, dir: &MasterDir) -> Result<Loaded, HostError> {
    accept(host.load(dir.config_name()).await?, dir)
}

/// Refuses what this version can't carry out (a step that is left out silently is worse than a master that won't start),
/// and a bus that can't work.
fn accept(loaded: Loaded, dir: &MasterDir) -> Result<Loaded, HostError> {
    let mut problems = loaded.snapshot.unsupported_steps(muster_engine::STEP_KINDS);
    if let MqConfig::Wamp(config) = &loaded.snapshot.mq
        && let Err(error) = Mq::read(config, dir.path())
    {
        problems.push(format!("{error:#}"));
    }
    if problems.is_empty() {
        return Ok(loaded);
    }
    let errors = problems.into_iter().map(|text| ConfigError { text, source: Default::default() });
    Err(ConfigErrors(errors.collect()).into())
}

/// `MUSTER_PYTHON`, or the first one on the search path.
fn interpreter() -> PathBuf {
    match std::env::var_os("MUSTER_PYTHON") {
        Some(program) => program.into(),
        None => python::find(std::env::var_os("PATH").as_ref()),
    }
}

/// The database that a configuration names.
pub fn db_url(snapshot: &Snapshot, dir: &MasterDir) -> Result<DbUrl> {
    let Renderable::Literal(serde_json::Value::String(url)) = &snapshot.db.db_url else {
        bail!("c['db']['db_url'] must be a plain text such as \"{DEFAULT_DB_URL}\"");
    };
    DbUrl::parse(url, dir.path()).context("c['db']['db_url']")
}
