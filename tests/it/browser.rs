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
