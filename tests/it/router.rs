//! Masters that share a router, which may go away; Buildbot's own among them.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use muster_tests::{Master, Process, Rest, Results, Site, binary, crossbar, stock, until};
use serde_json::{Value, json};

/// How long the router stays away; `MUSTER_ROUTER_AWAY` (seconds) makes it longer.
const AWAY: Duration = Duration::from_secs(5);
/// Builds that run meanwhile; `MUSTER_ROUTER_BUILDS` makes them more.
const BUILDS: usize = 60;
/// Pages are fresh within this time after the router's return.
const FRESH_WITHIN: Duration = Duration::from_secs(2);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A router in a process of its own.
struct Router {
    address: SocketAddr,
    process: Option<Process>,
    lives: u32,
}

impl Router {
    fn new() -> Router {
        let address = SocketAddr::from((Site::address(), Site::free_port()));
        Router { address, process: None, lives: 0 }
    }

    /// When it accepted.
    fn start(&mut self, site: &Site) -> Instant {
        self.lives += 1;
        let address = self.address.to_string();
        let command = &mut binary::command(&["router", "--listen", &address]);
        command.current_dir(site.path(""));
        let mut process = Process::start(command, &site.path(&format!("router-{}.log", self.lives)));
        process.wait_for("the router listens on");
        self.process = Some(process);
        Instant::now()
    }

    /// Crossbar in its place, with what Buildbot's masters need and nothing more.
    fn start_crossbar(&mut self, site: &Site) {
        let address = self.address.to_string();
        let permission = json!({
            "uri": "org.buildbot.", "match": "prefix", "cache": true,
            "allow": {"call": false, "register": false, "publish": true, "subscribe": true},
            "disclose": {"caller": false, "publisher": false},
        });
        let transport = json!({
            "type": "websocket",
            "endpoint": {"type": "tcp", "interface": self.address.ip(), "port": self.address.port()},
            "url": format!("ws://{address}/ws"),
            "auth": {"anonymous": {"type": "static", "role": "master"}},
        });
        let realm = json!({"name": "buildbot", "roles": [{"name": "master", "permissions": [permission]}]});
        let worker = json!({"type": "router", "realms": [realm], "transports": [transport]});
        let config = json!({"version": 2, "controller": {}, "workers": [worker]});
        self.process = Some(crossbar::start(site, &config, &[&address]));
    }

    fn kill(&mut self) {
        self.process.take().expect("the router was started").kill();
    }

    /// The line of `master.cfg`.
    fn mq(&self) -> String {
        format!("c['mq'] = {{'type': 'wamp', 'router_url': 'ws://{}/ws'}}\n", self.address)
    }
}

/// What a page is told, and when.
fn listen(web: SocketAddr, path: &str) -> mpsc::Receiver<(Instant, Value)> {
    let mut stream = TcpStream::connect(web).unwrap();
    write!(stream, "GET /sse/listen/{path} HTTP/1.1\r\nHost: {web}\r\n\r\n").unwrap();
    let (told, events) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            let event = line.strip_prefix("data: ").and_then(|data| serde_json::from_str::<Value>(data).ok());
            if let Some(event) = event.filter(|event| event["key"].is_array())
                && told.send((Instant::now(), event)).is_err()
            {
                return;
            }
        }
    });
    events
}

