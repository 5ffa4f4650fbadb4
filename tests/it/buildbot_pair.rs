//! A master of Buildbot 4.3.0 and one of ours on one database and one router: each reacts to the other's events and orders.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use muster_tests::{
    Master, Postgres, Process, Rest, Results, Router, Site, rest::id, stock, until, worker::PASSWORD,
};
use serde_json::{Value, json};

use crate::events::Events;

/// On our side: a builder of which only we have the worker, one of which only Buildbot has it.
const OURS: &str = r#"
c["multiMaster"] = True
c["workers"].append(worker.Worker("local", "none"))
builder("ours", sh("echo from Muster"))
builder("ours-slow", sh(f"echo begun; {gate('never')}", name="wait"))
builder("theirs", sh("echo never"), workers=["local"])
builder("theirs-slow", sh("echo never"), workers=["local"])
"#;

/// A master of Buildbot.
struct Python {
    web: SocketAddr,
    _process: Process,
}

impl Python {
    /// Starts one with a worker of its own, on the database at `url`, and waits until it runs.
    fn start(site: &Site, router: &Router, url: &str) -> Python {
        let program = stock::with_drivers().join("bin/buildbot");
        let created = Command::new(&program)
            .args(["create-master", "-q", "python"])
            .current_dir(site.path(""))
            .output();
        assert!(created.as_ref().is_ok_and(|created| created.status.success()), "{created:?}");
        let web = SocketAddr::from((Site::address(), Site::free_port()));
        let (address, port, mq) = (web.ip(), web.port(), router.mq());
        let config = format!(
            r#"
from buildbot.plugins import schedulers, steps, util, worker

c = BuildmasterConfig = {{}}
c["multiMaster"] = True
c["buildbotNetUsageData"] = None
c["db"] = {{"db_url": "{url}"}}
{mq}
c["www"] = {{"port": "tcp:{port}:interface={address}", "plugins": {{}}}}
c["buildbotURL"] = "http://{web}/"
c["workers"] = [worker.LocalWorker("local"), worker.Worker("w1", "{PASSWORD}")]
c["protocols"] = {{"pb": {{"port": "tcp:{}:interface={address}"}}}}

def builder(name, worker, *command):
    factory = util.BuildFactory([steps.ShellCommand(command=list(command))])
    return util.BuilderConfig(name=name, workernames=[worker], factory=factory)

c["builders"] = [
    builder("theirs", "local", "echo", "from Python"),
    builder("theirs-slow", "local", "sleep", "120"),
    builder("ours", "w1", "echo", "never"),
    builder("ours-slow", "w1", "echo", "never"),
]
c["schedulers"] = [
    schedulers.ForceScheduler(name="python-" + name, builderNames=[name]) for name in ("ours", "ours-slow")
]
"#,
            Site::free_port(),
        );
        site.write("python/master.cfg", &config);
        let mut command = Command::new(program);
        command.args(["start", "--nodaemon", "python"]).current_dir(site.path(""));
        let process = Process::start(&mut command, &site.path("python.log"));
        let log: PathBuf = site.path("python/twistd.log");
        until("Buildbot's master runs", || {
            std::fs::read_to_string(&log).ok()?.contains("BuildMaster is running").then_some(())
        });
        Python { web, _process: process }
    }

    /// Its REST interface, which is the same as ours.
    fn rest(&self) -> Rest {
        Rest(self.web)
    }

    /// Forces a build here; answers the request.
    fn force(&self, builder: &str) -> i64 {
        let found = self.rest().one(&format!("builders?name={builder}"));
        let params = json!({"builderid": id(&found, "builderid")});
        let forced = self.rest().call(&format!("forceschedulers/python-{builder}"), "force", params).unwrap();
        forced[1].as_object().unwrap().values().next().unwrap().as_i64().unwrap()
    }
}

/// Both masters, and what pages of both see.
struct Pair {
    master: Master,
    python: Python,
    our_page: Events,
    their_page: Events,
}

impl Pair {
    fn start(site: &Site, router: &Router, config: &str, sqlalchemy: impl FnOnce(&Master) -> String) -> Pair {
        let mut master = Master::new(site, &(router.mq_of_m1() + config + OURS));
        let upgraded = master.run("upgrade-master");
        assert!(upgraded.status.success(), "{}", upgraded.said);
        master.start();
        let started = Events::listen(master.web, &["masters/*/started"]);
        let python = Python::start(site, router, &sqlalchemy(&master));
        started.wait_for("masters/*/started");
        let [our_page, their_page] = [master.web, python.web].map(|web| Events::listen(web, &["builds/*/*"]));
        Pair { master, python, our_page, their_page }
    }

