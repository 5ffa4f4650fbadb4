//! The configuration, read and refused as a whole.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use muster_config::{
    Check, ConfigError, ConfigErrors, Host, HostDriver, HostError, LOAD_LIMIT, Loaded,
    snapshot::{MqConfig, Snapshot},
};
use muster_store::DbUrl;

use crate::interpreter::interpreter;
use crate::master_dir::MasterDir;
use crate::mq::Mq;
use crate::ports;
use crate::secrets::with_secrets;

/// The database when nothing else is said.
pub const DEFAULT_DB_URL: &str = "sqlite:///state.sqlite";
/// The configuration that the documentation explains, that `create-master` hands out and that the demo runs.
pub const FIRST_CONFIG: &str = include_str!("../../../docs/first-master.cfg");

/// A host for `dir`, and what has to run for it.
pub fn host(dir: &MasterDir) -> (Host, HostDriver) {
    Host::with_limit(&interpreter(), dir.path(), load_limit())
}

/// Reads the configuration of `dir` in a process of its own and lets that go.
pub async fn evaluate(dir: &MasterDir) -> Result<Loaded, HostError> {
    muster_config::evaluate(&interpreter(), dir.path(), dir.config_name(), acceptance(dir), load_limit())
        .await
}

/// Reads the configuration of `dir` and puts it in force in `host`, unless it is refused.
pub async fn load(host: &Host, dir: &MasterDir) -> Result<Loaded, HostError> {
    host.load_checked(dir.config_name(), acceptance(dir)).await
}

fn acceptance(dir: &MasterDir) -> Check {
    let place = dir.clone();
    Check::new(move |snapshot| accept(snapshot, &place))
}

/// Refuses what this version can't carry out (a step that is left out silently is worse than a master that won't start),
/// and all that a start would refuse: patterns, times, ports, the database's address, a bus that can't work.
fn accept(snapshot: &Snapshot, dir: &MasterDir) -> Result<(), ConfigErrors> {
    let mut problems = ports::problems(snapshot);
    problems.extend(given_load_limit().err());
    problems.extend(muster_schedule::unusable_patterns(snapshot));
    problems.extend(muster_web::unusable(snapshot));
    if let Some(Err(error)) = snapshot.db.db_url.literal_str().map(|url| DbUrl::parse(url, dir.path())) {
        problems.push(format!("c['db']['db_url']: {error}"));
    }
    if let MqConfig::Wamp(config) = &snapshot.mq
        && let Err(error) = Mq::read(config, dir.path())
    {
        problems.push(format!("{error:#}"));
    }
    let mut errors: Vec<ConfigError> =
        problems.into_iter().map(|text| ConfigError { text, source: Default::default() }).collect();
    errors.extend(muster_engine::problems(snapshot));
    errors.extend(muster_schedule::problems(snapshot));
    if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
}

/// `MUSTER_LOAD_LIMIT` in seconds, or the default; one that can't be used is refused with the configuration.
fn load_limit() -> Duration {
    given_load_limit().ok().flatten().unwrap_or(LOAD_LIMIT)
}

fn given_load_limit() -> Result<Option<Duration>, String> {
    let Some(given) = std::env::var_os("MUSTER_LOAD_LIMIT") else { return Ok(None) };
    let seconds = given.to_str().and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0.0);
    match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(limit) => Ok(Some(limit)),
        None => Err(format!("MUSTER_LOAD_LIMIT is {given:?}; it must be a number of seconds above 0")),
    }
}

/// The database that a configuration names; the host, which has loaded it, tells the secrets in its address.
pub async fn db_url(host: &Host, snapshot: &Snapshot, dir: &MasterDir) -> Result<DbUrl> {
    let url = with_secrets(&snapshot.db.db_url, host).await.context("c['db']['db_url']")?;
    DbUrl::parse(&url, dir.path()).context("c['db']['db_url']")
}

/// The database of the master in `dir`, for a command, and whether its configuration names how logs are compressed.
pub async fn database(dir: &MasterDir) -> Result<(DbUrl, bool)> {
    let (host, driver) = host(dir);
    let asked = async {
        let loaded = load(&host, dir).await?;
        anyhow::Ok((db_url(&host, &loaded.snapshot, dir).await?, loaded.snapshot.log_compression_is_named))
    };
    tokio::select! {
        url = asked => url,
        () = driver.run() => bail!("the Python host has ended"),
    }
}
