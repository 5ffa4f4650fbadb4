//! A Buildbot master with simulated workers of its own protocol, driven by the same calls.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muster_tests::{Process, Rest, Site, process, until};
use serde_json::Value;

use crate::contender::{self, Contender, WORKERS};

/// The processes and where the simulator tells what it saw. They go before their directory.
pub struct Buildbot {
    _workers: Process,
    master: Process,
    rest: Rest,
    status: PathBuf,
    events: PathBuf,
    _site: Site,
}

/// What Buildbot's own `create-master` writes, without its log rotation.
const TAC: &str = "
from twisted.application import service
from buildbot.master import BuildMaster

application = service.Application('buildmaster')
BuildMaster('.', 'master.cfg', None).setServiceParent(application)
";

impl Buildbot {
    /// Starts everything and waits until all workers are there. `venv` has `buildbot`; `simworker` is a Python program
    /// that simulates workers and takes the options below.
    pub fn start(venv: &Path, simworker: &Path) -> Buildbot {
        let site = Site::new();
        let dir = site.path("buildbot");
        std::fs::create_dir(&dir).unwrap();
        let (web, pb) = (contender::free_port(), contender::free_port());
        let protocols = format!(r#"{{"pb": {{"port": "tcp:{pb}:interface=127.0.0.1"}}}}"#);
        std::fs::write(dir.join("master.cfg"), contender::configuration(&protocols, web)).unwrap();
        std::fs::write(dir.join("buildbot.tac"), TAC).unwrap();
        let mut upgrade = Command::new(venv.join("bin/buildbot"));
        let upgraded =
            process::run(upgrade.args(["upgrade-master", "."]).current_dir(&dir), &site.path("upgrade.log"));
        assert!(upgraded.status.success(), "{}", upgraded.said);
        let mut twistd = Command::new(venv.join("bin/twistd"));
        twistd.args(["--nodaemon", "--pidfile", "", "--no_save", "-y", "buildbot.tac"]).current_dir(&dir);
        let mut master = Process::start(&mut twistd, &site.path("buildbot.log"));
        master.wait_for("BuildMaster is running");
        let (status, events) = (site.path("status.json"), site.path("events"));
        let mut fleet = Command::new(venv.join("bin/python"));
        fleet.arg(simworker).args(["--proto", "pb", "--master", &format!("127.0.0.1:{pb}")]);
        fleet.args(["--count", &WORKERS.to_string(), "--password", "pw"]);
        fleet.arg("--status").arg(&status).arg("--events").arg(&events);
        let workers = Process::start(&mut fleet, &site.path("simworker.log"));
        let rest = Rest(([127, 0, 0, 1], web).into());
        contender::wait_for_workers(rest, WORKERS);
        Buildbot { _workers: workers, master, rest, status, events, _site: site }
    }

    fn status(&self, name: &str) -> Option<f64> {
        let text = std::fs::read_to_string(&self.status).ok()?;
        serde_json::from_str::<Value>(&text).ok()?[name].as_f64()
    }
}

impl Contender for Buildbot {
    fn rest(&self) -> Rest {
        self.rest
    }

    fn process(&self) -> u32 {
        self.master.id()
    }

    fn commands_done(&self) -> usize {
        self.status("done").unwrap_or(0.0) as usize
    }

    fn starts(&mut self) -> HashMap<String, SystemTime> {
        // The simulator writes its events down together with its status, which carries the time.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        until("the simulator's events", || (self.status("t")? > now).then_some(()));
        let text = std::fs::read_to_string(&self.events).unwrap();
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let starts = events.filter(|event| event["ev"] == "start");
        let timed = |event: Value| {
            let at = UNIX_EPOCH + Duration::from_secs_f64(event["t"].as_f64()?);
            Some((event["tok"].as_str()?.to_owned(), at))
        };
        starts.filter_map(timed).collect()
    }
}
