//! The router inside a master.

use muster_tests::{Master, Postgres, Results, Site};
use serde_json::json;

use crate::events::Events;

/// Two masters on one database, the first of which runs the router, on IPv6 and with WAMP-CRA.
#[test]
fn two_masters_share_the_router_inside_one_of_them() {
    let (site, port) = (Site::new(), Site::free_port_of("::1"));
    site.write("secret", "hunter2\n");
    let mq = |more: &str| {
        format!(
            "c['mq'] = {{'type': 'wamp', 'router_url': 'ws://[::1]:{port}/ws', 'auth_method': 'wampcra', 'authid': 'masters',\n\
             \x20          'secret_file': SITE + '/secret', 'wamp_debug_level': 'trace'{more}}}\n\
             c['multiMaster'] = True\n"
        )
    };
    let server = Postgres::start();
    let database = format!("c['db'] = {{'db_url': '{}'}}\n", server.url("buildbot"));
    let embedded = mq(", 'embedded': True") + &database + "c['schedulers'] = []\n";
    let mut first = Master::at(&site, "first", &embedded);
    first.upgrade();
    let hello = "builder('hello', sh('echo hello'))\n";
    let mut second = Master::at(&site, "second", &(mq("") + &database + hello));
    let pages = first.start();
    first.process().wait_for("the router inside this master listens on [::1]");
    let rest = second.start();
    let _worker = second.start_worker(&site);
    for master in [&mut first, &mut second] {
        master.process().wait_for("events go over the router");
    }
    let events = Events::listen(first.web, &["builds/*/*"]);
    let build = rest.built(rest.force("hello", json!({})), Results::Success);
    let told = events.wait_for("builds/*/new").message;
    assert_eq!(told["buildid"], json!(build));
    let masters = [&pages, &rest].map(|rest| rest.one(&format!("builds/{build}"))["masterid"].clone());
    assert_eq!(masters, [told["masterid"].clone(), told["masterid"].clone()]);
    events.wait_for("builds/*/finished");
    first.process().wait_for("from the router");

    // The router's end is the other one's outage, nothing more.
    assert!(first.stop().success());
    second.process().wait_for("going on without it");
    rest.built(rest.force("hello", json!({})), Results::Success);
    first.start();
    let events = Events::listen(first.web, &["builds/*/*"]);
    second.process().wait_for_times("events go over the router", 2);
    rest.built(rest.force("hello", json!({})), Results::Success);
    events.wait_for("builds/*/finished");
    assert!(second.stop().success() && first.stop().success());
}

/// More combinations are tried where they are read, in `mq.rs` and `test_mq.py`.
#[test]
fn impossible_combinations_are_told_by_checkconfig_and_refused_at_the_start() {
    let site = Site::new();
    let mut master = Master::new(&site, "");
    let open = r#"{"roles": {"master": [{"uri": "", "match": "prefix", "subscribe": true}]}, "anonymous": "master"}"#;
    let file = format!(r#"{{"listen": [{{"address": "127.0.0.1:0"}}], "realms": {{"buildbot": {open}}}}}"#);
    std::fs::write(master.path("router.json"), file).unwrap();
    for (mq, says) in [
        ("'embedded': True, 'router_url': 'wss://localhost/ws'", "needs its certificate"),
        ("'auth_method': 'ticket', 'authid': 'm1', 'secret_file': 'missing'", "can't read"),
        ("'embedded': 'router.json'", "may not publish under 'org.buildbot.mq.'"),
    ] {
        master.configure(&format!("c['mq'] = {{'type': 'wamp', {mq}}}\nbuilder('b', sh('true'))\n"));
        let checked = master.run("checkconfig");
        assert!(!checked.status.success() && checked.said.contains(says), "{mq}: {}", checked.said);
    }
    master.launch();
    assert!(!master.process().wait().success());
    let said = master.process().said();
    assert!(said.contains("may not publish under 'org.buildbot.mq.'"), "{said}");
}
