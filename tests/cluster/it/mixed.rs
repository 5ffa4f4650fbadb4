//! Buildbot's own master beside ours, on one PostgreSQL and one router.

use std::process::Command;

use muster_tests::{Process, Rest, Results, stock, until};
use rustix::process::Signal;
use serde_json::json;

use crate::ground::Ground;

/// Requests that both kinds of masters want.
const REQUESTS: usize = 12;

/// Starts a master of Buildbot that has the builders of ours, with a worker of its own.
fn buildbot(ground: &Ground) -> Process {
    let program = stock::with_drivers().join("bin/buildbot");
    let site = &ground.site;
    if !site.path("python").exists() {
        let mut create = Command::new(&program);
        create.args(["create-master", "-q", "python"]).current_dir(site.path(""));
        assert!(create.status().unwrap().success());
        let config = format!(
            r#"
from buildbot.plugins import steps, util, worker

c = BuildmasterConfig = {{}}
c["multiMaster"] = True
c["collapseRequests"] = False
c["buildbotNetUsageData"] = None
c["db"] = {{"db_url": "{}"}}
{}
c["protocols"] = {{"pb": {{"port": "tcp:0:interface=127.0.0.1"}}}}
c["workers"] = [worker.LocalWorker("local")]
slow = util.BuildFactory([steps.ShellCommand(command=["sleep", "0.3"])])
long = util.BuildFactory([steps.ShellCommand(command=["sleep", "300"])])
c["builders"] = [
    util.BuilderConfig(name="shared", workernames=["local"], factory=slow),
    util.BuilderConfig(name="long", workernames=["local"], factory=long),
]
"#,
            ground.postgres.url("buildbot").replace("postgresql://", "postgresql+psycopg://"),
            ground.router.mq(),
        );
        site.write("python/master.cfg", &config);
    }
    let mut start = Command::new(program);
    start.args(["start", "--nodaemon", "python"]).current_dir(site.path(""));
    let process = Process::start(&mut start, &site.path("python.log"));
    let log = site.path("python/twistd.log");
    until("Buildbot's master runs", || {
        std::fs::read_to_string(&log).ok()?.contains("BuildMaster is running").then_some(())
    });
    process
}

fn force(rest: Rest, number: usize) -> Vec<i64> {
    (0..number).map(|_| rest.force("shared", json!({}))).collect()
}

#[test]
fn requests_are_shared_with_buildbot_and_moved_over_and_back() {
    let ground = Ground::new();
    let mut one = ground.master("one", "web,engine,scheduler");
    let rest = one.start();
    let mut worker = ground.worker(&[&one]);
    rest.wait_for_worker("w1");
    let python = buildbot(&ground);
    // Both want them, each gets some, none is built twice.
    for request in force(rest, REQUESTS) {
        rest.built(request, Results::Success);
    }
    let by = "SELECT string_agg(DISTINCT m.name, ' ') FROM builds b JOIN masters m ON m.id = b.masterid";
    assert!(ground.sql(by).contains("one") && ground.sql(by).contains("python"), "{}", ground.sql(by));
    let twice = "SELECT count(*) FROM (SELECT buildrequestid FROM builds GROUP BY buildrequestid HAVING count(*) > 1) t";
    assert_eq!(ground.sql(twice), "0");

    // Over: ours finishes what it has and goes, and Buildbot builds the rest.
    let waiting = force(rest, 4);
    one.stop(Signal::USR1);
    let open = "SELECT count(*) FROM buildrequests WHERE complete = 0";
    ground.wait_for("Buildbot's builds", open, "0");
    assert_eq!(waiting.len(), 4);

    // And back: Buildbot's master dies with a build. After its ten minutes ours builds that again.
    worker.stop();
    let rest = one.start();
    let request = rest.force("long", json!({}));
    let build = rest.running_build(request);
    python.kill();
    let builders = "SELECT count(*) FROM builder_masters b JOIN masters m ON m.id = b.masterid WHERE m.name LIKE '%python'";
    assert_ne!(ground.sql(builders), "0", "nobody expires it before its time");
    ground.sql("UPDATE masters SET last_active = last_active - 700 WHERE name LIKE '%python'");
    ground.wait_for("its end", builders, "0");
    let results = format!("SELECT results FROM builds WHERE id = {build}");
    ground.wait_for("the end of its build", &results, "5");
    worker.start();
    let last = rest.builds_of(request).pop().unwrap();
    assert_eq!(last["results"], json!(Results::Success as i64), "{last}");
    worker.stop();
    one.stop(Signal::TERM);
}