    /// Waits until pages of both masters were told of the whole build.
    #[track_caller]
    fn seen_live(&self, build: i64, results: Results) {
        for page in [&self.our_page, &self.their_page] {
            page.wait_for_one("builds/*/new", |told| told["buildid"] == json!(build));
            let end = page.wait_for_one("builds/*/finished", |told| told["buildid"] == json!(build)).message;
            assert_eq!(end["results"], json!(results as i64), "{end}");
        }
    }

    /// The one that Buildbot's master built, and the other way round.
    fn build_for_each_other(&self) {
        let rest = self.master.rest();
        let here = self.python.force("ours");
        let ours = rest.built(here, Results::Success);
        self.seen_live(ours, Results::Success);
        assert_eq!(rest.lines(ours, "shell", 'o'), ["from Muster"]);

        let there = rest.force("theirs", json!({}));
        let theirs = rest.built(there, Results::Success);
        self.seen_live(theirs, Results::Success);
        assert_eq!(rest.lines(theirs, "shell", 'o'), ["from Python"]);
        assert_ne!(self.master_of(ours), self.master_of(theirs));
    }

    fn master_of(&self, build: i64) -> Value {
        self.master.rest().one(&format!("builds/{build}"))["masterid"].clone()
    }

    /// Stops a build of the other one, cancels a request of the other one: both ways.
    fn order_each_other(&self) {
        let (ours, theirs) = (self.master.rest(), self.python.rest());
        let reason = || json!({"reason": "not needed"});

        let request = self.python.force("ours-slow");
        let build = ours.running_build(request);
        ours.wait_for_line(build, "wait", "begun");
        theirs.call(&format!("builds/{build}"), "stop", reason()).unwrap();
        assert_eq!(ours.built(request, Results::Cancelled), build);

        let request = self.python.force("ours-slow");
        let build = ours.running_build(request);
        theirs.call(&format!("buildrequests/{request}"), "cancel", reason()).unwrap();
        assert_eq!(ours.built(request, Results::Cancelled), build);

        let request = ours.force("theirs-slow", json!({}));
        let build = theirs.running_build(request);
        ours.call(&format!("builds/{build}"), "stop", reason()).unwrap();
        assert_eq!(theirs.built(request, Results::Cancelled), build);

        let request = ours.force("theirs-slow", json!({}));
        let build = theirs.running_build(request);
        ours.call(&format!("buildrequests/{request}"), "cancel", reason()).unwrap();
        assert_eq!(theirs.built(request, Results::Cancelled), build);
    }
}

#[test]
fn they_build_and_stop_builds_for_each_other_on_postgresql_over_crossbar() {
    let (site, mut router) = (Site::new(), Router::default());
    let server = Postgres::start();
    router.start_crossbar(&site);
    let config = format!("c['db'] = {{'db_url': '{}'}}\n", server.url("buildbot"));
    let mut pair = Pair::start(&site, &router, &config, |_| {
        server.url("buildbot").replace("postgresql://", "postgresql+psycopg://")
    });
    let mut worker = pair.master.start_worker(&site);
    pair.build_for_each_other();
    pair.order_each_other();
    let orders = || server.sql("buildbot", "SELECT count(*) FROM muster_control");
    until("every order is struck", || (orders() == "0").then_some(()));

    // A worker of ours is paused, and then told to go, on a page of Buildbot's master.
    let (ours, theirs) = (pair.master.rest(), pair.python.rest());
    let w1 = id(&ours.one("workers/w1"), "workerid");
    let order =
        |what: &str| theirs.call(&format!("workers/{w1}"), what, json!({"reason": "repairs"})).unwrap();
    order("pause");
    let paused = |worker: &Value| worker["paused"] == json!(true);
    assert_eq!(ours.wait_for("the pause", "workers/w1", paused)["pause_reason"], json!("repairs"));
    order("unpause");
    ours.wait_for("the end of the pause", "workers/w1", |worker| !paused(worker));
    order("stop");
    assert!(worker.process().wait().success());
    until("every order is struck", || (orders() == "0").then_some(()));
    assert!(pair.master.stop().success());
}

#[test]
fn they_build_for_each_other_on_sqlite_over_our_router() {
    let (site, mut router) = (Site::new(), Router::default());
    router.start(&site);
    let mut pair = Pair::start(&site, &router, "", |master| {
        format!("sqlite:///{}", master.path("state.sqlite").display())
    });
    let _worker = pair.master.start_worker(&site);
    pair.build_for_each_other();
    assert!(pair.master.stop().success());
}
