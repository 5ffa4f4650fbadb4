//! What git needs to be let in: files beside the work directory, made before and removed after
//! (`docs/compat/behaviour-5-steps.md` 5.6, "Auth").

use serde::Deserialize;
use serde_json::Value;

use super::version::GitVersion;
use crate::{
    effects::{StepContext, StepEnd},
    steps::{
        arguments::{Argument, Misfit, Rendered},
        paths::{base_name, join},
    },
};

/// The commands that talk to other repositories.
const TALKING: [&str; 7] = ["clone", "credential", "checkout", "fetch", "ls-remote", "push", "submodule"];
/// What a shell acts on between double quotes, beside a backslash before one of them.
const ACTED_ON: [char; 3] = ['"', '$', '`'];

/// How git is let in.
#[derive(Default)]
pub(super) struct Credentials {
    pub(super) ssh_key: Option<String>,
    pub(super) known_hosts: Option<String>,
    /// What `git credential approve` is told.
    pub(super) login: Option<String>,
}

/// Where the files are.
#[derive(Clone)]
pub(super) struct AuthFiles {
    pub(super) dir: String,
}

/// The arguments that say how.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CredentialArguments {
    ssh_private_key: Rendered<Option<String>>,
    ssh_host_key: Rendered<Option<String>>,
    ssh_known_hosts: Rendered<Option<String>>,
    #[serde(rename = "auth_credentials")]
    login: Rendered<Option<Login>>,
}

/// User and password.
struct Login(String, String);

impl Argument for Login {
    fn read(value: Value) -> Result<Login, Misfit> {
        match serde_json::from_value(value.clone()) {
            Ok((user, password)) => Ok(Login(user, password)),
            Err(_) => Err(Misfit::not("a pair (user, password)", &value)),
        }
    }
}

impl CredentialArguments {
    pub(super) async fn read(
        &self,
        context: &mut StepContext<'_>,
        repository: &str,
    ) -> Result<Credentials, StepEnd> {
        let ssh_key = self.ssh_private_key.get(context).await?.map(with_newline);
        let host_key = self.ssh_host_key.get(context).await?.map(|key| format!("* {key}"));
        let known_hosts = self.ssh_known_hosts.get(context).await?.or(host_key);
        let login =
            self.login.get(context).await?.map(|Login(user, password)| {
                format!("url={repository}\nusername={user}\npassword={password}\n")
            });
        Ok(Credentials { ssh_key, known_hosts, login })
    }
}

impl Credentials {
    /// Whether git gets files.
    pub(super) fn are_needed(&self) -> bool {
        self.ssh_key.is_some() || self.login.is_some()
    }

    /// `-c` options and variables that a git command gets.
    pub(super) fn apply(
        &self,
        command: &str,
        files: Option<&AuthFiles>,
        version: &GitVersion,
    ) -> (Vec<String>, Option<(String, String)>) {
        let Some(files) = files.filter(|_| TALKING.contains(&command)) else { return (Vec::new(), None) };
        let (mut options, mut variable) = (Vec::new(), None);
        if self.ssh_key.is_some() {
            let ssh = self.ssh_command(files);
            if version.knows_ssh_option() {
                options.push(format!("core.sshCommand={ssh}"));
            } else {
                variable = Some(("GIT_SSH_COMMAND".to_owned(), ssh));
            }
        }
        if self.login.is_some() {
            // The empty one first: no other store is asked.
            options.push("credential.helper=".to_owned());
            options.push(format!("credential.helper=store \"--file={}\"", files.quoted(".git-credentials")));
        }
        (options, variable)
    }

    fn ssh_command(&self, files: &AuthFiles) -> String {
        let mut command = format!("ssh -o \"BatchMode=yes\" -i \"{}\"", files.quoted("ssh-key"));
        if self.known_hosts.is_some() {
            command.push_str(&format!(" -o \"UserKnownHostsFile={}\"", files.quoted("ssh-known-hosts")));
        }
        command
    }
}

/// Some providers of secrets cut off the newline that ssh wants.
fn with_newline(mut key: String) -> String {
    if !key.ends_with(['\n', '\r']) {
        key.push('\n');
    }
    key
}

impl AuthFiles {
    /// Beside the builder's directory, because a repository is cloned into an empty one.
    pub(super) fn new(context: &StepContext<'_>, workdir: &str) -> Result<AuthFiles, StepEnd> {
        let workdir = workdir.trim_end_matches('/');
        let parent = workdir.rsplit_once('/').map_or("", |(parent, _)| parent);
        let base = match context.worker_info("basedir") {
            _ if workdir.starts_with('/') => "",
            Some(Value::String(base)) => base,
            _ => return Err(StepEnd::Exception("the worker doesn't tell its base directory".to_owned())),
        };
        let name = format!(".{}.{}.buildbot", context.builddir(), base_name(workdir));
        Ok(AuthFiles { dir: join(&join(base, parent), &name) })
    }

    /// The path of one of them.
    pub(super) fn path(&self, name: &str) -> String {
        join(&self.dir, name)
    }

    /// The same between double quotes for the shell that git starts: a work directory may be called like something that a
    /// shell acts on.
    fn quoted(&self, name: &str) -> String {
        let path = self.path(name);
        if !path.contains(ACTED_ON) {
            return path;
        }
        path.chars()
            .flat_map(|c| (c == '\\' || ACTED_ON.contains(&c)).then_some('\\').into_iter().chain([c]))
            .collect()
    }
}
