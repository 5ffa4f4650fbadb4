//! Functions of the configuration that decide about many requests, and what is told when they don't.

use muster_tests::{Master, Rest, Results, Site, binary, process, until};
use serde_json::{Value, json};

/// One worker with one place, and a function that shows what it was given.
const ORDER: &str = "
from buildbot.util.async_sort import async_sort
c['workers'][0].max_builds = 1
for name in 'abcd':
    builder(name, sh('true'), collapseRequests=False)

async def by_name(master, builders):
    # What the manual's example asks for.
    for b in builders:
        oldest, newest = await b.getOldestRequestTime(), await b.getNewestCompleteTime()
        with open(SITE + '/asked', 'a') as asked:
            asked.write(f'{b.name} {oldest.year > 2000} {newest} {await b.get_highest_priority()} {len(b.building)}\\n')

    async def key(b):
        return -ord(b.name)
    await async_sort(builders, key)
    return [b for b in builders if b.name != 'd']
c['prioritizeBuilders'] = by_name
";

#[test]
fn prioritize_builders_says_who_gets_the_worker() {
    let site = Site::new();
    let mut master = Master::new(&site, ORDER);
    let rest = master.start();
    let requests = ["a", "b", "c", "d"].map(|name| rest.force(name, json!({})));
    let _worker = master.start_worker(&site);
    let builds: Vec<i64> =
        requests[..3].iter().map(|request| rest.built(*request, Results::Success)).collect();
    assert!(builds[2] < builds[1] && builds[1] < builds[0], "{builds:?}");
    let left_out = rest.one(&format!("buildrequests/{}", requests[3]));
    assert_eq!(left_out["claimed"], json!(false), "the function leaves it out");
    let asked = std::fs::read_to_string(site.path("asked")).unwrap();
    assert!(asked.lines().any(|line| line == "a True None 0 0"), "{asked}");
    assert!(master.stop().success());
}

/// The words of `muster cluster status`.
fn status(master: &Master, site: &Site) -> String {
    let mut command = binary::command(&["cluster", "status", master.dir()]);
    process::run(&mut command, &site.path("status.log")).said
}

#[test]
fn a_function_that_fails_is_told_once_and_shown_as_the_reason_to_wait() {
    let site = Site::new();
    let config = "
def fails(*given):
    raise ValueError('not today')
builder('chosen', sh('true'), nextBuild=fails)
builder('held', sh('true'), canStartBuild=lambda *given: False)
builder('ordered', sh('true'))
c['prioritizeBuilders'] = fails
";
    let mut master = Master::new(&site, config);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    rest.built(rest.force("ordered", json!({})), Results::Success);
    rest.force("chosen", json!({}));
    rest.force("held", json!({}));
    let said = until("the reasons are told", || {
        let said = status(&master, &site);
        (said.contains("nextBuild failed (ValueError: not today)")
            && said.contains("canStartBuild refuses it"))
        .then_some(said)
    });
    assert!(said.contains("Waiting (2)"), "{said}");
    let log = master.process().said();
    for function in ["nextBuild", "prioritizeBuilders"] {
        let told = log.lines().filter(|line| line.contains(&format!("{function} failed;"))).count();
        assert_eq!(told, 1, "{function}: {log}");
    }
    assert!(master.stop().success());
}

fn results(rest: &Rest, requests: &[i64]) -> Vec<Value> {
    let of = |request: &i64| rest.one(&format!("buildrequests/{request}"))["results"].clone();
    requests.iter().map(of).collect()
}

/// Two builders ask, each in its way; what they were given is written down.
const COLLAPSE: &str = "
async def same_branch(master, builder, req1, req2):
    one, two = [await master.data.get(('buildsets', r['buildsetid'])) for r in (req1, req2)]
    branches = [s['sourcestamps'][0]['branch'] for s in (one, two)]
    with open(SITE + '/asked', 'a') as asked:
        asked.write(f\"{builder.name} {req1['buildrequestid'] > req2['buildrequestid']} {branches} {req2['submitted_at'].year > 2000}\\n\")
    return branches[0] == branches[1]

def fails(master, builder, req1, req2):
    raise ValueError('not today')

def truthy(master, builder, req1, req2):
    return 'yes'

c['collapseRequests'] = same_branch
builder('global', sh('true'))
builder('fails', sh('true'), collapseRequests=fails)
builder('truthy', sh('true'), collapseRequests=truthy)
builder('never', sh('true'), collapseRequests=False)
";

#[test]
fn collapse_requests_may_be_a_function() {
    let site = Site::new();
    let mut master = Master::new(&site, COLLAPSE);
    let rest = master.start();
    let force = |name: &str, branch: &str| rest.force(name, json!({"branch": branch}));
    let requests = ["x", "x", "y", "x"].map(|branch| force("global", branch));
    let others = ["fails", "truthy", "never"].map(|name| [force(name, "x"), force(name, "x")]);
    until("two are collapsed", || {
        (results(&rest, &requests) == [json!(3), json!(3), json!(-1), json!(-1)]).then_some(())
    });
    let asked = std::fs::read_to_string(site.path("asked")).unwrap();
    assert!(
        asked.contains("global True ['x', 'x'] True") && asked.contains("global True ['y', 'x'] True"),
        "{asked}"
    );
    let said = until("it is told", || {
        let said = master.process().said();
        said.contains("collapseRequests failed;").then_some(said)
    });
    assert!(said.contains("not today"), "{said}");
    let _worker = master.start_worker(&site);
    for request in requests[2..].iter().chain(others.iter().flatten()) {
        rest.built(*request, Results::Success);
    }
    assert!(master.stop().success());
}

#[test]
fn a_request_is_not_begun_while_it_is_asked_whether_it_collapses() {
    let site = Site::new();
    let config = "
import os, time

def slow(master, builder, req1, req2):
    while not os.path.exists(SITE + '/go'):
        time.sleep(0.05)
    return True
builder('one', sh('true'), collapseRequests=slow)
builder('other', sh('true'))
";
    let mut master = Master::new(&site, config);
    let rest = master.start();
    let requests = [(), ()].map(|()| rest.force("one", json!({})));
    let _worker = master.start_worker(&site);
    // The other builder doesn't wait.
    rest.built(rest.force("other", json!({})), Results::Success);
    assert_eq!(results(&rest, &requests), [json!(-1), json!(-1)]);
    until("the reason is told", || {
        status(&master, &site).contains("collapseRequests has not answered yet").then_some(())
    });
    site.write("go", "");
    rest.built(requests[1], Results::Success);
    assert_eq!(results(&rest, &requests), [json!(3), json!(0)]);
    assert!(master.stop().success());
}
