//! Real `buildbot-worker`s, as everybody has them installed, and Buildbot's command line.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

use crate::process::{self, Ended};
use crate::template::run;
use crate::worker::PASSWORD;
use crate::{Process, Site};

/// A release of `buildbot-worker`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// 4.3.0.
    Current,
    /// The last one of 3.x.
    Three,
}

/// How it talks to the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Protocol {
    Pb,
    Msgpack,
}

/// A stock worker's directory, and its process while it runs.
pub struct StockWorker {
    dir: PathBuf,
    program: PathBuf,
    lives: u32,
    process: Option<Process>,
}

impl StockWorker {
    /// Makes the directory of a worker; `options` are those of `create-worker`.
    #[track_caller]
    pub fn create(
        site: &Site,
        place: &str,
        name: &str,
        release: Release,
        protocol: Protocol,
        master: SocketAddr,
        options: &[&str],
    ) -> StockWorker {
        let (dir, program) = (site.path(place), worker_program(release));
        let mut command = Command::new(&program);
        command.arg("create-worker").args(options);
        if protocol == Protocol::Msgpack {
            // The first releases of 3.x know PB only, and no such option.
            command.arg("--protocol=msgpack_experimental_v7");
        }
        command.arg(&dir).args([&master.to_string(), name, PASSWORD]);
        let created = process::run(&mut command, &site.path(&format!("{place}-create.log")));
        assert!(created.status.success(), "{}", created.said);
        StockWorker { dir, program, lives: 0, process: None }
    }

    /// Starts the process; that it is connected shows at the master.
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// The same with more variables in its environment.
    pub fn start_with(&mut self, variables: &[(&str, &str)]) {
        self.lives += 1;
        let place = self.dir.file_name().and_then(|name| name.to_str()).unwrap();
        let log = self.dir.with_file_name(format!("{place}-{}.log", self.lives));
        let mut command = Command::new(&self.program);
        command.args(["start", "--nodaemon"]).arg(&self.dir).current_dir(&self.dir);
        command.envs(variables.iter().copied());
        self.process = Some(Process::start(&mut command, &log));
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What its own log says.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.dir.join("twistd.log")).unwrap_or_default()
    }

    /// The running process.
    #[track_caller]
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the worker was started")
    }

    /// Ends it as a power cut would.
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.take().expect("the worker was started").kill();
    }
}

/// Runs `buildbot ARGUMENTS` to its end.
pub fn buildbot(site: &Site, arguments: &[&str]) -> Ended {
    process::run(&mut buildbot_command(site, arguments), &site.path("buildbot.log"))
}

/// `buildbot ARGUMENTS`, to be run in the site.
pub fn buildbot_command(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new(installed("MUSTER_BUILDBOT", ".venv/bin/buildbot"));
    command.args(arguments).current_dir(site.path(""));
    command
}

fn worker_program(release: Release) -> PathBuf {
    match release {
        Release::Current => installed("MUSTER_STOCK_WORKER", ".venv/bin/buildbot-worker"),
        Release::Three => installed("MUSTER_STOCK_WORKER_3", ".venv-3/bin/buildbot-worker"),
    }
}

/// What [`with_drivers`] installs.
const WITH_DRIVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/requirements-drivers.txt");

/// A virtualenv with Buildbot 4.3.0, its pages, and what it needs on database servers; installed by the first test that
/// wants it and kept for the next, also for those in Python.
pub fn with_drivers() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    fs::create_dir_all(&target).unwrap();
    let target = target.canonicalize().unwrap();
    let lock = File::create(target.join("buildbot-4.3.0.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let environment = target.join("buildbot-4.3.0");
    let (complete, packages) = (environment.join("complete"), fs::read_to_string(WITH_DRIVERS).unwrap());
    if fs::read_to_string(&complete).ok().as_deref() != Some(&packages) {
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment));
        let mut pip = Command::new(environment.join("bin/pip"));
        run(pip.args(["install", "--quiet", "--disable-pip-version-check", "-r", WITH_DRIVERS]));
        fs::write(complete, packages).unwrap();
    }
    environment
}

/// A program that `make test` installs, or the one that the environment names.
fn installed(variable: &str, path: &str) -> PathBuf {
    let program = std::env::var_os(variable)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path), PathBuf::from);
    assert!(
        program.exists(),
        "{} is missing; `make test` installs it, or name another in {variable}",
        program.display()
    );
    program
}
