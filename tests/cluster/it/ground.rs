//! A cluster: a database, a router, masters with one configuration, and a build that counts.

use std::net::SocketAddr;
use std::process::Command;

use muster_tests::router::Router;
use muster_tests::stock::{self, Protocol, Release, StockWorker};
use muster_tests::worker::PASSWORD;
use muster_tests::{Postgres, Process, Rest, Results, Site, Worker, binary, process, until};
use rustix::process::Signal;
use serde_json::json;

/// One configuration for all masters; what differs on one machine comes from the environment.
const CONFIG: &str = r#"
import os

from buildbot.plugins import changes, schedulers, steps, util, worker

c = BuildmasterConfig = {}
c["db"] = {"db_url": "%DATABASE%"}
%ROUTER%
c["multiMaster"] = True
c["collapseRequests"] = False
c["protocols"] = {
    "session": {"port": f"tcp:{os.environ['SESSIONS']}:interface=%ADDRESS%"},
    "pb": {"port": f"tcp:{os.environ['PB']}:interface=%ADDRESS%"},
}
c["www"] = {"port": f"tcp:{os.environ['WEB']}:interface=%ADDRESS%", "change_hook_dialects": {"base": True}}
c["workers"] = [worker.Worker("w1", "%PASSWORD%"), worker.Worker("stock", "%PASSWORD%")]
c["change_source"] = [changes.PBChangeSource(user="changes", passwd="%PASSWORD%")]
SITE = "%SITE%"


def counting(name):
    return steps.ShellCommand(name="count", command=["sh", "-c",
        f"echo start >> {SITE}/starts; for i in $(seq 600); do [ -e {SITE}/gate ] && break; "
        f"echo line $i; echo line $i >> {SITE}/lines; sleep 0.1; done; echo the end"])


before = steps.SetPropertyFromCommand(command="echo 42", property="answer", name="before")
after = steps.ShellCommand(command=["echo", util.Interpolate("%(prop:answer)s")], name="after")
c["builders"] = [
    util.BuilderConfig("count", workernames=["w1"], factory=util.BuildFactory([before, counting("count"), after])),
    util.BuilderConfig("stock", workernames=["stock"], factory=util.BuildFactory([counting("stock")])),
    util.BuilderConfig("shared", workernames=["w1"], factory=util.BuildFactory([steps.ShellCommand(command=["sleep", "0.3"])])),
    util.BuilderConfig("long", workernames=["w1"], factory=util.BuildFactory([after])),
    util.BuilderConfig("quick", workernames=["w1"], factory=util.BuildFactory([after])),
]
many = [f"m{number}" for number in range(10)]
c["workers"] += [worker.Worker(name, "%PASSWORD%") for name in many]
wait = f"for i in $(seq 600); do [ -e {SITE}/gate ] && break; sleep 0.5; done"
hours = util.BuildFactory([steps.ShellCommand(name="hours", command=["sh", "-c", f"echo x >> {SITE}/starts; {wait}"])])
c["builders"] += [util.BuilderConfig(f"many{number}", workernames=many, factory=hours) for number in range(5)]
c["workers"] += [worker.Worker("stock2", "%PASSWORD%")]
other = f"for i in $(seq 600); do [ -e {SITE}/gate-other ] && break; sleep 0.1; done"
c["builders"] += [
    util.BuilderConfig("other", workernames=["m1"], factory=util.BuildFactory([steps.ShellCommand(command=["sh", "-c", other])])),
    util.BuilderConfig("stock2", workernames=["stock2"], factory=util.BuildFactory([after])),
]
c["schedulers"] = [schedulers.ForceScheduler(name="force-" + name, builderNames=[name])
                   for name in ("count", "stock", "stock2", "other", "shared", "long", "quick", "many0", "many1", "many2", "many3", "many4")]
c["schedulers"].append(schedulers.SingleBranchScheduler(
    name="commits", change_filter=util.ChangeFilter(branch="main"), treeStableTimer=None, builderNames=["quick"]))
"#;

/// A database and a router, without masters.
pub struct Ground {
    pub site: Site,
    pub postgres: Postgres,
    pub router: Router,
}

