//! A repository to build.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A git repository with a branch `main`.
pub struct Repository(PathBuf);

impl Repository {
    /// A new one at `path`, with one commit.
    pub fn create(path: &Path) -> Repository {
        std::fs::create_dir(path).unwrap();
        let repository = Repository(path.to_owned());
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.commit("README", "a repository\n", "Begin");
        repository
    }

    /// One that is there.
    pub fn open(path: &Path) -> Repository {
        Repository(path.to_owned())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Commits one file; answers the revision.
    pub fn commit(&self, file: &str, text: &str, comments: &str) -> String {
        std::fs::write(self.0.join(file), text).unwrap();
        self.git(&["add", file]);
        self.git(&["commit", "--quiet", "--message", comments]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// The same, by somebody else; `author` is `Name <address>`.
    pub fn commit_by(&self, author: &str, file: &str, comments: &str) -> String {
        std::fs::write(self.0.join(file), comments).unwrap();
        self.git(&["add", file]);
        self.git(&["commit", "--quiet", "--author", author, "--message", comments]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.current_dir(&self.0).args(arguments);
        // Whatever the person at this machine has configured.
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        for role in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{role}_NAME"), "Ada")
                .env(format!("GIT_{role}_EMAIL"), "ada@example.org");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}
