//! The commands as a user runs them: what they print, and with what they end.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Any free ports, and no builders yet: enough for a master to run.
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
fn bad_configurations_are_told_with_their_place() {
    let master = Master::with("c = BuildmasterConfig = {\n");
    says(&muster(&["checkconfig", master.dir()]), 1, &["Configuration Errors:", "master.cfg"]);
    master.configure(&CONFIG.replace("c[\"www\"]", "c[\"wwww\"]"));
    says(&muster(&["checkconfig", master.dir()]), 1, &["Unknown BuildmasterConfig key wwww"]);
    master.configure(&CONFIG.replace("workernames=[\"w1\"]", "workernames=[\"w2\"]"));
    says(&muster(&["checkconfig", master.dir()]), 1, &["w2", "b1"]);
    says(&muster(&["start", master.dir()]), 1, &["w2", "BuildMaster startup failed"]);
}

#[test]
fn a_missing_python_is_told() {
    let master = Master::with(CONFIG);
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.args(["checkconfig", master.dir()]).env("MUSTER_PYTHON", "/nowhere/python3");
    says(&command.output().unwrap(), 1, &["/nowhere/python3", "Install Python 3.9"]);
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
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config =
        CONFIG.replace("\"www\"] = {\"port\": \"tcp:0:", &format!("\"www\"] = {{\"port\": \"tcp:{port}:"));
    let master = Master::with(&config);
    let words = [
        "BuildMaster startup failed",
        "c['www']['port']",
        &format!("port {port} is taken"),
        "choose another",
    ];
    says(&muster(&["start", master.dir()]), 1, &words);
}

#[test]
fn a_database_without_schema_says_what_to_run() {
    let master = Master::with(CONFIG);
    for file in ["state.sqlite", "state.sqlite-wal", "state.sqlite-shm"] {
        // The last two may not be there.
        let _ = fs::remove_file(master.path.join(file));
    }
    says(&muster(&["start", master.dir()]), 1, &["muster upgrade-master"]);
    ends(&muster(&["upgrade-master", "-q", master.dir()]), 0);
    ends(&muster(&["start", "-q", master.dir()]), 0);
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

#[test]
fn a_demo_needs_a_repository() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.args(["demo", "--once", "--port", "0"]).current_dir(home.path());
    says(&command.output().unwrap(), 1, &["is in no git repository", "checkout of Muster"]);
}
