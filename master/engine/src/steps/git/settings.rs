//! The arguments that all git steps have, and those of all that talk to another repository.

use std::collections::BTreeMap;

use muster_core::{
    LogKind,
    git::{Name, Refused},
    render::{Renderable, py_str},
};
use muster_session::command::EnvValue;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    effects::{StepContext, StepEnd, truth},
    steps::{
        arguments::{Dictionary, Flag, Limit, Rendered},
        command_line::Env,
    },
};

/// Seconds without output after which git is ended, unless the step says otherwise.
const DEFAULT_TIMEOUT: Limit = Limit(Some(1200.0));

/// How git is run.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SettingArguments {
    env: Rendered<Env>,
    config: Rendered<Dictionary>,
    timeout: Rendered<Limit>,
    log_environ: Rendered<Flag<true>>,
}

/// The same for the running build.
pub(super) struct Settings {
    /// `-c` options, in their order.
    pub(super) config: Vec<(String, String)>,
    pub(super) env: BTreeMap<String, EnvValue>,
    pub(super) timeout: Option<f64>,
    pub(super) log_environ: bool,
}

impl SettingArguments {
    pub(super) async fn read(&self, context: &mut StepContext<'_>) -> Result<Settings, StepEnd> {
        let Env(env) = self.env.get(context).await?;
        let Dictionary(config) = self.config.get(context).await?;
        let config = config.into_iter().map(|(name, value)| (name, py_str(&value))).collect();
        let Limit(timeout) = self.timeout.get_or(context, DEFAULT_TIMEOUT).await?;
        let log_environ = self.log_environ.get(context).await?.0;
        Ok(Settings { config, env, timeout, log_environ })
    }
}

/// The repository that a step talks to.
#[derive(Deserialize)]
pub(super) struct RemoteArguments {
    repourl: Rendered<String>,
    port: Rendered<Value>,
}

impl RemoteArguments {
    /// Its address, as it is given, and as git may get it.
    pub(super) async fn read(
        &self,
        context: &mut StepContext<'_>,
        settings: &Settings,
    ) -> Result<(String, Name), StepEnd> {
        let mut repository = self.repourl.get(context).await?;
        let port = self.port.get(context).await?;
        if truth(&port) {
            repository = with_port(repository, &py_str(&port));
        }
        // One that stands in the configuration as it is may be a command; one that is made from a build's properties,
        // only where the step's `config` says so.
        let is_literal = matches!(self.repourl.renderable(), Renderable::Literal(_));
        let is_allowed = |(name, value): &(String, String)| {
            let name = name.to_ascii_lowercase();
            name.starts_with("protocol.") && name.ends_with(".allow") && value == "always"
        };
        let by_hand = is_literal || settings.config.iter().any(is_allowed);
        let address = allowed(context, Name::address("repourl", &repository, by_hand))?;
        Ok((repository, address))
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
