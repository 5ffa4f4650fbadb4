//! A master of Buildbot 4.3.0.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use muster_tests::{process::Process, rest::Rest, stock, template::run, wait::until_ok};
use tempfile::TempDir;

/// A Buildbot master's directory.
pub struct Buildbot {
    directory: TempDir,
    environment: PathBuf,
    address: SocketAddr,
}

impl Buildbot {
    /// Prepares a master on the database of `url`, as SQLAlchemy writes it.
    pub fn new(url: &str) -> Buildbot {
        let environment = stock::with_drivers();
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
