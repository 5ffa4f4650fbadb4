//! A build that ends with RETRY at once, again and again: each time its request waits longer, and says why.

use muster_tests::{Master, Results, Site, http, rest::id, until};
use serde_json::{Value, json};

/// Wants to be tried again until the test opens the gate.
const AGAIN: &str = r#"
from buildbot.process.results import RETRY

builder(
    "again",
    steps.ShellCommand(
        command=["sh", "-c", f"test -e {SITE}/gate"], name="again", decodeRC={0: util.SUCCESS, 1: RETRY}
    ),
)
"#;

fn builds(rest: muster_tests::Rest, request: i64) -> Vec<Value> {
    let mut builds = rest.list(&format!("builds?buildrequestid={request}&complete=true"));
    builds.sort_by_key(|build| id(build, "buildid"));
    builds
}

#[test]
fn a_request_whose_builds_end_with_retry_at_once_waits_longer_each_time() {
    let site = Site::new();
    let mut master = Master::new(&site, AGAIN);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    rest.wait_for_worker("w1");
    let request = rest.force("again", json!({}));
    until("three builds", || (builds(rest, request).len() == 3).then_some(()));
    let why = until("the reason of its wait", || {
        let page = http::request(rest.0, "GET", "/pending", None).ok()?;
        let page = String::from_utf8(page.body).unwrap();
        page.contains("builds ended RETRY at once: it waits until").then_some(page)
    });
    assert!(why.contains("its last 3 builds"), "{why}");
    let field = rest.one(&format!("buildrequests/{request}"));
    assert!(field["waits_because"].as_str().unwrap_or_default().contains("its last 3 builds"), "{field}");
    // The next life of the master knows by the rows how often it was tried.
    master.kill();
    let rest = master.start();
    until("a fourth build", || (builds(rest, request).len() == 4).then_some(()));
    let tried = builds(rest, request);
    let gap = |at: usize| id(&tried[at], "started_at") - id(&tried[at - 1], "complete_at");
    // Waits of no, two and four seconds, or a quarter less; the times of rows are rounded.
    assert!(gap(2) >= 1 && gap(3) >= 2, "{tried:?}");
    site.write("gate", "");
    let results: Vec<Value> = rest.builds_of(request).iter().map(|build| build["results"].clone()).collect();
    assert_eq!(results.len(), 5, "{results:?}");
    assert!(results[..4].iter().all(|result| *result == json!(Results::Retry as i64)), "{results:?}");
    assert_eq!(results[4], json!(Results::Success as i64));
}