impl Ground {
    pub fn new() -> Ground {
        let site = Site::new();
        let postgres = Postgres::start();
        let mut router = Router::default();
        router.start(&site);
        Ground { site, postgres, router }
    }

    /// A master's directory and ports; the first one makes the schema.
    pub fn master(&self, name: &str, roles: &str) -> Node {
        let dir = self.site.path(name);
        let url = self.postgres.url("buildbot");
        let dir_text = dir.to_str().unwrap();
        let created = process::run(
            &mut binary::command(&["create-master", "-q", "--db", &url, dir_text]),
            &self.site.path(&format!("{name}-create.log")),
        );
        assert!(created.status.success(), "{}", created.said);
        let facts = [
            ("%DATABASE%", url),
            ("%ROUTER%", self.router.mq()),
            ("%ADDRESS%", Site::address().to_string()),
            ("%PASSWORD%", PASSWORD.to_owned()),
            ("%SITE%", self.site.path("").to_str().unwrap().trim_end_matches('/').to_owned()),
        ];
        let config = facts.iter().fold(CONFIG.to_owned(), |text, (name, fact)| text.replace(name, fact));
        std::fs::write(dir.join("master.cfg"), config).unwrap();
        let port = || SocketAddr::from((Site::address(), Site::free_port()));
        Node {
            name: name.to_owned(),
            called: name.to_owned(),
            roles: roles.to_owned(),
            dir: dir_text.to_owned(),
            logs: self.site.path(""),
            web: port(),
            sessions: port(),
            pb: port(),
            more: Vec::new(),
            newer: false,
            lives: 0,
            process: None,
        }
    }

    /// The worker `w1`, which knows these masters.
    pub fn worker(&self, masters: &[&Node]) -> Worker {
        let mut worker = Worker::new(&self.site, "w1", masters[0].sessions);
        for master in &masters[1..] {
            worker = worker.knowing(master.sessions);
        }
        worker.start();
        worker
    }

    /// What one query answers.
    #[track_caller]
    pub fn sql(&self, query: &str) -> String {
        self.postgres.sql("buildbot", query)
    }

    /// Copies the tables of one database into another, empty one.
    pub fn copy(&self, from: &str, to: &str) {
        let script = format!(
            "{} -h 127.0.0.1 -p {port} -U bb {from} | psql -q -h 127.0.0.1 -p {port} -U bb -d {to} -v ON_ERROR_STOP=1 -o /dev/null",
            Postgres::program("pg_dump").display(),
            port = self.postgres.port,
        );
        let status = Command::new("sh").args(["-c", &script]).status().unwrap();
        assert!(status.success(), "{script}");
    }

    /// Waits until a query answers so.
    #[track_caller]
    pub fn wait_for(&self, what: &str, query: &str, answer: &str) {
        until(what, || (self.sql(query) == answer).then_some(()));
    }

    /// Waits until no unfinished row of any kind is left.
    #[track_caller]
    pub fn wait_until_idle(&self) {
        let open = "SELECT (SELECT count(*) FROM buildrequests WHERE complete = 0) + (SELECT count(*) FROM buildsets \
                    WHERE complete = 0) + (SELECT count(*) FROM builds WHERE results IS NULL) + (SELECT count(*) FROM \
                    steps WHERE results IS NULL) + (SELECT count(*) FROM logs WHERE complete = 0) + (SELECT count(*) FROM \
                    muster_runs) + (SELECT count(*) FROM muster_journal) + (SELECT count(*) FROM muster_lock_claims)";
        self.wait_for("nothing unfinished", open, "0");
    }
}

/// One master of the cluster.
pub struct Node {
    pub name: String,
    called: String,
    roles: String,
    dir: String,
    logs: std::path::PathBuf,
    pub web: SocketAddr,
    pub sessions: SocketAddr,
    pub pb: SocketAddr,
    more: Vec<String>,
    newer: bool,
    lives: u32,
    process: Option<Process>,
}

