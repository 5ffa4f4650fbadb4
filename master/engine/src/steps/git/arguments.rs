//! The arguments of `Git` (`docs/compat/behaviour-5-steps.md` 5.5 and 5.6), read once.

use std::collections::BTreeMap;

use muster_core::{
    LogKind,
    git::{Name, Refused, Words},
    render::{Renderable, py_str},
};
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
    pub(super) repository: Name,
    pub(super) branch: Name,
    pub(super) mode: Mode,
    pub(super) codebase: String,
    pub(super) always_latest: bool,
    pub(super) reference: Option<Name>,
    pub(super) origin: Option<Name>,
    pub(super) submodules: bool,
    pub(super) remote_submodules: bool,
    pub(super) tags: bool,
    /// Commits to fetch; all without it.
    pub(super) depth: Option<u64>,
    pub(super) filters: Vec<Name>,
    pub(super) progress: bool,
    pub(super) retry: Retry,
    pub(super) retry_fetch: bool,
    pub(super) clobber_on_failure: bool,
    /// `git describe` with its options; `None` when it isn't wanted.
    pub(super) describe: Option<Words>,
    /// `-c` options, in their order.
    pub(super) config: Vec<(String, String)>,
    pub(super) env: BTreeMap<String, EnvValue>,
    pub(super) timeout: Option<f64>,
    pub(super) log_environ: bool,
    pub(super) credentials: Credentials,
}

impl GitArguments {
    pub(super) async fn read(context: &mut StepContext<'_>) -> Result<GitArguments, StepEnd> {
        let mut repository = context.required_text("repourl").await?;
        let port = context.arg("port").await?;
        if truth(&port) {
            repository = with_port(repository, &py_str(&port));
        }
        let branch = context.text("branch").await?.unwrap_or_else(|| "HEAD".to_owned());
        let filters = context.texts("filters").await?;
        let filters: Result<Vec<Name>, Refused> =
            filters.iter().map(|filter| Name::new("filter", filter)).collect();
        let own_env = context.arg("env").await?;
        let mut env = BTreeMap::new();
        read_env(&own_env, &mut env)
            .map_err(|wanted| StepEnd::Exception(format!("Git argument env must be {wanted}")))?;
        let config = config(context).await?;
        Ok(GitArguments {
            branch: allowed(context, Name::new("branch", &branch))?,
            mode: mode(context).await?,
            codebase: context.text("codebase").await?.unwrap_or_default(),
            always_latest: context.flag("alwaysUseLatest", false).await?,
            reference: name(context, "reference").await?,
            origin: name(context, "origin").await?,
            submodules: context.flag("submodules", false).await?,
            remote_submodules: context.flag("remoteSubmodules", false).await?,
            tags: context.flag("tags", false).await?,
            depth: depth(context).await?,
            filters: allowed(context, filters)?,
            progress: context.flag("progress", true).await?,
            retry: retry(context).await?,
            retry_fetch: context.flag("retryFetch", false).await?,
            clobber_on_failure: context.flag("clobberOnFailure", false).await?,
            describe: describe(context).await?,
            repository: address(context, &config, &repository)?,
            config,
            env,
            timeout: context.limit("timeout", Some(DEFAULT_TIMEOUT)).await?,
            log_environ: context.flag("logEnviron", true).await?,
            credentials: Credentials::read(context, &repository).await?,
        })
    }
}

/// What git may get; what is refused is a failure of the step, which says why.
pub(super) fn allowed<T>(context: &mut StepContext<'_>, checked: Result<T, Refused>) -> Result<T, StepEnd> {
    checked.or_else(|refused| {
        let text = refused.to_string();
        context.add_complete_log("log", LogKind::Text, &format!("{text}; nothing was run\n"))?;
        context.set_outcome(text);
        Err(StepEnd::Failed)
    })
}

/// An argument that is a name and may be left out.
async fn name(context: &mut StepContext<'_>, what: &'static str) -> Result<Option<Name>, StepEnd> {
    let name = context.text(what).await?.map(|text| Name::new(what, &text)).transpose();
    allowed(context, name)
}

/// The repository. One that stands in the configuration as it is may be a command; one that is made from a build's
/// properties, only where the step's `config` says so.
fn address(
    context: &mut StepContext<'_>,
    config: &[(String, String)],
    repository: &str,
) -> Result<Name, StepEnd> {
    let is_literal = matches!(context.config().args.get("repourl"), Some(Renderable::Literal(_)));
    let is_allowed = |(name, value): &(String, String)| {
        let name = name.to_ascii_lowercase();
        name.starts_with("protocol.") && name.ends_with(".allow") && value == "always"
    };
    let by_hand = is_literal || config.iter().any(is_allowed);
    allowed(context, Name::address("repourl", repository, by_hand))
}

