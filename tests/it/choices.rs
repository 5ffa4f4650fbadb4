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

/// Requests whose reason says so are for another time; what was asked is written down.
const REFUSALS: &str = "
def can_start(builder, wfb, request):
    with open(SITE + '/asked', 'a') as asked:
        asked.write(request.reason + '\\n')
    return 'never' not in request.reason

def oldest(builder, requests):
    assert [r.id for r in requests] == sorted(r.id for r in requests)
    return requests[0]

builder('best', sh('true'), collapseRequests=False, canStartBuild=can_start)
builder('oldest', sh('true'), collapseRequests=False, canStartBuild=can_start, nextBuild=oldest)
";

#[test]
fn what_no_worker_may_build_now_does_not_keep_others_waiting() {
    let site = Site::new();
    let mut master = Master::new(&site, REFUSALS);
    let rest = master.start();
    let force = |builder: &str, reason: &str, priority: i64| {
        rest.force(builder, json!({"reason": reason, "priority": priority}))
    };
    let never = [force("best", "never", 0), force("oldest", "never", 0)];
    let others = [force("best", "please", 0), force("oldest", "please", 7)];
    let _worker = master.start_worker(&site);
    for request in others {
        rest.built(request, Results::Success);
    }
    for request in never {
        assert_eq!(rest.one(&format!("buildrequests/{request}"))["claimed"], json!(false));
    }
    let asked = std::fs::read_to_string(site.path("asked")).unwrap();
    assert!(asked.lines().filter(|reason| reason.ends_with("never")).count() >= 2, "{asked}");
    assert!(master.stop().success());
}

/// A builder with a second worker, which never comes, and a form that asks for one of them.
const CHOSEN: &str = "
c['workers'].append(worker.Worker('w2', 'none'))
builder(
    'chosen', sh('true'), workers=('w1', 'w2'), collapseRequests=False, canStartBuild=util.enforceChosenWorker
)
c['schedulers'][-1] = schedulers.ForceScheduler(
    name='force-chosen', builderNames=['chosen'], properties=[util.WorkerChoiceParameter()]
)
";

#[test]
fn a_request_waits_for_the_worker_that_it_names() {
    let site = Site::new();
    let mut master = Master::new(&site, CHOSEN);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let [absent, present, any] =
        ["w2", "w1", "-any-"].map(|worker| rest.force("chosen", json!({"workername": worker})));
    for request in [present, any] {
        let build = rest.built(request, Results::Success);
        assert_eq!(rest.property(build, "workername"), json!("w1"));
    }
    assert_eq!(rest.one(&format!("buildrequests/{absent}"))["claimed"], json!(false));
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
