//! The pages, as somebody sees them who watches a build.

use muster_tests::{Master, Results, Site};
use serde_json::json;

use crate::devtools::Browser;

const CONFIG: &str = r#"
script = f"echo first line; {gate('one')}; echo second line; {gate('two')}; echo last line"
builder("watched", sh(script, name="speak", logEnviron=False))
"#;

/// Marks the page's document, so that a reload would be noticed.
const MARK: &str = "window.sameDocument = true";
const STILL_MARKED: &str = "window.sameDocument === true";

#[test]
fn a_build_is_seen_live() {
    let site = Site::new();
    let mut master = Master::new(&site, CONFIG);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let mut browser = Browser::start(&site);
    let request = rest.force("watched", json!({"reason": "somebody watches"}));
    let build = rest.running_build(request);
    rest.wait_for_line(build, "speak", "first line");

    let page = format!("http://{}/builders/watched/builds/1", master.web);
    browser.go(&page);
    browser.wait_for(&state_is("running"));
    browser.wait_for("document.querySelector('#steps').textContent.includes('speak')");
    browser.wait_for("document.body.textContent.includes('somebody watches')");
    browser.screenshot("build-running");

    // The log grows while it is looked at.
    let step = rest.step(build, "speak")["number"].clone();
    browser.go(&format!("{page}/steps/{step}/logs/stdio"));
    browser.evaluate(MARK);
    browser.wait_for(&has_line("first line"));
    assert_eq!(browser.evaluate(&has_line("second line")), json!(false));
    site.write("one", "");
    browser.wait_for(&has_line("second line"));
    assert_eq!(browser.evaluate(STILL_MARKED), json!(true), "the page was not loaded again");
    browser.screenshot("log-growing");

    // The build's page turns green while it is looked at.
    browser.go(&page);
    browser.evaluate(MARK);
    browser.wait_for(&state_is("running"));
    site.write("two", "");
    browser.wait_for(&state_is("success"));
    assert_eq!(browser.evaluate(STILL_MARKED), json!(true), "the page was not loaded again");
    browser.screenshot("build-success");
    assert_eq!(rest.built(request, Results::Success), build);
}

fn state_is(result: &str) -> String {
    format!("document.querySelector('#state .lead').classList.contains('{result}')")
}

fn has_line(text: &str) -> String {
    format!("[...document.querySelectorAll('#log .l')].some(line => line.textContent.trim() === '{text}')")
}

/// Mails, statuses and bookmarks have addresses of Buildbot's interface: the build's page is what they must lead to.
#[test]
fn addresses_of_buildbots_interface_lead_to_our_pages() {
    let site = Site::new();
    let mut master = Master::new(&site, "builder('one', sh('echo done', name='speak'))\n");
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let request = rest.force("one", json!({}));
    rest.built(request, Results::Success);
    let mut browser = Browser::start(&site);
    let waiting = rest.force("one", json!({}));
    rest.built(waiting, Results::Success);
    let request = format!("buildrequests/{request}");
    let routes = [
        ("builders", "/builders"),
        ("builders?tags=%2Bx", "/builders"),
        ("builders/1", "/builders/1"),
        ("builders/1/builds/1", "/builders/1/builds/1"),
        ("builders/1/builds/1/steps/0", "/builders/1/builds/1#step-0"),
        ("builders/1/builds/1/steps/1/logs/stdio", "/builders/1/builds/1/steps/1/logs/stdio"),
        ("builders/1/force/force-one", "/builders/1/force/force-one"),
        (request.as_str(), "/builders/one/builds/1"),
        ("pendingbuildrequests", "/pending"),
        ("workers", "/workers"),
        ("workers/1", "/workers/w1"),
        ("changes", "/changes"),
        ("changes/7", "/changes?below=8"),
        ("masters", "/about#masters"),
        ("schedulers", "/about#schedulers"),
        ("about", "/about"),
        ("settings", "/about"),
        ("projects", "/builders"),
        ("projects/1", "/builders"),
        ("waterfall", "/builders"),
        ("console", "/changes"),
        ("grid", "/builders"),
    ];
    let place = "location.pathname + location.search + location.hash";
    for (route, page) in routes {
        browser.go("about:blank");
        browser.visit(&format!("http://{}/#/{route}", master.web));
        browser.wait_for(&format!("{place} === {}", json!(page)));
        browser.wait_for("!!document.querySelector('main') && !document.title.includes('Not found')");
    }
    // The form that Buildbot itself once wrote, an address that is typed on an open page, and what leads nowhere.
    browser.visit(&format!("http://{}/#builders/1/builds/1", master.web));
    browser.wait_for(&format!("{place} === '/builders/1/builds/1'"));
    browser.evaluate("location.hash = '#/workers'");
    browser.wait_for(&format!("{place} === '/workers'"));
    browser.go("about:blank");
    browser.go(&format!("http://{}/#/nosuch/1", master.web));
    browser.wait_for("!!document.querySelector('#answer')");
    browser.screenshot("home-of-an-unknown-route");
}