/// `user@host:path` and `alias:path` as an address with its port, by the rule of `buildbot/util/git.py`: a slash before
/// the first colon makes it a path.
fn with_port(repository: String, port: &str) -> String {
    let drive = repository.as_bytes();
    let is_windows_path =
        drive.first().is_some_and(u8::is_ascii_alphabetic) && drive[1..].starts_with(b":\\");
    if repository.contains("://") || is_windows_path {
        return repository;
    }
    let (user, rest) = match repository.split_once('@') {
        Some((user, rest)) if !user.is_empty() && !user.contains([':', '/', '[', ']']) => (user, rest),
        _ => ("", repository.as_str()),
    };
    let end_of_host = if rest.starts_with('[') { rest.find(']').map(|end| end + 1) } else { rest.find(':') };
    let Some((host, path)) = end_of_host.and_then(|end| Some((&rest[..end], rest[end..].strip_prefix(':')?)))
    else {
        return repository;
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    // `ext::command` is no address, and what begins with a dash is refused as it is.
    if host.is_empty()
        || host.starts_with('-')
        || path.starts_with(':')
        || inner.contains(['/', '[', ']', '@'])
    {
        return repository;
    }
    let at = if user.is_empty() { "" } else { "@" };
    format!("ssh://{user}{at}{host}:{port}/{path}")
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
    ["--all", "--always", "--contains", "--debug", "--long", "--exact-match", "--tags", "--first-parent"];
/// Those that take a text after them.
const PATTERNS: [&str; 2] = ["--match", "--exclude"];
/// Those that take a number; 0 counts.
const NUMBERS: [&str; 2] = ["--abbrev", "--candidates"];

async fn describe(context: &mut StepContext<'_>) -> Result<Option<Words>, StepEnd> {
    let given = context.arg("getDescription").await?;
    let options = match given {
        Value::Null | Value::Bool(false) => return Ok(None),
        Value::Bool(true) => Map::new(),
        Value::Object(options) => options,
        other => return Err(context.unfit("getDescription", &other, "a boolean or a dictionary")),
    };
    allowed(context, describe_options(&options)).map(Some)
}

fn describe_options(options: &Map<String, Value>) -> Result<Words, Refused> {
    let given = |option: &str| options.get(option.trim_start_matches('-'));
    let wanted = |option: &str| given(option).filter(|value| truth(value));
    let mut words = Words::new("describe");
    for option in SWITCHES {
        words = words.option_if(wanted(option).is_some(), option);
    }
    for option in PATTERNS {
        if let Some(value) = wanted(option) {
            words = words.named(option, &Name::new("pattern", &py_str(value))?);
        }
    }
    for option in NUMBERS {
        if let Some(value) = given(option).filter(|value| truth(value) || value.as_i64() == Some(0)) {
            words = words.assigned(option, &py_str(value));
        }
    }
    // With --dirty git describes the work tree, and takes no commit.
    Ok(match given("dirty") {
        Some(Value::Bool(true)) => words.option("--dirty"),
        Some(Value::String(mark)) if mark.is_empty() => words.option("--dirty"),
        Some(mark) if truth(mark) => words.assigned("--dirty", &py_str(mark)),
        _ => words.option("HEAD"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_get_their_port_and_paths_stay() {
        for (written, expected) in [
            ("git@host:/abs/r.git", "ssh://git@host:2222//abs/r.git"),
            ("git@host:rel/r.git", "ssh://git@host:2222/rel/r.git"),
            ("alias:/abs", "ssh://alias:2222//abs"),
            ("host.example:~u/r", "ssh://host.example:2222/~u/r"),
            ("git@host:1234/path", "ssh://git@host:2222/1234/path"),
            ("git@[::1]:path", "ssh://git@[::1]:2222/path"),
            ("[::1]:path", "ssh://[::1]:2222/path"),
        ] {
            assert_eq!(with_port(written.to_owned(), "2222"), expected);
        }
        for stays in [
            r"C:\repo",
            "/abs/path",
            "/abs:x",
            "./a:b",
            "file:///x",
            "ssh://h/x",
            "https://h:80/x",
            "git@host://x",
            "",
            "ext::sh -c x",
            "-oX=y:z",
        ] {
            assert_eq!(with_port(stays.to_owned(), "2222"), stays);
        }
    }

    #[test]
    fn descriptions_have_their_options() {
        let options =
            |value: Value| describe_options(value.as_object().unwrap()).unwrap().into_words().join(" ");
        assert_eq!(options(json!({})), "describe HEAD");
        assert_eq!(
            options(json!({"tags": true, "long": false, "match": "v*", "abbrev": 0, "dirty": true})),
            "describe --tags --match v* --abbrev=0 --dirty"
        );
        assert_eq!(
            options(json!({"dirty": "-x", "candidates": 3, "always": true})),
            "describe --always --candidates=3 --dirty=-x"
        );
        assert_eq!(options(json!({"dirty": ""})), "describe --dirty");
    }
}
