//! Masters may have different builders; a worker that deletes left-over directories loses none of them.

use muster_tests::stock::Protocol;
use muster_tests::until;

use crate::cluster::Cluster;

fn keeps_the_directories_of_every_master(protocol: Protocol) {
    let cluster = Cluster::new();
    let one = cluster.member("one", "web,scheduler,engine,gateway", "builder('only-one', sh('true'))\n");
    let mut two = cluster.member("two", "web,scheduler,engine,gateway", "builder('only-two', sh('true'))\n");
    let mut worker = cluster.worker("worker", protocol, &one, &["--delete-leftover-dirs"]);
    one.rest.wait_for_worker("w1");
    for dir in ["only-one", "only-two", "quick"] {
        until(&format!("the directory {dir}"), || worker.dir().join(dir).is_dir().then_some(()));
    }
    // A master that is away for a while keeps them, too; left-over is what no master knows.
    two.kill();
    worker.kill();
    std::fs::create_dir(worker.dir().join("left-over")).unwrap();
    std::fs::write(worker.dir().join("only-two/file"), "").unwrap();
    worker.start();
    until("the end of the left-over directory", || (!worker.dir().join("left-over").exists()).then_some(()));
    assert!(worker.dir().join("only-two/file").exists());
}

#[test]
fn a_pb_worker_keeps_the_directories_of_every_master() {
    keeps_the_directories_of_every_master(Protocol::Pb);
}

#[test]
fn a_msgpack_worker_keeps_the_directories_of_every_master() {
    keeps_the_directories_of_every_master(Protocol::Msgpack);
}
