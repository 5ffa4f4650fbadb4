//! Workers that have nothing to do.

use std::time::Duration;

use muster_tests::stock::{Protocol, Release, StockWorker};
use muster_tests::worker::Worker;

use crate::cluster::Cluster;

/// Four heartbeats of an engine; three that are missing end a connection.
const IDLE: Duration = Duration::from_secs(10);

/// One of each kind. Stock workers are asked for a sign of life as often as the gateway allows.
const WORKERS: &str = r#"
c["workers"] = [worker.Worker(name, "secret", keepalive_interval=1) for name in ("own", "pb", "msgpack", "w1")]
"#;

#[test]
fn idle_workers_of_every_kind_stay_connected() {
    let cluster = Cluster::new();
    let gateway = cluster.member("gateway", "gateway", WORKERS);
    let mut engine = cluster.member("engine", "web,scheduler,engine", WORKERS);
    let stock = |name: &str, protocol, address| {
        let release = Release::Current;
        let mut worker = StockWorker::create(&cluster.site, name, name, release, protocol, address, &[]);
        worker.start();
        worker
    };
    let _pb = stock("pb", Protocol::Pb, gateway.pb);
    let _msgpack = stock("msgpack", Protocol::Msgpack, gateway.msgpack);
    let mut own = Worker::new(&cluster.site, "own", engine.sessions);
    own.start();
    for name in ["own", "pb", "msgpack"] {
        engine.rest.wait_for_worker(name);
    }
    let sessions = || {
        cluster.postgres.sql(
            "buildbot",
            "SELECT w.name, s.boot_id, s.dial_no, s.epoch FROM muster_sessions s JOIN workers w ON w.id = s.workerid \
             JOIN connected_workers c ON c.workerid = w.id ORDER BY w.name",
        )
    };
    let before = sessions();
    assert_eq!(before.lines().count(), 3, "{before}");
    // It is the time itself that must change nothing.
    std::thread::sleep(IDLE);
    assert_eq!(sessions(), before, "a worker dialled again");
    let said = engine.process().said();
    assert!(!said.contains("worker disconnected"), "{said}");
}
