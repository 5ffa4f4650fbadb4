//! What lies in a master's and a worker's directory: whose it is, and what becomes of a master under which it changes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use muster_tests::{Database, Master, Results, Site, Worker, binary, http, process, until};
use serde_json::json;

const HELLO: &str = "builder('hello', sh('echo hello'))\n";

/// Rights of others than the user.
fn of_others(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o077
}

#[test]
fn what_a_master_and_a_worker_make_is_for_their_user_alone() {
    let site = Site::new();
    let mut master = Master::new(&site, "builder('slow', sh('sleep 100'))\n");
    let rest = master.start();
    let worker = master.start_worker(&site);
    let build = rest.running_build(rest.force("slow", json!({})));
    rest.step(build, "shell");
    for name in ["", "state.sqlite", "state.sqlite-wal", "state.sqlite-shm", "muster.log", "muster.pid"] {
        assert_eq!(of_others(&master.path(name)), 0, "{name}");
    }
    let commands = worker.dir().join("commands");
    let command = until("the command's record", || fs::read_dir(&commands).ok()?.next());
    let record = command.unwrap().path();
    for path in
        [worker.dir(), &worker.dir().join("dial-number"), &commands, &record, &record.join("command.json")]
    {
        assert_eq!(of_others(path), 0, "{}", path.display());
    }
    assert!(master.stop().success());

    // Whoever has opened it is told.
    let database = master.path("state.sqlite");
    fs::set_permissions(&database, fs::Permissions::from_mode(0o644)).unwrap();
    master.start();
    let said = master.process().said();
    assert!(said.contains("other users may read") && said.contains("chmod go="), "{said}");
    assert!(master.stop().success());
}

#[test]
fn one_shot_commands_leave_one_file_and_a_journal_of_another_is_refused() {
    let site = Site::new();
    let mut master = Master::new(&site, HELLO);
    let journal = || ["state.sqlite-wal", "state.sqlite-shm"].map(|name| master.path(name).exists());
    assert_eq!(journal(), [false; 2], "create-master closes what it opens");
    let again = master.run("create-master");
    assert!(again.status.success() && again.said.contains("was there already"), "{}", again.said);
    assert!(!again.said.contains("created"), "{}", again.said);
    fs::copy(master.path("state.sqlite"), site.path("older")).unwrap();
    master.upgrade();
    let journal = || ["state.sqlite-wal", "state.sqlite-shm"].map(|name| master.path(name).exists());
    assert_eq!(journal(), [false; 2]);

    let rest = master.start();
    for command in ["create-master", "upgrade-master"] {
        let refused = master.run(command);
        assert!(!refused.status.success() && refused.said.contains("stop it first"), "{}", refused.said);
    }
    let _worker = master.start_worker(&site);
    rest.built(rest.force("hello", json!({})), Results::Success);
    // A crash leaves the journal; that of the same file is good.
    master.kill();
    let rest = master.start();
    assert_eq!(rest.list("builds").len(), 1);
    rest.wait_for_worker("w1");
    rest.built(rest.force("hello", json!({})), Results::Success);
    // Some of it is in the file, as nearly always.
    until("a checkpoint", || is_carried(&master.path("state.sqlite-shm")).then_some(()));
    master.kill();
    fs::copy(site.path("older"), master.path("state.sqlite")).unwrap();
    for command in ["upgrade-master", "start"] {
        let refused = master.run(command);
        assert!(!refused.status.success(), "{}", refused.said);
        assert!(
            refused.said.contains("is of another file") && refused.said.contains("remove"),
            "{}",
            refused.said
        );
    }
}

/// Whether all of a journal is in its file, by what SQLite keeps beside it.
fn is_carried(shared: &Path) -> bool {
    let bytes = fs::read(shared).unwrap();
    let number = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    number(16) > 0 && number(16) == number(96)
}

