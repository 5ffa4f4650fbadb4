//! One connection for each worker's name, in the whole cluster.

use muster_tests::stock::Protocol;
use muster_tests::{Results, until};
use serde_json::json;

use crate::cluster::Cluster;

#[test]
fn two_gateways_settle_whose_worker_it_is_and_nobody_ends() {
    let cluster = Cluster::new();
    let mut one = cluster.member("one", "gateway", "");
    let mut two = cluster.member("two", "gateway", "");
    let engine = cluster.member("engine", "web,scheduler,engine", "");
    let mut first = cluster.worker("first", Protocol::Pb, &one, &[]);
    engine.rest.wait_for_worker("w1");
    let request = engine.rest.force("count", json!({}));
    let build = engine.rest.running_build(request);
    engine.rest.wait_for_line(build, "count", "line 2");

    let mut second = cluster.worker("second", Protocol::Pb, &two, &[]);
    two.process().wait_for("two workers use one name");
    cluster.ends_whole(engine.rest, request, build);
    // Idle, the old one makes way for the newest.
    one.process().wait_for("a newer connection of this worker took over");
    assert!(first.process().is_running() && second.process().is_running());
    first.kill();
    let request = engine.rest.force("quick", json!({}));
    assert_eq!(engine.rest.builds_of(request).last().unwrap()["results"], json!(Results::Success as i64));
}

#[test]
fn a_msgpack_command_is_ended_before_another_gateway_starts_it_again() {
    let cluster = Cluster::new();
    let mut one = cluster.member("one", "gateway", "");
    let two = cluster.member("two", "gateway", "");
    let engine = cluster.member("engine", "web,scheduler,engine", ALONE);
    let mut worker = cluster.worker("worker", Protocol::Msgpack, &one, &[]);
    engine.rest.wait_for_worker("w1");
    let request = engine.rest.force("alone", json!({}));
    until("the first start", || (cluster.read("pids").len() == 1).then_some(()));
    one.kill();
    // The same process of the worker comes to the other gateway: a load balancer would lead it there.
    let tac = worker.dir().join("buildbot.tac");
    let text = std::fs::read_to_string(&tac).unwrap();
    assert!(text.contains(&one.msgpack.port().to_string()));
    let _forwarded = forward(one.msgpack, two.msgpack);
    until("the second start", || (cluster.read("pids").len() == 2).then_some(()));
    cluster.site.write("gate", "");
    let results: Vec<_> =
        engine.rest.builds_of(request).iter().map(|build| build["results"].clone()).collect();
    assert_eq!(results, [json!(Results::Retry as i64), json!(Results::Success as i64)]);
    assert!(!cluster.site.path("both").exists(), "two copies of the command ran at once");
    assert!(worker.process().is_running());
}

/// Says when two copies of a command run at once.
const ALONE: &str = r#"
builder("alone", sh(
    f"for p in $(cat {SITE}/pids 2>/dev/null); do kill -0 $p 2>/dev/null && echo both >> {SITE}/both; done; "
    f"echo $$ >> {SITE}/pids; i=0; while [ $i -lt 1200 ] && ! [ -e {SITE}/gate ]; do i=$((i+1)); sleep 0.05; done",
    name="alone",
))
"#;

/// Leads connections from one address to another, as a load balancer does, until the test ends.
pub fn forward(from: std::net::SocketAddr, to: std::net::SocketAddr) -> std::thread::JoinHandle<()> {
    let listener = std::net::TcpListener::bind(from).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            let Ok(server) = std::net::TcpStream::connect(to) else { continue };
            for (mut reader, mut writer) in
                [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
            {
                std::thread::spawn(move || {
                    // Either end may break the connection.
                    let _ = std::io::copy(&mut reader, &mut writer);
                    let _ = writer.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    })
}
