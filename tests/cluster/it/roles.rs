//! Masters that do a part of the work each.

use muster_tests::{Results, http, until};
use rustix::process::Signal;
use serde_json::json;

use crate::ground::{Counting, Ground};

#[test]
fn a_web_master_serves_what_runs_elsewhere() {
    let ground = Ground::new();
    let mut web = ground.master("web", "web");
    let mut engine = ground.master("engine", "engine");
    let mut scheduler = ground.master("scheduler", "scheduler");
    let rest = web.start();
    // Accepted while nobody is there who could build it.
    let request = rest.force("quick", json!({}));
    engine.start();
    scheduler.start();
    let mut worker = ground.worker(&[&engine]);
    rest.built(request, Results::Success);
    // Live, and stopped from there.
    let counting = Counting::begin(&ground, rest, "count");
    counting.wait_for_more(rest);
    rest.call(&format!("builds/{}", counting.build), "stop", json!({"reason": "enough"})).unwrap();
    rest.built(counting.request, Results::Cancelled);
    let roles = "SELECT string_agg(roles, ' ' ORDER BY roles) FROM muster_masters";
    assert_eq!(ground.sql(roles), "engine scheduler web");
    let with_builders = "SELECT count(DISTINCT masterid) FROM builder_masters";
    assert_eq!(ground.sql(with_builders), "1", "only the engine has builders");
    let owner = "SELECT string_agg(DISTINCT m.name, ' ') FROM scheduler_masters s JOIN masters m ON m.id = s.masterid";
    ground.wait_for("the schedulers' owner", owner, "scheduler");
    ground.wait_until_idle();

    // Gone, its schedulers are free at once; what is accepted meanwhile is built when one is back.
    scheduler.stop(Signal::TERM);
    assert_eq!(ground.sql("SELECT count(*) FROM scheduler_masters"), "0");
    let form = "/change_hook/base?author=somebody&branch=main&comments=hooked&revision=r1";
    let answer = http::request(web.web, "POST", form, None).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"1 change found".as_slice()));
    assert_eq!(ground.sql("SELECT count(*) FROM changes"), "1", "it is there when the sender has its answer");
    scheduler.start();
    let built = "SELECT count(*) FROM builds b JOIN build_properties p ON p.buildid = b.id \
                 WHERE p.name = 'revision' AND p.value = '\"r1\"' AND b.results = 0";
    until("the build of the change", || (ground.sql(built) == "1").then_some(()));
    let refused = http::request(web.web, "POST", "/change_hook/github", None).unwrap();
    assert_eq!(refused.status, 400);
    worker.stop();
}

#[test]
fn what_is_wrong_with_roles_and_names_is_said() {
    let ground = Ground::new();
    let said = |name: &str, roles: &str| {
        let mut node = ground.master("bad", roles).named(name);
        node.launch();
        assert!(!node.process().wait().success());
        node.process().said()
    };
    let text = said("bad", "web,wbe");
    assert!(text.contains("there is no role 'wbe'") && text.contains("gateway"), "{text}");
    let text = said("", "web");
    assert!(text.contains("one line of text"), "{text}");
}
