//! The arguments of `Git` (`compat/behaviour-5-steps.md` 5.5 and 5.6), read once.

use std::collections::BTreeMap;

use muster_core::render::py_str;
use muster_session::command::EnvValue;
use serde_json::{Map, Value};

use super::auth::Credentials;
use crate::{
    effects::{StepContext, StepEnd, truth},
    steps::shell::read_env,
};

/// Seconds without output after which git is ended, unless the step says otherwise.
const DEFAULT_TIMEOUT: f64 = 1200.0;

/// How the work directory is brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// What git doesn't know stays.
    Incremental,
    /// What git doesn't know goes, but for what it ignores.
    Clean,
    /// What git doesn't know goes.
    Fresh,
    /// Everything goes, and is cloned again.
    Clobber,
    /// A copy of a directory that is kept incrementally.
    Copy,
}

/// `retry`: how often a clone is tried again, and after how many seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Retry {
    pub(super) delay: f64,
    pub(super) times: u32,
}

/// The arguments of the step.
pub(super) struct GitArguments {
    pub(super) repository: String,
    pub(super) branch: String,
    pub(super) mode: Mode,
    pub(super) codebase: String,
    pub(super) always_latest: bool,
    pub(super) reference: Option<String>,
    pub(super) origin: Option<String>,
    pub(super) submodules: bool,
    pub(super) remote_submodules: bool,
    pub(super) tags: bool,
    /// Commits to fetch; all without it.
    pub(super) depth: Option<u64>,
    pub(super) filters: Vec<String>,
    pub(super) progress: bool,
    pub(super) retry: Retry,
    pub(super) retry_fetch: bool,
    pub(super) clobber_on_failure: bool,
    /// Options of `git describe`; `None` when it isn't wanted.
    pub(super) describe: Option<Vec<String>>,
    /// `-c` options, in their order.
    pub(super) config: Vec<(String, String)>,
    pub(super) env: BTreeMap<String, EnvValue>,
    pub(super) timeout: Option<f64>,
    pub(super) log_environ: bool,
    pub(super) credentials: Credentials,
}

impl GitArguments {
    pub(super) async fn read(context: &mut StepContext<'_>) -> Result<GitArguments, StepEnd> {
        let repository = context.required_text("repourl").await?;
        let own_env = context.arg("env").await?;
        let mut env = BTreeMap::new();
        read_env(&own_env, &mut env)
            .map_err(|wanted| StepEnd::Exception(format!("Git argument env must be {wanted}")))?;
        Ok(GitArguments {
            branch: context.text("branch").await?.unwrap_or_else(|| "HEAD".to_owned()),
            mode: mode(context).await?,
            codebase: context.text("codebase").await?.unwrap_or_default(),
            always_latest: context.flag("alwaysUseLatest", false).await?,
            reference: context.text("reference").await?,
            origin: context.text("origin").await?,
            submodules: context.flag("submodules", false).await?,
            remote_submodules: context.flag("remoteSubmodules", false).await?,
            tags: context.flag("tags", false).await?,
            depth: depth(context).await?,
            filters: context.texts("filters").await?,
            progress: context.flag("progress", true).await?,
            retry: retry(context).await?,
            retry_fetch: context.flag("retryFetch", false).await?,
            clobber_on_failure: context.flag("clobberOnFailure", false).await?,
            describe: describe(context).await?,
            config: config(context).await?,
            env,
            timeout: context.limit("timeout", Some(DEFAULT_TIMEOUT)).await?,
            log_environ: context.flag("logEnviron", true).await?,
            credentials: Credentials::read(context, &repository).await?,
            repository,
        })
    }
}

async fn mode(context: &mut StepContext<'_>) -> Result<Mode, StepEnd> {
    let mode = context.text("mode").await?.unwrap_or_else(|| "incremental".to_owned());
    let method = context.text("method").await?;
    match (mode.as_str(), method.as_deref()) {
        ("incremental", _) => Ok(Mode::Incremental),
        ("full", None | Some("fresh")) => Ok(Mode::Fresh),
        ("full", Some("clean")) => Ok(Mode::Clean),
        ("full", Some("clobber")) => Ok(Mode::Clobber),
        ("full", Some("copy")) => Ok(Mode::Copy),
        ("full", Some(other)) => Err(context.unfit("method", &other.into(), "clean, fresh, clobber or copy")),
        (other, _) => Err(context.unfit("mode", &other.into(), "incremental or full")),
    }
}

