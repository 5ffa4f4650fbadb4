//! The commands as a user runs them: what they print, and with what they end.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Any free ports, and one builder: enough for a master to run.
const CONFIG: &str = r#"
from buildbot.plugins import schedulers, steps, util, worker
c = BuildmasterConfig = {}
c["workers"] = [worker.Worker("w1", "secret")]
c["protocols"] = {"session": {"port": "tcp:0:interface=127.0.0.1"}}
build = util.BuildFactory([steps.ShellCommand(command=["true"])])
c["builders"] = [util.BuilderConfig(name="b1", workernames=["w1"], factory=build)]
c["schedulers"] = [schedulers.ForceScheduler(name="force", builderNames=["b1"])]
c["www"] = {"port": "tcp:0:interface=127.0.0.1"}
"#;

fn muster(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_muster")).args(arguments).output().unwrap()
}

/// What a command printed, after it ended with `code`.
#[track_caller]
fn ends(output: &Output, code: i32) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

#[track_caller]
fn says(output: &Output, code: i32, words: &[&str]) {
    let text = ends(output, code);
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    for never in ["panicked", "RUST_BACKTRACE", "Os {"] {
        assert!(!text.contains(never), "{never:?} is in: {text}");
    }
}

/// A master's directory with a configuration; the master in it is stopped at the end.
struct Master {
    path: PathBuf,
    _home: tempfile::TempDir,
}

impl Master {
    fn with(config: &str) -> Master {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("master");
        let master = Master { path, _home: home };
        ends(&muster(&["create-master", "-q", master.dir()]), 0);
        master.configure(config);
        master
    }

    fn dir(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn configure(&self, config: &str) {
        fs::write(self.path.join("master.cfg"), config).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path.join("muster.log")).unwrap_or_default()
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        muster(&["stop", "-q", self.dir()]);
    }
}

#[test]
fn version_help_and_wrong_usage() {
    says(&muster(&["--version"]), 0, &["muster 0."]);
    says(&muster(&["--help"]), 0, &["create-master", "checkconfig", "worker", "demo"]);
    says(&muster(&["strat"]), 1, &["strat", "start"]);
    says(&muster(&["demo", "--port", "many"]), 1, &["--port"]);
}

#[test]
fn a_new_master_has_an_example_and_a_database() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("m");
    let dir = dir.to_str().unwrap();
    says(&muster(&["create-master", dir]), 0, &["master.cfg.sample", "muster start"]);
    assert!(Path::new(dir).join("state.sqlite").exists());
    says(&muster(&["start", dir]), 1, &["master.cfg does not exist"]);
    fs::copy(format!("{dir}/master.cfg.sample"), format!("{dir}/master.cfg")).unwrap();
    says(&muster(&["checkconfig", dir]), 0, &["Config file is good!"]);
    says(&muster(&["checkconfig", &format!("{dir}/master.cfg")]), 0, &["Config file is good!"]);
    says(&muster(&["upgrade-master", dir]), 0, &["upgrade complete"]);
    // Again: nothing of the user's is touched.
    fs::write(format!("{dir}/master.cfg"), "mine").unwrap();
    ends(&muster(&["create-master", dir]), 0);
    assert_eq!(fs::read_to_string(format!("{dir}/master.cfg")).unwrap(), "mine");
}

#[test]
fn a_master_starts_reconfigures_and_stops() {
    let master = Master::with(CONFIG);
    says(&muster(&["start", master.dir()]), 0, &["BuildMaster is running"]);
    says(&muster(&["start", master.dir()]), 1, &["already runs", "muster stop"]);
    says(&muster(&["master", master.dir()]), 1, &["already runs", "muster stop"]);
    says(&muster(&["upgrade-master", master.dir()]), 1, &["muster stop"]);

    says(&muster(&["reconfig", master.dir()]), 0, &["configuration update complete"]);
    master.configure("raise Exception('no')");
    says(
        &muster(&["reconfig", master.dir()]),
        1,
        &["configuration update aborted without making any changes"],
    );
    master.configure(CONFIG);

    says(&muster(&["restart", master.dir()]), 0, &["has stopped", "BuildMaster is running"]);
    says(&muster(&["stop", master.dir()]), 0, &["has stopped"]);
    assert!(master.log().trim_end().ends_with("Server Shut Down."), "{}", master.log());
    assert!(!master.path.join("muster.pid").exists());
    says(&muster(&["stop", master.dir()]), 0, &["was not running"]);
    says(&muster(&["reconfig", master.dir()]), 1, &["no master runs", "muster start"]);
}

#[test]
fn a_start_in_the_background_shows_why_it_failed() {
    let master = Master::with(&CONFIG.replace("workernames=[\"w1\"]", "workernames=[\"w2\"]"));
    says(&muster(&["start", master.dir()]), 1, &["w2", "BuildMaster startup failed", "muster.log"]);
}

#[test]
fn a_worker_needs_to_know_its_master() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("w");
    let dir = dir.to_str().unwrap();
    says(&muster(&["worker", dir]), 1, &["--master ws://HOST:PORT"]);
    says(&muster(&["create-worker", dir, "http://x", "w1", "secret"]), 1, &["write ws://HOST"]);
    says(&muster(&["create-worker", dir, "localhost:9990", "w1", "secret"]), 0, &["muster worker"]);
    says(
        &muster(&["create-worker", dir, "localhost:9990", "w1", "secret"]),
        1,
        &["worker.toml", "remove it"],
    );
}
