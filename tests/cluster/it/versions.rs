//! Two versions of Muster beside each other. The newer one is a debug build that behaves as the next version would: one
//! more version of the schema, of a step's replay, and of the session protocol.

use muster_tests::{Results, rest::id};
use rustix::process::Signal;
use serde_json::json;

use crate::ground::{Counting, Ground};

#[test]
fn masters_are_upgraded_and_downgraded_under_load() {
    let ground = Ground::new();
    let mut old = ground.master("old", "web,engine");
    let mut new = ground.master("new", "web,engine").newer();
    let first = old.start();
    let mut worker = ground.worker(&[&old, &new]);
    first.wait_for_worker("w1");
    let counting = Counting::begin(&ground, first, "count");

    // Up: the schema first, while the old master works; then the new master; then the old one goes.
    let refused = new.command(&["cluster", "status"], &[]);
    assert!(refused.said.contains("upgrade-master"), "{}", refused.said);
    let upgraded = new.command(&["upgrade-master"], &[]);
    assert!(upgraded.status.success(), "{}", upgraded.said);
    assert_eq!(ground.sql("SELECT to_regclass('muster_next') IS NOT NULL"), "t");
    counting.wait_for_more(first);
    let second = new.start();
    old.stop(Signal::TERM);
    counting.wait_for_more(second);
    counting.end(second);

    // Down: a step that the new one has begun is nothing that the old one can go on with. It says so, and builds again.
    std::fs::remove_file(ground.site.path("gate")).unwrap();
    let counting = Counting::begin(&ground, second, "count");
    assert_eq!(ground.sql("SELECT count(*) FROM muster_journal WHERE kind = 'command@3'"), "1");
    let first = old.start();
    new.stop(Signal::TERM);
    let results = format!("SELECT results FROM builds WHERE id = {}", counting.build);
    ground.wait_for("the end of the build", &results, "5");
    ground.site.write("gate", "");
    let builds = first.builds_of(counting.request);
    let results: Vec<_> = builds.iter().map(|build| build["results"].clone()).collect();
    assert_eq!(results, [json!(Results::Retry as i64), json!(Results::Success as i64)], "{builds:?}");
    let step = id(&first.step(counting.build, "count"), "stepid");
    let logs = first.list(&format!("steps/{step}/logs"));
    let why = logs.iter().find(|log| log["name"] == json!("interrupt")).expect("a log with the reason");
    let why = first.try_get(&format!("logs/{}/contents", id(why, "logid"))).unwrap();
    let why = why["logchunks"][0]["content"].as_str().unwrap();
    assert!(why.contains("replay version 3, this one knows 2"), "{why}");
    ground.wait_until_idle();
    worker.stop();
    old.stop(Signal::TERM);
}