#[test]
fn a_database_that_goes_under_a_master_is_noticed() {
    let site = Site::new();
    let mut master = Master::new(&site, HELLO);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let web = master.web;
    let ready = || http::request(web, "GET", "/readyz", None).unwrap();
    assert_eq!(ready().status, 200);
    let (here, away) = (master.path("state.sqlite"), site.path("away"));
    fs::rename(&here, &away).unwrap();
    until("it isn't ready", || (ready().status == 503).then_some(()));
    master.process().wait_for("removed or replaced");
    fs::copy(&away, &here).unwrap();
    assert_eq!(ready().status, 503, "another file of the same name");
    fs::rename(&away, &here).unwrap();
    until("it is ready again", || (ready().status == 200).then_some(()));
    rest.wait_for_worker("w1");
    rest.built(rest.force("hello", json!({})), Results::Success);
    assert!(master.stop().success());
}

#[test]
fn a_second_master_on_one_sqlite_file_is_refused() {
    let site = Site::new();
    let mut first = Master::at(&site, "first", HELLO);
    // Whatever the configuration says of several masters.
    let database = format!(
        "c['db'] = {{'db_url': 'sqlite:///{}'}}\nc['multiMaster'] = True\n",
        first.path("state.sqlite").display()
    );
    let mut second = Master::at(&site, "second", &(database + HELLO));
    let rest = first.start();
    let refused = second.run("start");
    assert!(!refused.status.success(), "{}", refused.said);
    assert!(
        refused.said.contains("is for one master") && refused.said.contains("PostgreSQL"),
        "{}",
        refused.said
    );
    let _worker = first.start_worker(&site);
    rest.built(rest.force("hello", json!({})), Results::Success);
    // One that is gone is in nobody's way.
    first.kill();
    second.start();
    assert!(second.stop().success());
}

#[test]
fn a_restart_with_a_broken_configuration_leaves_the_master_running() {
    let site = Site::new();
    let master = Master::new(&site, HELLO);
    assert!(master.run("start").status.success());
    let pid = fs::read_to_string(master.path("muster.pid")).unwrap();
    master.configure("builder('hello'\n");
    let refused = master.run("restart");
    assert!(!refused.status.success() && refused.said.contains("goes on as it was"), "{}", refused.said);
    assert_eq!(fs::read_to_string(master.path("muster.pid")).unwrap(), pid);
    assert_eq!(master.rest().list("builders").len(), 1);
    master.configure(HELLO);
    let restarted = master.run("restart");
    assert!(restarted.status.success(), "{}", restarted.said);
    assert_ne!(fs::read_to_string(master.path("muster.pid")).unwrap(), pid);
    assert!(master.run("stop").status.success());
}

#[test]
fn a_worker_that_once_dialled_with_a_huge_number_comes_back() {
    let site = Site::new();
    let mut master = Master::new(&site, HELLO);
    master.start();
    let mut worker = Worker::new(&site, "w1", master.sessions);
    worker.start();
    let rest = master.rest();
    rest.wait_for_worker("w1");
    worker.stop();
    assert!(master.stop().success());
    // As a master of before has stored it, and as a worker of before has kept it.
    let huge = 1_i64 << 62;
    Database::open(&master.path("state.sqlite"))
        .execute(&format!("UPDATE muster_sessions SET dial_no = {huge}"));
    fs::write(worker.dir().join("dial-number"), format!("{huge}\n")).unwrap();
    master.start();
    worker.start();
    rest.wait_for_worker("w1");
    rest.built(rest.force("hello", json!({})), Results::Success);
    assert!(master.stop().success());
}

#[test]
fn a_workers_directory_is_for_its_user_alone() {
    let site = Site::new();
    let dir = site.path("worker");
    let mut command =
        binary::command(&["create-worker", dir.to_str().unwrap(), "localhost:9990", "w1", "secret"]);
    assert!(process::run(&mut command, &site.path("create.log")).status.success());
    for path in [&dir, &dir.join("worker.toml"), &dir.join("info")] {
        assert_eq!(of_others(path), 0, "{}", path.display());
    }
}
