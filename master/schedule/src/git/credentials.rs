//! Keys for `ssh` and passwords, in files that exist only while a poll runs.

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
    /// User and password where the repository is reached by HTTP.
    pub(crate) login: Option<(String, String)>,
}

/// Files that go when this is dropped.
pub(crate) struct KeyFiles {
    _held: Option<TempDir>,
}

impl Credentials {
    /// Writes the files below `directory` and makes git use them for `repository`.
    pub(crate) fn install(
        &self,
        git: Git,
        directory: &Path,
        repository: &str,
    ) -> Result<(Git, KeyFiles), GitError> {
        if self.private_key.is_none() && self.login.is_none() {
            return Ok((git, KeyFiles { _held: None }));
        }
        let failed = |error| GitError::Io { what: format!("keys in {}", directory.display()), error };
        let files = tempfile::Builder::new().prefix(".muster-ssh").tempdir_in(directory).map_err(failed)?;
        let git = self.install_key(git, files.path()).map_err(failed)?;
        let git = self.install_login(git, files.path(), repository).map_err(failed)?;
        Ok((git, KeyFiles { _held: Some(files) }))
    }

    fn install_key(&self, git: Git, files: &Path) -> std::io::Result<Git> {
        let Some(private_key) = &self.private_key else { return Ok(git) };
        let key = write_private(files.join("key"), &with_newline(private_key))?;
        let mut ssh = format!("ssh -o BatchMode=yes -o IdentitiesOnly=yes -i {}", quoted(&key));
        let known_hosts = match (&self.known_hosts, &self.host_key) {
            (Some(known_hosts), _) => Some(with_newline(known_hosts)),
            (None, Some(host_key)) => Some(format!("* {}", with_newline(host_key))),
            (None, None) => None,
        };
        if let Some(known_hosts) = known_hosts {
            let file = write_private(files.join("known_hosts"), &known_hosts)?;
            ssh.push_str(&format!(" -o UserKnownHostsFile={}", quoted(&file)));
        }
        Ok(git.with("GIT_SSH_COMMAND", ssh))
    }

    /// The place of the repository alone is told the password: not where it redirects to.
    fn install_login(&self, git: Git, files: &Path, repository: &str) -> std::io::Result<Git> {
        let Some((user, password)) = &self.login else { return Ok(git) };
        let answer = format!("username={user}\npassword={password}\n");
        let file = write_private(files.join("login"), &answer)?;
        let helper = format!("!tell() {{ test \"$1\" != get || cat {}; }}; tell", quoted(&file));
        // The empty one first: no other store is asked.
        Ok(git
            .configured("credential.helper", "")
            .configured(&format!("credential.{}.helper", place_of(repository)), &helper))
    }
}

/// Scheme, host and port of an address.
fn place_of(repository: &str) -> String {
    let Some((scheme, rest)) = repository.split_once("://") else { return repository.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}")
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
            ..Credentials::default()
        };
        let git = Git::new("git", directory.path());
        let (git, files) = credentials.install(git, directory.path(), "git@h:r").unwrap();
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

    #[tokio::test]
    async fn a_password_is_told_to_the_place_of_the_repository_alone() {
        let directory = tempfile::tempdir().unwrap();
        let login = Some(("me".to_owned(), "pass word".to_owned()));
        let credentials = Credentials { login, ..Credentials::default() };
        let git = Git::new("git", directory.path());
        let (git, files) =
            credentials.install(git, directory.path(), "https://old@git.example.org:8443/a/r.git").unwrap();
        let ask = |host: &str| {
            let alias: &'static str = Box::leak(format!(
                "alias.ask=!printf 'protocol=https\\nhost={host}\\n' | GIT_ASKPASS=false git credential fill 2>/dev/null || true"
            ).into_boxed_str());
            let git = git.clone();
            async move {
                let words = Words::new("-c").options(&[alias, "ask"]);
                let told = git.run(words, Duration::from_secs(30)).await;
                told.unwrap()
            }
        };
        let told = ask("git.example.org:8443").await;
        assert!(told.contains("username=me\npassword=pass word"), "{told}");
        for other in ["git.example.org", "evil.example.org:8443"] {
            assert!(!ask(other).await.contains("pass word"), "{other}");
        }
        drop(files);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
