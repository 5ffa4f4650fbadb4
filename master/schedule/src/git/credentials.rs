//! Keys for `ssh`, in files that exist only while a poll runs.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{Git, GitError};

/// What a poller may need to be let in.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Credentials {
    pub(crate) private_key: Option<String>,
    /// One key of the host, as in a `known_hosts` file but without the host.
    pub(crate) host_key: Option<String>,
    /// The content of a whole `known_hosts` file.
    pub(crate) known_hosts: Option<String>,
}

/// Files that go when this is dropped.
pub(crate) struct KeyFiles {
    _held: Option<TempDir>,
}

impl Credentials {
    /// Writes the files below `directory` and makes git use them.
    pub(crate) fn install(&self, git: Git, directory: &Path) -> Result<(Git, KeyFiles), GitError> {
        let Some(private_key) = &self.private_key else {
            return Ok((git, KeyFiles { _held: None }));
        };
        let failed = |error| GitError::Io { what: format!("keys in {}", directory.display()), error };
        let files = tempfile::Builder::new().prefix(".muster-ssh").tempdir_in(directory).map_err(failed)?;
        let key = write_private(files.path().join("key"), &with_newline(private_key)).map_err(failed)?;
        let mut ssh = format!("ssh -o BatchMode=yes -o IdentitiesOnly=yes -i {}", quoted(&key));
        let known_hosts = match (&self.known_hosts, &self.host_key) {
            (Some(known_hosts), _) => Some(with_newline(known_hosts)),
            (None, Some(host_key)) => Some(format!("* {}", with_newline(host_key))),
            (None, None) => None,
        };
        if let Some(known_hosts) = known_hosts {
            let file = write_private(files.path().join("known_hosts"), &known_hosts).map_err(failed)?;
            ssh.push_str(&format!(" -o UserKnownHostsFile={}", quoted(&file)));
        }
        Ok((git.with("GIT_SSH_COMMAND", ssh), KeyFiles { _held: Some(files) }))
    }
}

fn write_private(path: PathBuf, content: &str) -> std::io::Result<PathBuf> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(content.as_bytes())?;
    Ok(path)
}

/// OpenSSH refuses a key file without a final line break.
fn with_newline(text: &str) -> String {
    format!("{}\n", text.trim_end())
}

/// For the shell that git starts.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::git::Words;
    use std::{os::unix::fs::PermissionsExt, time::Duration};

    #[tokio::test]
    async fn the_key_is_private_and_gone_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let credentials = Credentials {
            private_key: Some("KEY".into()),
            host_key: Some("ssh-ed25519 AAA".into()),
            known_hosts: None,
        };
        let git = Git::new("git", directory.path());
        let (git, files) = credentials.install(git, directory.path()).unwrap();
        let alias = "alias.tell=!echo \"$GIT_SSH_COMMAND\"";
        let command =
            git.run(Words::new("-c").options(&[alias, "tell"]), Duration::from_secs(30)).await.unwrap();
        let key = command.split('\'').nth(1).unwrap();
        assert_eq!(std::fs::read_to_string(key).unwrap(), "KEY\n");
        assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
        let known_hosts = command.split('\'').nth(3).unwrap();
        assert_eq!(std::fs::read_to_string(known_hosts).unwrap(), "* ssh-ed25519 AAA\n");
        drop(files);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
