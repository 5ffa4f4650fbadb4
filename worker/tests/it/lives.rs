//! Start, end and death of a worker, and what it leaves behind.

use muster_core::{BuildId, CommandId, Epoch};
use muster_session::{MasterEvent, StartCommand};
use muster_worker::{Exit, Limits, Stops, WorkerError};

use crate::harness::{Master, Rig, lives, options, sh, soon, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_tells_about_itself_but_not_its_environment() {
    let rig = Rig::start().await;
    let info = &rig.session.info;
    assert_eq!(info["system"], "posix");
    assert_eq!(info["basedir"], rig.dir.path().canonicalize().unwrap().to_str().unwrap());
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert!(info["numcpus"].as_u64().unwrap() >= 1);
    assert!(!info.contains_key("environ"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_life_left_is_ended() {
    let mut rig = Rig::start().await;
    let id = rig.session.begin(sh("trap '' TERM; sleep 1000 & echo $$ $!; while :; do sleep 0.05; done"));
    let first = rig.session.collect(id, |updates| updates.stdout().ends_with('\n')).await;
    let pids: Vec<String> = first.stdout().split_whitespace().map(str::to_owned).collect();
    // Dropping the worker's future is as sudden as a kill: nothing is cleaned up.
    rig.worker.abort();
    assert!(soon("the death", &mut rig.worker).await.unwrap_err().is_cancelled());
    assert!(pids.iter().all(|pid| lives(pid)));

    // A record that names a process of somebody else, under an id that was used again.
    let innocent = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let record = rig.records().join("9.9.9");
    std::fs::create_dir_all(&record).unwrap();
    let template = std::fs::read_to_string(rig.records().join(id.to_string()).join("process.json")).unwrap();
    let mut forged: serde_json::Value = serde_json::from_str(&template).unwrap();
    forged["pid"] = innocent.id().into();
    std::fs::write(record.join("process.json"), forged.to_string()).unwrap();
    // And one that was damaged.
    std::fs::create_dir_all(rig.records().join("8.8.8")).unwrap();
    std::fs::write(rig.records().join("8.8.8/process.json"), "{").unwrap();

    let stops = Stops::default();
    let worker = tokio::spawn(muster_worker::run(
        options(rig.dir.path(), &rig.master, Limits::default()),
        stops.clone(),
    ));
    let session = rig.master.session().await;
    assert_ne!(session.link.boot_id(), rig.session.link.boot_id());
    assert!(!pids.iter().any(|pid| lives(pid)));
    assert!(lives(&innocent.id().to_string()));
    assert_eq!(std::fs::read_dir(rig.records()).unwrap().count(), 0);
    stops.now.cancel();
    assert_eq!(soon("the end", worker).await.unwrap().unwrap(), Exit::Stopped);
    let mut innocent = innocent;
    innocent.kill().unwrap();
    innocent.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_go_when_the_master_has_stored_the_end() {
    let mut rig = Rig::start().await;
    let id = rig.session.begin(sh("echo $$; while ! test -e go; do sleep 0.02; done"));
    let first = rig.session.collect(id, |updates| updates.stdout().ends_with('\n')).await;
    let record = rig.records().join(id.to_string());
    let process: serde_json::Value =
        serde_json::from_slice(&std::fs::read(record.join("process.json")).unwrap()).unwrap();
    assert_eq!(process["pid"].to_string(), first.stdout().trim());
    std::fs::write(rig.build().join("go"), "").unwrap();
    rig.session.finish(id).await;
    until("the record's end", || !record.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_kills_what_runs() {
    let mut rig = Rig::start().await;
    let id = rig.session.begin(sh("trap '' TERM; sleep 1000 & echo $$ $!; sleep 1000"));
    let first = rig.session.collect(id, |updates| updates.stdout().ends_with('\n')).await;
    rig.stops.now.cancel();
    assert_eq!(soon("the end", rig.worker).await.unwrap().unwrap(), Exit::Stopped);
    let pids: Vec<String> = first.stdout().split_whitespace().map(str::to_owned).collect();
    until("the programs' end", || !pids.iter().any(|pid| lives(pid))).await;
    assert!(!rig.dir.path().join("commands").join(id.to_string()).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_command_is_killed_and_its_record_removed() {
    let mut rig = Rig::start().await;
    let id = rig.session.begin(sh("echo $$; yes"));
    let first = rig.session.collect(id, |updates| updates.stdout().contains('\n')).await;
    let pid = first.stdout().lines().next().unwrap().to_owned();
    rig.session.link.forget(id);
    until("the program's end", || !lives(&pid)).await;
    let record = rig.records().join(id.to_string());
    until("the record's end", || !record.exists()).await;
    assert_eq!(rig.sh("echo still here").await.stdout(), "still here\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_asks_the_master_first() {
    let mut rig = Rig::start().await;
    // A worker without a connection has nobody to ask; a command's end proves that it has one.
    rig.sh("true").await;
    rig.stops.gracefully.cancel();
    soon("the request", async {
        while rig.session.events.next().await.unwrap() != MasterEvent::ShutdownRequested {}
    })
    .await;
    assert_eq!(rig.sh("echo one more").await.stdout(), "one more\n");
    rig.session.link.shutdown();
    assert_eq!(soon("the end", rig.worker).await.unwrap().unwrap(), Exit::Graceful);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_may_end_a_worker() {
    let mut rig = Rig::start().await;
    // Without a connection nobody could be asked.
    let first = soon("the connection", rig.session.events.next()).await;
    assert!(matches!(first, Some(MasterEvent::Connected { .. })), "{first:?}");
    rig.session.link.shutdown();
    assert_eq!(soon("the end", rig.worker).await.unwrap().unwrap(), Exit::ByMaster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_worker_in_the_directory_is_refused() {
    let rig = Rig::start().await;
    let second =
        muster_worker::run(options(rig.dir.path(), &rig.master, Limits::default()), Stops::default());
    let error = soon("the refusal", second).await.unwrap_err();
    assert!(matches!(error, WorkerError::AlreadyRunning { .. }));
    assert!(error.to_string().contains(&format!("(process {})", std::process::id())), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_work_is_said_at_once() {
    let master = Master::listen().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let bad_dir = options(&dir.path().join("file/worker"), &master, Limits::default());
    let error = muster_worker::run(bad_dir, Stops::default()).await.unwrap_err();
    assert!(error.to_string().contains("file/worker as the worker's directory: Not a directory"), "{error}");
    let mut nowhere = options(dir.path(), &master, Limits::default());
    nowhere.masters.clear();
    assert!(matches!(muster_worker::run(nowhere, Stops::default()).await, Err(WorkerError::NoMaster)));
    let mut nameless = options(dir.path(), &master, Limits::default());
    nameless.name = String::new();
    assert!(matches!(muster_worker::run(nameless, Stops::default()).await, Err(WorkerError::Name { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_worker_waits_and_can_be_stopped() {
    let master = Master::listen().await;
    let dir = tempfile::tempdir().unwrap();
    let mut stranger = options(dir.path(), &master, Limits::default());
    stranger.password = muster_session::Password::new("wrong");
    let stops = Stops::default();
    let worker = tokio::spawn(muster_worker::run(stranger, stops.clone()));
    until("the first dial", || dir.path().join("dial-number").exists()).await;
    stops.now.cancel();
    assert_eq!(soon("the end", worker).await.unwrap().unwrap(), Exit::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_master_is_tried_when_the_first_is_away() {
    let mut master = Master::listen().await;
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), &master, Limits::default());
    // Nobody listens on the port of a listener that is gone.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    options.masters.insert(0, format!("ws://127.0.0.1:{gone}").parse().unwrap());
    let worker = tokio::spawn(muster_worker::run(options, Stops::default()));
    let mut session = master.session().await;
    assert_eq!(session.run(sh("echo hi")).await.stdout(), "hi\n");
    worker.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_too_many_ends_at_once() {
    let mut rig = Rig::with(Limits { commands: 1, ..Limits::default() }).await;
    let first = rig.session.begin(sh("echo up; sleep 1000"));
    rig.session.collect(first, |updates| updates.stdout() == "up\n").await;
    let updates = rig.sh("echo never").await;
    assert_eq!((updates.rc(), updates.stdout()), (None, String::new()));
    assert!(updates.error().is_some_and(|error| error.contains("limit")), "{updates:?}");
    rig.session.link.interrupt(first, "enough").unwrap();
    rig.session.finish(first).await;
    until("room", || !rig.records().join(first.to_string()).exists()).await;
    assert_eq!(rig.sh("echo again").await.stdout(), "again\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_commands_run_side_by_side() {
    let mut rig = Rig::start().await;
    let command = |ordinal| CommandId { build: BuildId(77), step: 0, ordinal };
    for ordinal in 0..30 {
        let start =
            StartCommand { builddir: format!("b{ordinal}"), command: sh(&format!("seq {ordinal} 200")) };
        rig.session.link.start(command(ordinal), Epoch(1), start).unwrap();
    }
    let mut ended = 0;
    while ended < 30 {
        let (id, number, body) = rig.session.update().await;
        rig.session.link.acknowledge(id, number);
        if let muster_session::UpdateBody::Complete { error } = body {
            assert_eq!(error, None);
            ended += 1;
        }
    }
}