impl Node {
    /// More words for its command line.
    pub fn with(mut self, words: &[&str]) -> Node {
        self.more.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// The same under another name.
    pub fn named(self, name: &str) -> Node {
        Node { called: name.to_owned(), ..self }
    }

    /// The next version of Muster.
    pub fn newer(self) -> Node {
        Node { newer: true, ..self }
    }

    fn binary(&self, arguments: &[&str]) -> Command {
        let mut command = binary::command(arguments);
        let ports = [("WEB", self.web), ("SESSIONS", self.sessions), ("PB", self.pb)];
        command.envs(ports.map(|(name, address)| (name, address.port().to_string())));
        if self.newer {
            command.env("MUSTER_TEST_NEWER", "1");
        }
        command
    }

    /// Starts it.
    pub fn launch(&mut self) {
        self.lives += 1;
        let log = self.logs.join(format!("{}-{}.log", self.name, self.lives));
        let mut command = self.binary(&["master", &self.dir, "--roles", &self.roles, "--name", &self.called]);
        command.args(&self.more);
        self.process = Some(Process::start(&mut command, &log));
    }

    /// Starts it and waits until it runs.
    #[track_caller]
    pub fn start(&mut self) -> Rest {
        self.launch();
        self.process().wait_for("BuildMaster is running");
        self.rest()
    }

    pub fn rest(&self) -> Rest {
        Rest(self.web)
    }

    #[track_caller]
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it was started")
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.process.take().expect("it was started").kill();
    }

    /// Asks it to end and waits; answers all that it said.
    #[track_caller]
    pub fn stop(&mut self, signal: Signal) -> String {
        let mut process = self.process.take().expect("it was started");
        process.signal(signal);
        let status = process.wait();
        assert!(status.success(), "{} ended with {status}", self.name);
        process.said()
    }

    /// Runs `muster WORDS DIR MORE` on its database; answers what it said.
    #[track_caller]
    pub fn command(&self, words: &[&str], more: &[&str]) -> process::Ended {
        let arguments = [words, &[self.dir.as_str()], more].concat();
        let log = self.logs.join(format!("{}.log", words.join("-")));
        process::run(&mut self.binary(&arguments), &log)
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.process().signal(signal);
    }
}

/// The build that counts, and what it left behind.
pub struct Counting<'a> {
    ground: &'a Ground,
    pub build: i64,
    pub request: i64,
}

impl Counting<'_> {
    /// Forces it at `rest` and waits until it counts.
    #[track_caller]
    pub fn begin<'a>(ground: &'a Ground, rest: Rest, builder: &str) -> Counting<'a> {
        let request = rest.force(builder, json!({}));
        let build = rest.running_build(request);
        rest.wait_for_line(build, "count", "line 2");
        Counting { ground, build, request }
    }

    /// Waits until it has counted further, as seen from `rest`.
    #[track_caller]
    pub fn wait_for_more(&self, rest: Rest) {
        let count = || rest.lines(self.build, "count", 'o').len();
        let before = count();
        until("more lines of the build", || (count() > before + 2).then_some(()));
    }

    /// Lets it end, and looks whether everything happened once: the command, each line, the build.
    #[track_caller]
    pub fn end(&self, rest: Rest) {
        self.ground.site.write("gate", "");
        assert_eq!(rest.built(self.request, Results::Success), self.build);
        let written = self.read("lines");
        let mut lines = rest.lines(self.build, "count", 'o');
        assert_eq!(lines.pop().as_deref(), Some("the end"));
        assert_eq!(lines, written);
        assert_eq!(self.read("starts"), ["start"]);
        self.ground.wait_until_idle();
    }

    fn read(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.ground.site.path(name)).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// Sends a change of the branch `main` as everybody does.
pub fn send_change(ground: &Ground, node: &Node, comments: &str) -> process::Ended {
    let (master, auth) = (node.pb.to_string(), format!("changes:{PASSWORD}"));
    let whose = ["sendchange", "--master", &master, "--auth", &auth, "--who", "somebody"];
    let what = ["--branch", "main", "--comments", comments, "file.c"];
    stock::buildbot(&ground.site, &[&whose[..], &what].concat())
}

/// The stock worker `stock`, which knows one master's gateway.
pub fn stock_worker(ground: &Ground, node: &Node) -> StockWorker {
    stock_worker_at(ground, "stock", node.pb)
}

/// A stock worker that knows one address.
pub fn stock_worker_at(ground: &Ground, name: &str, address: SocketAddr) -> StockWorker {
    StockWorker::create(&ground.site, name, name, Release::Current, Protocol::Pb, address, &[])
}