/// `shallow`: true is one commit.
async fn depth(context: &mut StepContext<'_>) -> Result<Option<u64>, StepEnd> {
    match context.arg("shallow").await? {
        Value::Null | Value::Bool(false) => Ok(None),
        Value::Bool(true) => Ok(Some(1)),
        value => match (value.as_u64(), value.as_str().map(str::parse)) {
            (Some(depth), _) | (None, Some(Ok(depth))) => Ok(Some(depth).filter(|depth| *depth > 0)),
            _ => Err(context.unfit("shallow", &value, "a boolean or a number")),
        },
    }
}

async fn retry(context: &mut StepContext<'_>) -> Result<Retry, StepEnd> {
    let given: Option<(f64, u32)> = context.typed("retry", "a pair (delay, repeats)").await?;
    Ok(given.map_or_else(Retry::default, |(delay, times)| Retry { delay, times }))
}

async fn config(context: &mut StepContext<'_>) -> Result<Vec<(String, String)>, StepEnd> {
    let given: Option<Map<String, Value>> = context.typed("config", "a dictionary").await?;
    Ok(given.unwrap_or_default().into_iter().map(|(name, value)| (name, py_str(&value))).collect())
}

/// Options of `git describe` that are there or not.
const SWITCHES: [&str; 8] =
    ["all", "always", "contains", "debug", "long", "exact-match", "tags", "first-parent"];
/// Those that take a text after them.
const PATTERNS: [&str; 2] = ["match", "exclude"];
/// Those that take a number; 0 counts.
const NUMBERS: [&str; 2] = ["abbrev", "candidates"];

async fn describe(context: &mut StepContext<'_>) -> Result<Option<Vec<String>>, StepEnd> {
    let given = context.arg("getDescription").await?;
    let options = match given {
        Value::Null | Value::Bool(false) => return Ok(None),
        Value::Bool(true) => Map::new(),
        Value::Object(options) => options,
        other => return Err(context.unfit("getDescription", &other, "a boolean or a dictionary")),
    };
    Ok(Some(describe_options(&options)))
}

fn describe_options(options: &Map<String, Value>) -> Vec<String> {
    let wanted = |name: &str| options.get(name).filter(|value| truth(value));
    let mut words = Vec::new();
    for name in SWITCHES {
        words.extend(wanted(name).map(|_| format!("--{name}")));
    }
    for name in PATTERNS {
        words.extend(wanted(name).into_iter().flat_map(|value| [format!("--{name}"), py_str(value)]));
    }
    for name in NUMBERS {
        let number = options.get(name).filter(|value| truth(value) || value.as_i64() == Some(0));
        words.extend(number.map(|value| format!("--{name}={}", py_str(value))));
    }
    match options.get("dirty") {
        Some(Value::Bool(true)) => words.push("--dirty".to_owned()),
        Some(Value::String(mark)) if mark.is_empty() => words.push("--dirty".to_owned()),
        Some(mark) if truth(mark) => words.push(format!("--dirty={}", py_str(mark))),
        _ => {}
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn descriptions_have_their_options() {
        let options = |value: Value| describe_options(value.as_object().unwrap()).join(" ");
        assert_eq!(options(json!({})), "");
        assert_eq!(
            options(json!({"tags": true, "long": false, "match": "v*", "abbrev": 0, "dirty": true})),
            "--tags --match v* --abbrev=0 --dirty"
        );
        assert_eq!(
            options(json!({"dirty": "-x", "candidates": 3, "always": true})),
            "--always --candidates=3 --dirty=-x"
        );
        assert_eq!(options(json!({"dirty": ""})), "--dirty");
    }
}
