//! What people tell a master while it works.

use muster_tests::{Master, Results, Site, Worker, rest::id, until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Waits for the test; says that it began and that it went on.
const GATED: &str = r#"
builder("gated", sh(f"echo begun; {gate('gate')}; echo done", name="wait"))
"#;

#[test]
fn a_stopped_build_is_cancelled_and_its_command_ended() {
    let site = Site::new();
    let mut master = Master::new(&site, GATED);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let request = rest.force("gated", json!({}));
    let build = rest.running_build(request);
    rest.wait_for_line(build, "wait", "begun");
    rest.call(&format!("builds/{build}"), "stop", json!({"reason": "not needed"})).unwrap();
    assert_eq!(rest.built(request, Results::Cancelled), build);
    let step = rest.step(build, "wait");
    assert_eq!(step["results"], json!(Results::Cancelled as i64), "{step}");
    assert_eq!(rest.lines(build, "wait", 'o'), ["begun"], "the command was ended");
    master.database().wait_until_idle();

    site.write("gate", "");
    let rebuilt = rest.call(&format!("builds/{build}"), "rebuild", json!({})).unwrap();
    let again = rebuilt[1].as_object().unwrap().values().next().unwrap().as_i64().unwrap();
    let second = rest.built(again, Results::Success);
    assert_ne!(second, build);
    assert_eq!(rest.lines(second, "wait", 'o'), ["begun", "done"]);
    assert_eq!(rest.one(&format!("buildsets/{}", rebuilt[0]))["rebuilt_buildid"], json!(build));
    master.database().wait_until_idle();
}

/// Something that is stopped, and what comes afterwards in any case.
const CLEANS: &str = r#"
builder("cleans", sh(f"echo begun; {gate('gate')}", name="work"), sh("true", name="more"),
        sh(f"echo begun; {gate('gate')}", name="clean", alwaysRun=True), sh("true", name="tell", alwaysRun=True))
"#;

#[test]
fn another_order_stops_what_always_runs_also_after_a_restart() {
    let site = Site::new();
    let mut master = Master::new(&site, CLEANS);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let request = rest.force("cleans", json!({}));
    let build = rest.running_build(request);
    let stop =
        |reason: &str| rest.call(&format!("builds/{build}"), "stop", json!({"reason": reason})).unwrap();
    rest.wait_for_line(build, "work", "begun");
    stop("wrong");
    rest.wait_for_line(build, "clean", "begun");
    master.kill();
    master.start();
    rest.wait_for_worker("w1");
    assert_eq!(rest.step(build, "clean")["complete"], json!(false), "the first order was not for it");
    stop("hangs");
    assert_eq!(rest.built(request, Results::Cancelled), build);
    let ended = |name: &str| rest.step(build, name)["results"].clone();
    let expected = [Results::Cancelled, Results::Cancelled, Results::Success];
    assert_eq!(["work", "clean", "tell"].map(ended), expected.map(|results| json!(results as i64)));
    assert!(rest.one(&format!("builds/{build}"))["state_string"].as_str().unwrap().contains("(hangs)"));
    assert!(rest.steps(build).iter().all(|step| step["name"] != json!("more")));
    master.database().wait_until_idle();
}

/// Two builders that can't build at the same time.
const ONE_BY_ONE: &str = r#"
lock = util.MasterLock("one by one")
for name in ("one", "other"):
    builder(name, sh(f"echo begun; {gate('go')}", name="work"),
            sh(f"echo begun; {gate('gate')}", name="clean", alwaysRun=True), locks=[lock.access("exclusive")])
"#;

#[test]
fn a_build_that_was_stopped_before_a_step_leaves_it_out_after_a_restart_as_well() {
    let site = Site::new();
    let mut master = Master::new(&site, ONE_BY_ONE);
    let rest = master.start();
    let requests = ["one", "other"].map(|builder| rest.force(builder, json!({})));
    // With both there, both begin, and one of them waits for the other's lock.
    let _worker = master.start_worker(&site);
    let mut builds = requests.map(|request| (request, rest.running_build(request)));
    let works = |build: i64| {
        rest.list(&format!("builds/{build}/steps")).iter().any(|step| step["name"] == json!("work"))
    };
    until("one that works", || builds.iter().any(|(_, build)| works(*build)).then_some(()));
    builds.sort_by_key(|(_, build)| works(*build));
    let [(request, waiting), (other, _)] = builds;
    rest.call(&format!("builds/{waiting}"), "stop", json!({"reason": "wrong"})).unwrap();
    rest.wait_for_line(waiting, "clean", "begun");
    master.kill();
    master.start();
    site.write("gate", "");
    assert_eq!(rest.built(request, Results::Cancelled), waiting);
    let names: Vec<Value> = rest.steps(waiting).iter().map(|step| step["name"].clone()).collect();
    assert_eq!(names, [json!("worker_preparation"), json!("locks_acquire"), json!("clean")]);
    assert!(rest.one(&format!("builds/{waiting}"))["state_string"].as_str().unwrap().contains("(wrong)"));
    site.write("go", "");
    rest.built(other, Results::Success);
    master.database().wait_until_idle();
}

#[test]
fn a_pending_request_is_cancelled_without_a_build() {
    let site = Site::new();
    let mut master = Master::new(&site, GATED);
    let rest = master.start();
    let request = rest.force("gated", json!({}));
    rest.call(&format!("buildrequests/{request}"), "cancel", json!({"reason": "a mistake"})).unwrap();
    assert_eq!(rest.builds_of(request), [] as [Value; 0]);
    assert_eq!(rest.one(&format!("buildrequests/{request}"))["results"], json!(Results::Cancelled as i64));
    // A worker that comes later finds nothing to do.
    let _worker = master.start_worker(&site);
    site.write("gate", "");
    let next = rest.force("gated", json!({}));
    rest.built(next, Results::Success);
    assert_eq!(rest.list("builds").len(), 1);
    master.database().wait_until_idle();
}

#[test]
fn a_paused_worker_gets_no_build() {
    let site = Site::new();
    let config = r#"
c["workers"].append(worker.Worker("w2", "secret"))
builder("one", sh("echo one"), workers=["w1"])
builder("two", sh("echo two"), workers=["w2"])
"#;
    let mut master = Master::new(&site, config);
    let rest = master.start();
    let _first = master.start_worker(&site);
    let mut second = Worker::new(&site, "w2", master.sessions);
    second.start();
    rest.wait_for_worker("w2");
    rest.call("workers/w1", "pause", json!({"reason": "maintenance"})).unwrap();
    assert_eq!(rest.one("workers/w1")["paused"], json!(true));
    let waiting = rest.force("one", json!({}));
    // Whoever distributes has looked at both requests when the later one is built.
    let other = rest.force("two", json!({}));
    rest.built(other, Results::Success);
    assert_eq!(rest.one(&format!("buildrequests/{waiting}"))["claimed"], json!(false));

    // The pause outlives the master.
    assert!(master.stop().success());
    master.start();
    rest.wait_for_worker("w1");
    rest.wait_for_worker("w2");
    let other = rest.force("two", json!({}));
    rest.built(other, Results::Success);
    assert_eq!(rest.one(&format!("buildrequests/{waiting}"))["claimed"], json!(false));
    rest.call("workers/w1", "unpause", json!({})).unwrap();
    rest.built(waiting, Results::Success);
    master.database().wait_until_idle();
}

#[test]
fn a_worker_stops_gracefully_after_its_build() {
    let site = Site::new();
    let mut master = Master::new(&site, GATED);
    let rest = master.start();
    let mut worker = master.start_worker(&site);
    let running = rest.force("gated", json!({}));
    let build = rest.running_build(running);
    rest.wait_for_line(build, "wait", "begun");
    master.order("stop-worker", &["w1"]);
    let waiting = rest.force("gated", json!({"reason": "for the next life"}));
    assert!(worker.process().is_running(), "its build still runs");
    site.write("gate", "");
    rest.built(running, Results::Success);
    assert!(worker.process().wait().success());
    assert_eq!(rest.one(&format!("buildrequests/{waiting}"))["claimed"], json!(false));
    worker.start();
    rest.built(waiting, Results::Success);
    master.database().wait_until_idle();
}

#[test]
fn a_worker_that_is_told_to_end_finishes_its_build_first() {
    let site = Site::new();
    let mut master = Master::new(&site, GATED);
    let rest = master.start();
    let mut worker = master.start_worker(&site);
    let running = rest.force("gated", json!({}));
    let build = rest.running_build(running);
    rest.wait_for_line(build, "wait", "begun");
    // As Buildbot's workers do: SIGHUP asks the master for a graceful stop.
    worker.process().signal(Signal::HUP);
    worker.process().wait_for("asking the master for a graceful stop");
    site.write("gate", "");
    rest.built(running, Results::Success);
    assert!(worker.process().wait().success());
}

#[test]
fn equal_requests_are_collapsed() {
    let site = Site::new();
    let mut master = Master::new(&site, GATED);
    let rest = master.start();
    site.write("gate", "");
    let requests: Vec<i64> = (0..3).map(|_| rest.force("gated", json!({}))).collect();
    let _worker = master.start_worker(&site);
    rest.built(requests[2], Results::Success);
    for older in &requests[..2] {
        let skipped = 3;
        assert_eq!(rest.one(&format!("buildrequests/{older}"))["results"], json!(skipped));
    }
    assert_eq!(rest.list("builds").len(), 1);
    master.database().wait_until_idle();
}

#[test]
fn two_builders_with_one_lock_never_build_at_once() {
    let site = Site::new();
    let config = r#"
c["collapseRequests"] = False
lock = util.MasterLock("one at a time", maxCount=1)
script = f"mkdir {SITE}/inside || exit 1; sleep 0.2; rmdir {SITE}/inside"
builder("left", sh(script), locks=[lock.access("exclusive")])
builder("right", sh(script, locks=[lock.access("exclusive")]))
"#;
    let mut master = Master::new(&site, config);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let requests: Vec<i64> =
        (0..3).flat_map(|_| ["left", "right"]).map(|builder| rest.force(builder, json!({}))).collect();
    for request in requests {
        // A second build inside would have failed to make the directory.
        rest.built(request, Results::Success);
    }
    master.database().wait_until_idle();
}

#[test]
fn a_lock_is_kept_over_the_masters_death() {
    let site = Site::new();
    let config = r#"
lock = util.MasterLock("one at a time", maxCount=1)
builder("holder", sh(f"echo begun; {gate('gate')}", name="hold", locks=[lock.access("exclusive")]))
builder("other", sh("echo mine", name="use", locks=[lock.access("exclusive")]))
builder("free", sh("true"))
"#;
    let mut master = Master::new(&site, config);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let holder = rest.force("holder", json!({}));
    let build = rest.running_build(holder);
    rest.wait_for_line(build, "hold", "begun");
    let other = rest.force("other", json!({}));
    let waiting = rest.running_build(other);
    rest.step(waiting, "use");
    master.kill();
    master.start();
    rest.wait_for_worker("w1");
    let free = rest.force("free", json!({}));
    rest.built(free, Results::Success);
    assert_eq!(rest.lines(waiting, "use", 'o'), [] as [&str; 0], "the lock is held");
    site.write("gate", "");
    assert_eq!(rest.built(holder, Results::Success), build);
    assert_eq!(rest.built(other, Results::Success), waiting);
    master.database().wait_until_idle();
}

#[test]
fn a_failed_step_fails_the_build_and_ends_it() {
    let site = Site::new();
    let config = r#"
builder("failing", sh("echo bad >&2; exit 3", name="fail", haltOnFailure=True), sh("echo never", name="after"))
"#;
    let mut master = Master::new(&site, config);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let request = rest.force("failing", json!({}));
    let build = rest.built(request, Results::Failure);
    let step = rest.step(build, "fail");
    assert_eq!(step["results"], json!(Results::Failure as i64));
    assert_eq!(rest.lines(build, "fail", 'e'), ["bad"]);
    let after = rest.steps(build).into_iter().find(|step| step["name"] == json!("after"));
    assert!(after.is_none_or(|step| step["results"] == json!(3)), "it was not run");
    assert_eq!(id(&rest.one(&format!("builds/{build}")), "results"), Results::Failure as i64);
    master.database().wait_until_idle();
}
