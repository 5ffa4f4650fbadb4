//! SIGHUP: a good file takes effect, a broken one changes nothing.

use muster_tests::{Master, Results, Site};
use serde_json::json;

use crate::events::Events;

const OLD: &str = r#"
builder("kept", sh(f"echo old; {gate('gate')}", name="say"))
builder("dropped", sh("true"))
"#;
const NEW: &str = r#"
builder("kept", sh("echo new", name="say"))
builder("added", sh("echo added", name="say"))
c["projects"] = [util.Project(name="site", description="all of it")]
"#;

#[test]
fn a_new_configuration_is_for_new_builds() {
    let site = Site::new();
    let mut master = Master::new(&site, OLD);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let before = rest.force("kept", json!({}));
    let running = rest.running_build(before);
    rest.wait_for_line(running, "say", "old");

    let told = Events::listen(master.web, &["builders/*/*", "projects/*/*"]);
    master.configure(NEW);
    master.reconfigure("configuration update complete");
    told.wait_for_one("projects/*/update", |project| project["description"] == json!("all of it"));
    told.wait_for_one("builders/*/started", |builder| builder["name"] == json!("added"));
    told.wait_for_one("builders/*/stopped", |builder| builder["name"] == json!("dropped"));
    let added = rest.force("added", json!({}));
    rest.built(added, Results::Success);
    assert!(rest.call("forceschedulers/force-dropped", "force", json!({})).is_err());
    // The running build goes on as it began; the next one is made as the new file says.
    site.write("gate", "");
    assert_eq!(rest.built(before, Results::Success), running);
    let after = rest.force("kept", json!({}));
    let build = rest.built(after, Results::Success);
    assert_eq!(rest.lines(build, "say", 'o'), ["new"]);
    master.database().wait_until_idle();
}

#[test]
fn a_broken_configuration_leaves_the_old_one_in_force() {
    let site = Site::new();
    let mut master = Master::new(&site, OLD);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    site.write("gate", "");
    for broken in ["c[", "c['nonsense'] = 1", "c['builders'][0].workernames = ['nobody']"] {
        master.configure(&format!("{OLD}\n{broken}\n"));
        master.reconfigure("configuration update aborted without making any changes");
        assert!(master.process().is_running());
    }
    let said = master.process().said();
    assert!(said.contains("nonsense") && said.contains("nobody"), "{said}");
    let request = rest.force("kept", json!({}));
    let build = rest.built(request, Results::Success);
    assert_eq!(rest.lines(build, "say", 'o'), ["old"]);
    // The next start says what is wrong and ends.
    assert!(master.stop().success());
    master.launch();
    assert!(!master.process().wait().success());
    assert!(master.process().said().contains("nobody"));
}
