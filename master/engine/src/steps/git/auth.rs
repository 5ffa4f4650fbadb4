//! What git needs to be let in: files beside the work directory, made before and removed after
//! (`docs/compat/behaviour-5-steps.md` 5.6, "Auth").

use muster_core::git::Words;
use muster_session::{Command, command::DownloadFile};
use serde_json::Value;

use super::{Checkout, version::GitVersion};
use crate::{
    effects::{CommandRequest, StepContext, StepEnd, Transfer},
    steps::arguments::{base_name, join},
};

/// The commands that talk to other repositories.
const TALKING: [&str; 7] = ["clone", "credential", "checkout", "fetch", "ls-remote", "push", "submodule"];
/// What a shell acts on between double quotes, beside a backslash before one of them.
const ACTED_ON: [char; 3] = ['"', '$', '`'];
/// Files of the owner alone.
const PRIVATE: u32 = 0o400;

/// How git is let in.
#[derive(Default)]
pub(super) struct Credentials {
    ssh_key: Option<String>,
    known_hosts: Option<String>,
    /// What `git credential approve` is told.
    login: Option<String>,
}

/// Where the files are.
#[derive(Clone)]
pub(super) struct AuthFiles {
    dir: String,
}

impl Credentials {
    pub(super) async fn read(
        context: &mut StepContext<'_>,
        repository: &str,
    ) -> Result<Credentials, StepEnd> {
        let ssh_key = context.text("sshPrivateKey").await?.map(with_newline);
        let host_key = context.text("sshHostKey").await?.map(|key| format!("* {key}"));
        let known_hosts = context.text("sshKnownHosts").await?.or(host_key);
        let login: Option<(String, String)> =
            context.typed("auth_credentials", "a pair (user, password)").await?;
        let login =
            login.map(|(user, password)| format!("url={repository}\nusername={user}\npassword={password}\n"));
        Ok(Credentials { ssh_key, known_hosts, login })
    }

    fn are_needed(&self) -> bool {
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
    fn new(context: &StepContext<'_>, workdir: &str) -> Result<AuthFiles, StepEnd> {
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

    fn path(&self, name: &str) -> String {
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

impl Checkout<'_, '_> {
    /// Writes the files that git needs, if it needs any.
    pub(super) async fn write_auth_files(&mut self) -> Result<(), StepEnd> {
        if !self.arguments.credentials.are_needed() {
            return Ok(());
        }
        let files = AuthFiles::new(self.context, &self.workdir)?;
        self.auth = Some(files.clone());
        self.order(Command::Mkdir { dirs: vec![files.dir.clone()] }).await?;
        let Credentials { ssh_key, known_hosts, login } = &self.arguments.credentials;
        let (ssh_key, known_hosts, login) = (ssh_key.clone(), known_hosts.clone(), login.clone());
        if let Some(key) = ssh_key {
            if !self.version.knows_ssh_variable() {
                return Err(StepEnd::Exception(
                    "sshPrivateKey needs git 2.3 or newer on the worker".to_owned(),
                ));
            }
            self.write_file(files.path("ssh-key"), key, Some(PRIVATE)).await?;
            if let Some(hosts) = known_hosts {
                self.write_file(files.path("ssh-known-hosts"), hosts, Some(PRIVATE)).await?;
            }
        }
        if let Some(login) = login {
            self.git_with_input(Words::new("credential").option("approve"), login).await?;
        }
        Ok(())
    }

    /// Removes them again.
    pub(super) async fn remove_auth_files(&mut self) -> Result<(), StepEnd> {
        match self.auth.take() {
            Some(files) => self.remove(files.dir).await,
            None => Ok(()),
        }
    }

    /// Writes a file on the worker.
    pub(super) async fn write_file(
        &mut self,
        destination: String,
        content: String,
        mode: Option<u32>,
    ) -> Result<(), StepEnd> {
        let download = DownloadFile { workdir: self.workdir.clone(), destination, max_size: None, mode };
        let request = CommandRequest::new(Command::DownloadFile(download), Some(&self.stdio));
        let result = self.context.transfer_command(request, Transfer::DownloadText(content)).await?;
        match crate::steps::upload::transferred(&result) {
            muster_core::Results::Success => Ok(()),
            muster_core::Results::Cancelled => Err(StepEnd::Cancelled),
            _ => Err(StepEnd::Failed),
        }
    }
}
