//! A real Buildbot 4.3.0, installed by the first test that wants one and kept for the next.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use muster_tests::{process::Process, rest::Rest, wait::until_ok};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::template::run;

/// What is installed: Buildbot, drivers for the databases, and the compressions it has no room for by itself.
const PACKAGES: [&str; 7] =
    ["buildbot==4.3.0", "buildbot-www==4.3.0", "psycopg[binary]", "pymysql", "brotli", "zstandard", "lz4"];

fn installed() -> PathBuf {
    let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target");
    fs::create_dir_all(&target).unwrap();
    let target = target.canonicalize().unwrap();
    let lock = File::create(target.join("buildbot-4.3.0.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let environment = target.join("buildbot-4.3.0");
    let complete = environment.join("complete");
    if !complete.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
        let mut pip = Command::new(environment.join("bin/pip"));
        run(pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES));
        File::create(complete).unwrap();
    }
    environment
}

/// A Buildbot master's directory.
pub struct Buildbot {
    directory: TempDir,
    environment: PathBuf,
    address: SocketAddr,
}

impl Buildbot {
    /// Prepares a master on the database of `url`, as SQLAlchemy writes it.
    pub fn new(url: &str) -> Buildbot {
        let environment = installed();
        let directory = tempfile::tempdir().unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        let buildbot = Buildbot { directory, environment, address };
        buildbot.command(&["create-master", "--relocatable"]);
        let config = format!(
            "from buildbot.plugins import schedulers, util, worker\n\
             c = BuildmasterConfig = {{\n\
             \x20   'db': {{'db_url': '{url}'}},\n\
             \x20   'workers': [worker.Worker('python', 'pw')],\n\
             \x20   'builders': [util.BuilderConfig('python', workernames=['python'], factory=util.BuildFactory())],\n\
             \x20   'schedulers': [schedulers.ForceScheduler('force', builderNames=['python'])],\n\
             \x20   'protocols': {{'pb': {{'port': 'tcp:0:interface=127.0.0.1'}}}},\n\
             \x20   'buildbotNetUsageData': None,\n\
             \x20   'www': {{'port': 'tcp:{}:interface=127.0.0.1'}},\n\
             }}\n",
            address.port()
        );
        fs::write(buildbot.directory.path().join("master.cfg"), config).unwrap();
        buildbot
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, arguments: &[&str]) -> String {
        run(Command::new(self.environment.join("bin/buildbot")).args(arguments).arg(self.directory.path()))
    }

    /// Makes its tables.
    pub fn upgrade(&self) -> String {
        self.command(&["upgrade-master"])
    }

    /// Starts it, and waits until it answers.
    pub fn start(&self) -> (Process, Rest) {
        let mut command = Command::new(self.environment.join("bin/buildbot"));
        command.args(["start", "--nodaemon"]).arg(self.directory.path());
        let mut process = Process::start(&mut command, &self.directory.path().join("said"));
        let rest = Rest(self.address);
        until_ok(|| {
            assert!(process.is_running(), "Buildbot has ended:\n{}", process.said());
            rest.try_get("masters").map(drop).map_err(|error| error.to_string())
        });
        (process, rest)
    }
}