/// When the first event came whose key is `key`, where `*` is anything.
fn wait_for(events: &mpsc::Receiver<(Instant, Value)>, key: &[&str]) -> (Instant, Value) {
    loop {
        let (at, event) = events.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no event {key:?}"));
        let parts = event["key"].as_array().unwrap();
        if parts.len() == key.len() && parts.iter().zip(key).all(|(part, want)| *want == "*" || part == want)
        {
            return (at, event["message"].clone());
        }
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn no_build_suffers_while_the_router_is_away_and_pages_are_fresh_soon_after_its_return() {
    let away = from_environment("MUSTER_ROUTER_AWAY").map_or(AWAY, Duration::from_secs);
    let builds = from_environment("MUSTER_ROUTER_BUILDS").map_or(BUILDS, |count| count as usize);
    let site = Site::new();
    let mut router = Router::new();
    router.start(&site);
    let mut master =
        Master::new(&site, &(router.mq() + "builder('quick', sh('echo hello'), collapseRequests=False)\n"));
    let rest = master.start();
    let _worker = master.start_worker(&site);
    master.process().wait_for("events go over the router");
    let events = listen(master.web, "builds/*/finished");

    let mut requests = Vec::new();
    for number in 0..builds {
        requests.push(rest.force("quick", json!({"reason": number.to_string()})));
    }
    wait_for(&events, &["builds", "*", "finished"]);
    router.kill();
    master.process().wait_for("the session with the router");
    // The outage itself is what is tested, so its length is a time and no state.
    std::thread::sleep(away);
    requests.push(rest.force("quick", json!({"reason": "without a router"})));
    rest.built(requests[requests.len() - 1], Results::Success);
    let back = router.start(&site);
    let (told, _) = wait_for(&events, &["muster", "missed"]);
    assert!(told - back < FRESH_WITHIN, "{:?} after the router's return", told - back);
    for request in requests {
        rest.built(request, Results::Success);
        assert_eq!(rest.builds_of(request).len(), 1, "no build was begun twice");
    }
    master.stop();
}

/// A master of Buildbot on Muster's database, with a builder of its own.
fn python_master(site: &Site, router: &Router, master: &Master) -> Process {
    let created = stock::buildbot(site, &["create-master", "-q", "python"]);
    assert!(created.status.success(), "{}", created.said);
    let database = master.path("state.sqlite");
    let config = format!(
        r#"
from buildbot.plugins import schedulers, steps, util, worker

c = BuildmasterConfig = {{}}
c["multiMaster"] = True
c["buildbotNetUsageData"] = None
c["db"] = {{"db_url": "sqlite:///{}"}}
{}
c["workers"] = [worker.LocalWorker("local"), worker.Worker("w1", "none")]
c["protocols"] = {{"pb": {{"port": "tcp:{}:interface={}"}}}}
factory = util.BuildFactory([steps.ShellCommand(command=["echo", "from Python"])])
c["builders"] = [
    util.BuilderConfig(name="theirs", workernames=["local"], factory=factory),
    util.BuilderConfig(name="ours", workernames=["w1"], factory=factory),
]
c["schedulers"] = [schedulers.Periodic(name="at-once", builderNames=["ours"], periodicBuildTimer=86400)]
"#,
        database.display(),
        router.mq(),
        Site::free_port(),
        Site::address(),
    );
    site.write("python/master.cfg", &config);
    let mut command = stock::buildbot_command(site, &["start", "--nodaemon", "python"]);
    let process = Process::start(&mut command, &site.path("python.log"));
    let log = site.path("python/twistd.log");
    until("Buildbot's master runs", || {
        std::fs::read_to_string(&log).ok()?.contains("BuildMaster is running").then_some(())
    });
    process
}

fn master_of(rest: Rest, build: i64) -> i64 {
    rest.one(&format!("builds/{build}"))["masterid"].as_i64().unwrap()
}

#[test]
fn buildbots_master_and_ours_react_to_each_other_over_our_router() {
    let (site, mut router) = (Site::new(), Router::new());
    router.start(&site);
    react_to_each_other(&site, &router);
}

#[test]
fn buildbots_master_and_ours_react_to_each_other_over_crossbar() {
    let (site, mut router) = (Site::new(), Router::new());
    router.start_crossbar(&site);
    react_to_each_other(&site, &router);
}

fn react_to_each_other(site: &Site, router: &Router) {
    let config = router.mq()
        + "c['multiMaster'] = True\nc['workers'].append(worker.Worker('local', 'none'))\n\
           builder('ours', sh('echo from Muster'))\nbuilder('theirs', sh('echo never'), workers=['local'])\n";
    let mut master = Master::new(site, &config);
    let rest = master.start();
    let _worker = master.start_worker(site);
    let events = listen(master.web, "builds/*/*");
    let started = listen(master.web, "masters/*/started");
    let _python = python_master(site, router, &master);
    wait_for(&started, &["masters", "*", "started"]);

    // Python's scheduler asks for the builder of which only Muster has the worker.
    let (_, build) = wait_for(&events, &["builds", "*", "finished"]);
    assert_eq!(build["results"], 0);
    let (ours, muster) = (build["buildid"].as_i64().unwrap(), build["masterid"].as_i64().unwrap());
    assert_eq!(rest.lines(ours, "shell", 'o'), ["from Muster"]);

    // And the other way round: Python's master has no timer for this, so it heard of it.
    let request = rest.force("theirs", json!({}));
    let (_, build) = wait_for(&events, &["builds", "*", "new"]);
    let theirs = rest.built(request, Results::Success);
    assert_eq!(build["buildid"], theirs, "the page sees the other master's build live");
    assert_ne!(master_of(rest, theirs), muster);
    assert_eq!(rest.lines(theirs, "shell", 'o'), ["from Python"]);
    until("the page sees its end", || {
        events.try_iter().any(|(_, event)| event["key"][2] == "finished").then_some(())
    });
    master.stop();
}
