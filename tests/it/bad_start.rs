//! Starts that can't succeed: taken ports, wrong directories, foreign databases, second processes.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use muster_tests::process::{self, Ended};
use muster_tests::{Master, Results, Site, Worker, binary};
use serde_json::json;

const CONFIG: &str = "builder(\"good\", sh(\"true\"))\n";
/// Who has no rights: `nobody` of Debian. Only used when the tests run as root.
const NOBODY: &str = "65534";

#[track_caller]
fn assert_refused(ended: &Ended, words: &[&str]) {
    assert!(!ended.status.success(), "{}", ended.said);
    for word in words {
        assert!(ended.said.contains(word), "{word:?} is missing in\n{}", ended.said);
    }
    assert!(!ended.said.contains("panicked"), "{}", ended.said);
}

#[track_caller]
fn still_builds(site: &Site, master: &mut Master) {
    let rest = master.start();
    let _worker = master.start_worker(site);
    let request = rest.force("good", json!({}));
    rest.built(request, Results::Success);
    assert!(master.stop().success());
}

#[test]
fn a_taken_port_is_named() {
    let site = Site::new();
    let mut master = Master::new(&site, CONFIG);
    for (address, setting) in [(master.web, "c['www']['port']"), (master.sessions, "c['protocols']")] {
        let taken = TcpListener::bind(address).unwrap();
        let ended = master.run("master");
        assert_refused(&ended, &[&address.port().to_string(), setting, "BuildMaster startup failed"]);
        drop(taken);
    }
    still_builds(&site, &mut master);
}

#[test]
fn one_master_in_a_directory() {
    let site = Site::new();
    let mut master = Master::new(&site, CONFIG);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let pid = master.process().id().to_string();
    assert_refused(&master.run("master"), &["already runs", &pid, "muster stop"]);
    assert_refused(&master.run("upgrade-master"), &["runs", &pid, "muster stop"]);
    let request = rest.force("good", json!({}));
    rest.built(request, Results::Success);
}

#[test]
fn one_worker_in_a_directory() {
    let site = Site::new();
    let mut master = Master::new(&site, CONFIG);
    let rest = master.start();
    let mut worker = master.start_worker(&site);
    let dir = worker.dir().to_str().unwrap().to_owned();
    let url = format!("ws://{}", master.sessions);
    let mut second =
        binary::command(&["worker", &dir, "--master", &url, "--name", "w1", "--password", "secret"]);
    let ended = process::run(&mut second, &site.path("second.log"));
    assert_refused(&ended, &[&dir, &worker.process().id().to_string()]);
    let request = rest.force("good", json!({}));
    rest.built(request, Results::Success);
}

#[test]
fn a_directory_that_is_none_is_refused() {
    let site = Site::new();
    let file = site.write("file", "I am a file\n");
    let inside = file.join("inside");
    for dir in [&file, &inside] {
        let dir = dir.to_str().unwrap();
        for arguments in [vec!["create-master", dir], vec!["master", dir], worker_in(dir)] {
            let ended = process::run(&mut binary::command(&arguments), &site.path("refused.log"));
            assert_refused(&ended, &[file.to_str().unwrap()]);
        }
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "I am a file\n");
}

fn worker_in(dir: &str) -> Vec<&str> {
    vec!["worker", dir, "--master", "ws://127.0.0.1:1", "--name", "w1", "--password", "secret"]
}

