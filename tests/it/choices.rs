//! Choices that the configuration leaves to Python.

use muster_tests::{Master, Results, Site};
use serde_json::json;

/// The newest first, of those whose reason says so.
const CHOICES: &str = "
def next_build(builder, requests):
    return max((r for r in requests if 'please' in r.reason), key=lambda r: r.id, default=None)

builder('quick', sh('true'), collapseRequests=False, nextBuild=next_build)
";

#[test]
fn next_build_chooses_among_all_pending_requests() {
    let site = Site::new();
    let mut master = Master::new(&site, CHOICES);
    let rest = master.start();
    let force = |reason: &str| rest.force("quick", json!({"reason": reason}));
    let (never, requests) = (force("never"), [force("please"), force("please"), force("please")]);
    let _worker = master.start_worker(&site);
    let builds = requests.map(|request| rest.built(request, Results::Success));
    let numbers = builds.map(|build| rest.one(&format!("builds/{build}"))["number"].clone());
    assert_eq!(numbers, [json!(3), json!(2), json!(1)]);
    assert_eq!(rest.one(&format!("buildrequests/{never}"))["claimed"], json!(false));
    assert!(master.stop().success());
}

/// A builder whose builds wait for the test, and one that is always free.
const QUEUE: &str = "
builder('one', sh(gate('go')), collapseRequests=False)
builder('free', sh('true'))
";

#[test]
fn a_request_that_is_put_first_is_built_first() {
    let site = Site::new();
    let mut master = Master::new(&site, QUEUE);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    rest.running_build(rest.force("one", json!({})));
    let [earlier, first] = [(), ()].map(|()| rest.force("one", json!({})));
    // When this is built, the distributor knows those.
    rest.built(rest.force("free", json!({})), Results::Success);
    rest.call(&format!("buildrequests/{first}"), "set_priority", json!({"priority": 9})).unwrap();
    site.write("go", "");
    let numbers = [first, earlier].map(|request| {
        let build = rest.built(request, Results::Success);
        rest.one(&format!("builds/{build}"))["number"].clone()
    });
    assert_eq!(numbers, [json!(2), json!(3)]);
    assert!(master.stop().success());
}
