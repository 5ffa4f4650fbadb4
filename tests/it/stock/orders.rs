//! Pause, stop and kill, as people order them for stock workers.

use super::*;

/// Another worker, of Muster's own kind: what it builds shows that the queue was looked at.
const SECOND: &str = r#"
c["protocols"]["session"] = {"port": "tcp:%SESSIONS%:interface=%ADDRESS%"}
c["workers"].append(worker.Worker("w2", "secret"))
builder("other", sh("echo other"), workers=["w2"])
"#;

impl Ground {
    /// Whether the request waits, although somebody has looked for what to build.
    fn is_left_waiting(&self, request: i64) {
        let other = self.rest.force("other", json!({}));
        self.rest.built(other, Results::Success);
        assert_eq!(self.rest.one(&format!("buildrequests/{request}"))["claimed"], json!(false));
    }
}

fn is_paused(protocol: Protocol) {
    let mut ground = Ground::new(SECOND);
    let mut worker = ground.worker(Release::Current, protocol);
    let mut second = Worker::new(&ground.site, "w2", ground.master.sessions);
    second.start();
    let (request, build) = ground.begin();
    ground.rest.call("workers/w1", "pause", json!({"reason": "maintenance"})).unwrap();
    let waiting = ground.rest.force("quick", json!({}));
    ground.site.write("gate", "");
    assert_eq!(ground.rest.built(request, Results::Success), build, "what runs goes on");
    ground.is_left_waiting(waiting);

    ground.master.kill();
    ground.master.start();
    ground.rest.wait_for_worker("w1");
    let seen = ground.rest.one("workers/w1");
    assert_eq!((&seen["paused"], &seen["pause_reason"]), (&json!(true), &json!("maintenance")));
    ground.is_left_waiting(waiting);
    ground.rest.call("workers/w1", "unpause", json!({})).unwrap();
    ground.rest.built(waiting, Results::Success);
    assert!(worker.process().is_running());
    ground.master.database().wait_until_idle();
}

#[test]
fn a_paused_pb_worker_gets_no_build_also_from_the_next_life_of_its_master() {
    is_paused(Protocol::Pb);
}

#[test]
fn a_paused_msgpack_worker_gets_no_build_also_from_the_next_life_of_its_master() {
    is_paused(Protocol::Msgpack);
}

/// As Buildbot 4.3.0 does: the worker's process ends at once, and its build is tried again.
fn is_killed(release: Release, protocol: Protocol) {
    let ground = Ground::new("");
    let mut worker = ground.worker(release, protocol);
    let (request, build) = ground.begin();
    let command = std::fs::read_to_string(ground.site.path("pids")).unwrap();
    ground.master.order("stop-worker", &["w1", "--kill"]);
    assert!(worker.process().wait().success());
    let lost = format!("builds/{build}");
    ground.rest.wait_for("the build's end", &lost, |build| build["results"] == json!(Results::Retry as i64));
    assert_eq!(ground.rest.step(build, "wait")["results"], json!(Results::Retry as i64));
    let ended = rustix::process::Pid::from_raw(command.trim().parse().unwrap()).unwrap();
    until("the end of the command", || rustix::process::test_kill_process(ended).is_err().then_some(()));
    worker.start();
    ground.is_retried(request);
    assert!(worker.process().is_running(), "the order was for the life before");
}

#[test]
fn a_pb_worker_is_killed_and_its_build_tried_again() {
    is_killed(Release::Current, Protocol::Pb);
}

#[test]
fn a_msgpack_worker_is_killed_and_its_build_tried_again() {
    is_killed(Release::Current, Protocol::Msgpack);
}

fn stops(release: Release, protocol: Protocol) {
    let ground = Ground::new(SECOND);
    let mut worker = ground.worker(release, protocol);
    let mut second = Worker::new(&ground.site, "w2", ground.master.sessions);
    second.start();
    let (request, build) = ground.begin();
    ground.master.order("stop-worker", &["w1"]);
    assert_eq!(ground.rest.one("workers/w1")["graceful"], json!(true));
    let waiting = ground.rest.force("quick", json!({}));
    ground.is_left_waiting(waiting);
    assert!(worker.process().is_running(), "its build still runs");
    ground.site.write("gate", "");
    assert_eq!(ground.rest.built(request, Results::Success), build);
    assert!(worker.process().wait().success());
    ground.is_left_waiting(waiting);
    worker.start();
    ground.rest.built(waiting, Results::Success);
    assert_eq!(ground.rest.one("workers/w1")["graceful"], json!(false));
    ground.master.database().wait_until_idle();
}

#[test]
fn a_pb_worker_stops_after_its_build() {
    stops(Release::Three, Protocol::Pb);
}

#[test]
fn a_msgpack_worker_stops_after_its_build() {
    stops(Release::Current, Protocol::Msgpack);
}