#[test]
fn a_directory_without_rights_is_refused() {
    let site = Site::new();
    let mut master = Master::new(&site, CONFIG);
    // Somebody else may look but not write.
    std::fs::set_permissions(site.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(master.dir(), std::fs::Permissions::from_mode(0o555)).unwrap();
    let ended = unprivileged(&site, &["master", master.dir()]);
    assert_refused(&ended, &[master.dir(), "right"]);
    let locked = site.path("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).unwrap();
    let dir = locked.join("worker");
    assert_refused(&unprivileged(&site, &worker_in(dir.to_str().unwrap())), &[dir.to_str().unwrap()]);
    assert_refused(&unprivileged(&site, &["create-master", dir.to_str().unwrap()]), &[dir.to_str().unwrap()]);
    std::fs::set_permissions(master.dir(), std::fs::Permissions::from_mode(0o755)).unwrap();
    still_builds(&site, &mut master);
}

/// Runs `muster` as somebody who is not root, to whom no right would be missing.
fn unprivileged(site: &Site, arguments: &[&str]) -> Ended {
    let mut command = binary::command(arguments);
    if rustix::process::geteuid().is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        // The build directory may be out of reach for somebody else.
        let reachable = site.path("muster-for-all");
        if !reachable.exists() {
            std::fs::copy(binary::muster(), &reachable).unwrap();
        }
        command.arg(reachable).args(arguments);
    }
    process::run(&mut command, &site.path("unprivileged.log"))
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let site = Site::new();
    let mut master = Master::new(&site, CONFIG);
    master.database().execute("UPDATE muster_schema SET version = 900, oldest_compatible = 899");
    for command in ["master", "upgrade-master"] {
        assert_refused(&master.run(command), &["900", "newer", "899"]);
    }
    assert_eq!(master.database().number("SELECT version FROM muster_schema"), 900);
    let (version, oldest) = (muster_version(&site), 1);
    let restore = format!("UPDATE muster_schema SET version = {version}, oldest_compatible = {oldest}");
    master.database().execute(&restore);
    still_builds(&site, &mut master);
}

/// The schema's version that a new database has.
fn muster_version(site: &Site) -> i64 {
    let dir = site.path("fresh");
    let created = process::run(
        &mut binary::command(&["create-master", dir.to_str().unwrap()]),
        &site.path("fresh.log"),
    );
    assert!(created.status.success(), "{}", created.said);
    muster_tests::Database::open(&dir.join("state.sqlite")).number("SELECT version FROM muster_schema")
}

#[test]
fn a_compatible_newer_database_is_used() {
    let site = Site::new();
    let mut master = Master::new(&site, CONFIG);
    master.database().execute("UPDATE muster_schema SET version = 900");
    still_builds(&site, &mut master);
    assert_eq!(master.database().number("SELECT version FROM muster_schema"), 900);
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let site = Site::new();
    let master = Master::new(&site, CONFIG);
    let text = "These are notes, not a database.\n".repeat(100);
    std::fs::write(master.path("state.sqlite"), &text).unwrap();
    for name in ["state.sqlite-wal", "state.sqlite-shm"] {
        // They may not be there.
        let _ = std::fs::remove_file(master.path(name));
    }
    for command in ["master", "upgrade-master"] {
        assert_refused(&master.run(command), &["state.sqlite", "something else than an SQLite database"]);
    }
    assert_eq!(std::fs::read_to_string(master.path("state.sqlite")).unwrap(), text);
}

#[test]
fn a_missing_database_says_how_to_make_one() {
    let site = Site::new();
    let mut master = Master::new(&site, CONFIG);
    for name in ["state.sqlite", "state.sqlite-wal", "state.sqlite-shm"] {
        let _ = std::fs::remove_file(master.path(name));
    }
    assert_refused(&master.run("master"), &["state.sqlite", "upgrade-master"]);
    assert!(master.run("upgrade-master").status.success());
    still_builds(&site, &mut master);
}

#[test]
fn a_wrong_password_is_told_to_the_workers_operator() {
    let site = Site::new();
    let mut master = Master::new(&site, CONFIG);
    let rest = master.start();
    let mut stranger = Worker::new(&site, "w1", master.sessions).with_password("guessed");
    stranger.start();
    stranger.process().wait_for("password");
    master.process().wait_for("the password is wrong");
    assert_eq!(rest.one("workers/w1")["connected_to"], json!([]));
    // It keeps trying, or ends; either way the real one is let in.
    let ended = !stranger.process().is_running();
    if !ended {
        stranger.kill();
    }
    let _worker = master.start_worker(&site);
    let request = rest.force("good", json!({}));
    rest.built(request, Results::Success);
    let said = master.process().said();
    assert!(!said.contains("guessed"), "{said}");
}

#[test]
fn wrong_usage_is_explained() {
    let site = Site::new();
    for arguments in [
        vec!["worker"],
        vec!["nonsense"],
        vec!["master", "--nonsense"],
        vec!["worker", "dir", "--master", "http://x"],
    ] {
        let ended =
            process::run(binary::command(&arguments).current_dir(site.path("")), &site.path("usage.log"));
        assert_refused(&ended, &[]);
        assert!(!ended.said.trim().is_empty());
    }
}
