//! Before the demo: its directory, its repository, its ports, its environment.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Error, Result, anyhow, bail};
use muster_store::{Db, DbUrl};
use muster_worker::PASSWORD_VARIABLE;

use crate::cli::Demo;
use crate::commands;
use crate::config::{DEFAULT_DB_URL, FIRST_CONFIG};

/// Variables of the demo that its worker, and so the commands of builds, must not see: a demo inside a build of a demo
/// would take them for its own.
pub const PRIVATE: [&str; 7] = [DIR, REPOSITORY, BRANCH, TEST, WEB_PORT, SESSION_PORT, URL];

const DIR: &str = "MUSTER_DEMO_DIR";
// The names that `docs/first-master.cfg` reads.
const REPOSITORY: &str = "MUSTER_REPOSITORY";
const BRANCH: &str = "MUSTER_BRANCH";
const TEST: &str = "MUSTER_TEST_COMMAND";
const WEB_PORT: &str = "MUSTER_WEB_PORT";
const SESSION_PORT: &str = "MUSTER_SESSION_PORT";
const URL: &str = "MUSTER_URL";

/// Tests of Muster's own that take seconds, for its own repository.
const OWN_TESTS: &str = "master/config/python/tests";

/// A demo that is ready to run.
pub struct Prepared {
    /// Holds `master` and `worker`.
    pub dir: PathBuf,
    /// Where the repository is.
    pub repository: String,
    /// What is built of it.
    pub branch: String,
    /// Where the pages will be; ends with a slash.
    pub url: String,
}

impl Prepared {
    /// What [`prepare_and_begin_again`] left; `None` when it was not called yet.
    pub fn from_environment() -> Option<Prepared> {
        let text = |name| std::env::var(name).ok();
        let dir = std::env::var_os(DIR)?.into();
        Some(Prepared { dir, repository: text(REPOSITORY)?, branch: text(BRANCH)?, url: text(URL)? })
    }
}

/// Prepares everything and becomes this program again, in the new environment. Returns only when that fails.
pub fn prepare_and_begin_again(options: &Demo) -> Error {
    match prepare(options) {
        Ok(mut again) => Error::new(again.exec()).context("can't start this program again"),
        Err(error) => error,
    }
}

fn prepare(options: &Demo) -> Result<Command> {
    let repository = repository(&std::env::current_dir().context("the current directory is gone")?)?;
    let branch = branch(&repository)?;
    let port = free_port(options.port)?;
    let dir = directory(options)?;
    let program = std::env::current_exe().context("can't find this program's own file")?;
    let mut again = Command::new(program);
    again.args(std::env::args_os().skip(1));
    again.env(DIR, &dir).env(REPOSITORY, &repository).env(BRANCH, &branch);
    if let Some(command) = test_command(options, &repository) {
        again.env(TEST, command);
    }
    again
        .env(WEB_PORT, format!("tcp:{port}:interface=127.0.0.1"))
        .env(URL, format!("http://127.0.0.1:{port}/"));
    again
        .env(SESSION_PORT, "tcp:0:interface=127.0.0.1")
        .env(PASSWORD_VARIABLE, uuid::Uuid::new_v4().to_string());
    Ok(again)
}

/// What the demo tests with; `None` leaves it to the example.
fn test_command(options: &Demo, repository: &Path) -> Option<String> {
    let own = || {
        repository
            .join(OWN_TESTS)
            .is_dir()
            .then(|| format!("python3 -m unittest discover -v -s {OWN_TESTS} -t master/config/python"))
    };
    options.command.clone().or_else(own)
}

/// The checkout around `start`.
fn repository(start: &Path) -> Result<PathBuf> {
    let found = start.ancestors().find(|dir| dir.join(".git").exists());
    let Some(found) = found else {
        bail!(
            "{} is in no git repository; go to a checkout, of Muster or of a project of yours, and start the demo there",
            start.display()
        );
    };
    Ok(found.to_owned())
}

/// The branch that is checked out, or one that has the commit that is.
fn branch(repository: &Path) -> Result<String> {
    let current = git(repository, &["branch", "--show-current"])?;
    if !current.is_empty() {
        return Ok(current);
    }
    let containing =
        git(repository, &["for-each-ref", "--contains=HEAD", "--format=%(refname:short)", "refs/heads"])?;
    let first = containing.lines().next();
    first.map(str::to_owned).ok_or_else(|| {
        anyhow!("{} is on no branch; make one with `git switch -c NAME` and try again", repository.display())
    })
}

fn git(repository: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").arg("-C").arg(repository).args(arguments).output();
    let output = output.context("can't run git; install it (on Debian: apt-get install git)")?;
    if !output.status.success() {
        bail!("git refuses {}: {}", repository.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The port itself when it is free, or any free one for 0. Chosen before the start, because the configuration names it.
fn free_port(wanted: u16) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)).with_context(|| {
        format!("port {wanted} can't be used; choose another one, or any: `muster demo --port 0`")
    })?;
    Ok(listener.local_addr().context("the new socket has no address")?.port())
}

fn directory(options: &Demo) -> Result<PathBuf> {
    let Some(dir) = &options.dir else {
        let temporary = tempfile::Builder::new().prefix("muster-demo-").tempdir();
        let temporary = temporary.context("can't create a temporary directory; choose one with --dir")?;
        fill(temporary.path())?;
        // From here on, whoever runs the demo removes it.
        return Ok(temporary.keep());
    };
    std::fs::create_dir_all(dir)
        .with_context(|| format!("can't create {}; choose another --dir", dir.display()))?;
    let dir = dir.canonicalize().with_context(|| format!("can't use {}", dir.display()))?;
    fill(&dir)?;
    Ok(dir)
}

/// The master's directory as `create-master` makes it, with the example as its configuration.
fn fill(dir: &Path) -> Result<()> {
    let master = dir.join("master");
    std::fs::create_dir_all(&master).with_context(|| format!("can't create {}", master.display()))?;
    let config = master.join("master.cfg");
    // A configuration that somebody changed since an earlier demo in this directory is kept.
    if !config.exists() {
        std::fs::write(&config, FIRST_CONFIG).with_context(|| format!("can't write {}", config.display()))?;
    }
    let url = DbUrl::parse(DEFAULT_DB_URL, &master)?;
    commands::block_on(async { Ok(Db::upgrade(&url).await?) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_reads_every_variable_that_the_demo_sets() {
        for name in [REPOSITORY, BRANCH, TEST, WEB_PORT, SESSION_PORT, URL, PASSWORD_VARIABLE] {
            assert!(FIRST_CONFIG.contains(&format!("\"{name}\"")), "{name}");
        }
    }

    #[test]
    fn the_repository_is_found_upwards() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::create_dir(dir.path().join("a/.git")).unwrap();
        assert_eq!(repository(&inner).unwrap(), dir.path().join("a"));
    }

    #[test]
    fn a_taken_port_says_what_to_do() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let error = free_port(taken.local_addr().unwrap().port()).unwrap_err().to_string();
        assert!(error.contains("--port 0"), "{error}");
        assert_ne!(free_port(0).unwrap(), 0);
    }
}
