//! Builds that ask for other builds.

use std::time::Duration;

use muster_tests::{Master, Rest, Results, Site, rest::id, until};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A parent that triggers two builds and waits, and the child, which waits for the gate.
const FAMILY: &str = r#"
builder(
    "child",
    sh(f"echo start >> {SITE}/starts; until [ -e {SITE}/gate ]; do sleep 0.1; done", name="work"),
)
c["schedulers"].append(schedulers.Triggerable(name="children", builderNames=["child"]))
builder(
    "parent",
    steps.Trigger(schedulerNames=["children"], waitForFinish=True, set_properties={"from": util.Property("buildnumber")}),
    sh("echo done", name="after"),
)
"#;

/// The requests that a build has made.
fn triggered_by(rest: Rest, build: i64) -> Vec<Value> {
    let sets = rest.list(&format!("buildsets?parent_buildid={build}"));
    let of = |set: &Value| rest.list(&format!("buildrequests?buildsetid={}", id(set, "bsid")));
    sets.iter().flat_map(of).collect()
}

#[test]
fn a_parent_waits_through_kills_of_its_master_and_asks_once() {
    const ROUNDS: usize = 4;
    let site = Site::new();
    let mut master = Master::new(&site, FAMILY);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let request = rest.force("parent", json!({}));
    let parent = rest.running_build(request);
    for round in 0..ROUNDS {
        // The first time any moment is meant: before, while and after it asks. Later it waits.
        std::thread::sleep(Duration::from_millis(if round == 0 { 30 } else { fastrand::u64(0..800) }));
        master.kill();
        master.launch();
    }
    let asked = || {
        let requests = rest.try_get(&format!("buildsets?parent_buildid={parent}")).ok()?;
        (!requests["buildsets"].as_array()?.is_empty()).then_some(())
    };
    until("the parent has asked", asked);
    let children = triggered_by(rest, parent);
    let [child] = children.as_slice() else { panic!("one child was asked for, not {children:?}") };
    let child = id(child, "buildrequestid");
    let running = rest.running_build(child);
    assert_eq!(rest.property(running, "from"), json!(1));
    site.write("gate", "");
    assert_eq!(rest.built(child, Results::Success), running, "the child went on, too");
    assert_eq!(rest.built(request, Results::Success), parent, "the same build went on");
    assert_eq!(std::fs::read_to_string(site.path("starts")).unwrap(), "start\n", "the command ran once");
    assert_eq!(rest.step(parent, "trigger")["state_string"], json!("triggered children, 1 success"));
    let urls = rest.step(parent, "trigger")["urls"].clone();
    let names: Vec<&str> = urls.as_array().unwrap().iter().filter_map(|url| url["name"].as_str()).collect();
    assert_eq!(names, [format!("children #{child}").as_str(), "success: child #1"]);
}

#[test]
fn a_stopped_parent_takes_its_children_along() {
    let site = Site::new();
    let mut master = Master::new(&site, FAMILY);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let request = rest.force("parent", json!({}));
    let parent = rest.running_build(request);
    let path = format!("buildsets?parent_buildid={parent}");
    rest.wait_for("the child is asked for", &path, |_| true);
    let child = id(&triggered_by(rest, parent)[0], "buildrequestid");
    rest.running_build(child);
    rest.call(&format!("builds/{parent}"), "stop", json!({"reason": "enough"})).unwrap();
    rest.built(request, Results::Cancelled);
    rest.built(child, Results::Cancelled);
    assert_eq!(rest.step(parent, "trigger")["state_string"], json!("interrupted"));
}

#[test]
fn a_master_that_finishes_builds_what_its_parents_wait_for() {
    let site = Site::new();
    let mut master = Master::new(&site, FAMILY);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let request = rest.force("parent", json!({}));
    let parent = rest.running_build(request);
    // SIGUSR1 asks the master to finish. Its only worker is the children's, too.
    master.process().signal(Signal::USR1);
    site.write("gate", "");
    assert!(master.process().wait().success());
    let rest = master.start();
    assert_eq!(rest.built(request, Results::Success), parent);
}
