//! Masters with different roles on one database.

use std::net::SocketAddr;
use std::path::PathBuf;

use muster_tests::servers::Postgres;
use muster_tests::stock::{Protocol, Release, StockWorker};
use muster_tests::{Process, Rest, Site, binary, process, until};

/// What every member is configured with. `builder` makes a builder and its force scheduler.
const COMMON: &str = r#"
from buildbot.plugins import schedulers, steps, util, worker

c = BuildmasterConfig = {}
c["db"] = {"db_url": "%DB%"}
c["protocols"] = {
    "session": {"port": "tcp:%SESSIONS%:interface=%ADDRESS%"},
    "pb": {"port": "tcp:%PB%:interface=%ADDRESS%"},
    "msgpack_experimental_v7": {"port": "tcp:%MSGPACK%:interface=%ADDRESS%"},
}
c["www"] = {"port": "tcp:%WEB%:interface=%ADDRESS%"}
c["buildbotURL"] = "http://%ADDRESS%:%WEB%/"
c["multiMaster"] = True
c["workers"] = [worker.Worker("w1", "secret")]
c["builders"] = []
c["schedulers"] = []
SITE = "%SITE%"


def sh(script, **more):
    return steps.ShellCommand(command=["sh", "-c", script], **more)


def builder(name, *given):
    factory = util.BuildFactory(list(given))
    c["builders"].append(util.BuilderConfig(name=name, workernames=["w1"], factory=factory))
    c["schedulers"].append(schedulers.ForceScheduler(name="force-" + name, builderNames=[name]))


# Writes numbered lines to its log and to a file until the test opens the gate; ends by itself when it never does.
COUNTING = (
    f"echo start >> {SITE}/starts; i=0; while [ $i -lt 1200 ] && ! [ -e {SITE}/gate ]; do i=$((i+1)); "
    f"echo line $i; echo line $i >> {SITE}/lines; sleep 0.05; done; echo the end"
)
builder("count", sh(COUNTING, name="count"))
builder("quick", sh("echo quick", name="quick"))
"#;

/// A directory, a server and a worker's ground; members come from [`Cluster::member`].
pub struct Cluster {
    // Processes end before their database.
    pub site: Site,
    pub postgres: Postgres,
    /// The certificates that members trust, instead of the machine's.
    pub trusted: Option<PathBuf>,
}

/// One master.
pub struct Member {
    name: &'static str,
    dir: PathBuf,
    roles: &'static str,
    trusted: Option<PathBuf>,
    pub pb: SocketAddr,
    pub msgpack: SocketAddr,
    pub sessions: SocketAddr,
    pub rest: Rest,
    lives: u32,
    process: Option<Process>,
}

impl Cluster {
    pub fn new() -> Cluster {
        Cluster { postgres: Postgres::start(), site: Site::new(), trusted: None }
    }

    /// A master that runs; `config` is added to what all have.
    pub fn member(&self, name: &'static str, roles: &'static str, config: &str) -> Member {
        let [web, sessions, pb, msgpack] =
            [(); 4].map(|()| SocketAddr::from((Site::address(), Site::free_port())));
        let facts = [
            ("%DB%", self.postgres.url("buildbot")),
            ("%SESSIONS%", sessions.port().to_string()),
            ("%PB%", pb.port().to_string()),
            ("%MSGPACK%", msgpack.port().to_string()),
            ("%WEB%", web.port().to_string()),
            ("%ADDRESS%", Site::address().to_string()),
            ("%SITE%", self.site.path("").to_str().unwrap().trim_end_matches('/').to_owned()),
        ];
        let text =
            facts.iter().fold(COMMON.to_owned() + config, |text, (name, fact)| text.replace(name, fact));
        let dir = self.site.path(name);
        let mut create = binary::command(&["create-master", "--db", &self.postgres.url("buildbot")]);
        let created = process::run(create.arg(&dir), &self.site.path(&format!("{name}-create.log")));
        assert!(created.status.success(), "{}", created.said);
        std::fs::write(dir.join("master.cfg"), text).unwrap();
        let trusted = self.trusted.clone();
        let mut member = Member {
            name,
            dir,
            roles,
            trusted,
            pb,
            msgpack,
            sessions,
            rest: Rest(web),
            lives: 0,
            process: None,
        };
        member.start();
        member
    }

    pub fn worker(&self, place: &str, protocol: Protocol, gateway: &Member, options: &[&str]) -> StockWorker {
        let address = match protocol {
            Protocol::Pb => gateway.pb,
            Protocol::Msgpack => gateway.msgpack,
        };
        self.worker_named(place, "w1", protocol, address, options)
    }

    pub fn worker_named(
        &self,
        place: &str,
        name: &str,
        protocol: Protocol,
        address: SocketAddr,
        options: &[&str],
    ) -> StockWorker {
        let mut worker =
            StockWorker::create(&self.site, place, name, Release::Current, protocol, address, options);
        worker.start();
        worker
    }

    /// The name of the member whose engine has the worker's session.
    pub fn holder(&self) -> String {
        self.postgres.sql(
            "buildbot",
            "SELECT m.name FROM muster_sessions s JOIN masters m ON m.id = s.holder JOIN connected_workers c \
             ON c.workerid = s.workerid AND c.masterid = s.holder",
        )
    }

    pub fn read(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.site.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Lets the counting command write some more lines.
    pub fn goes_on(&self) {
        let before = self.read("lines").len();
        until("the command goes on", || (self.read("lines").len() > before + 2).then_some(()));
    }

    /// Ends the counting command, and checks that its build is whole: each line once, the command run once.
    pub fn ends_whole(&self, rest: Rest, request: i64, build: i64) {
        self.site.write("gate", "");
        assert_eq!(rest.built(request, muster_tests::Results::Success), build, "the same build went on");
        assert_eq!(self.read("starts"), ["start"], "the command ran once");
        let mut expected = self.read("lines");
        let numbered: Vec<String> = (1..=expected.len()).map(|number| format!("line {number}")).collect();
        assert_eq!(expected, numbered);
        expected.push("the end".to_owned());
        assert_eq!(rest.lines(build, "count", 'o'), expected, "each line once");
    }
}

impl Member {
    pub fn start(&mut self) {
        self.lives += 1;
        let log = self.dir.with_file_name(format!("{}-{}.log", self.name, self.lives));
        let mut command = binary::command(&["master", "--roles", self.roles]);
        command.envs(self.trusted.iter().map(|file| ("SSL_CERT_FILE", file)));
        let mut process = Process::start(command.arg(&self.dir), &log);
        process.wait_for("BuildMaster is running");
        self.process = Some(process);
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    /// Gives an order by `muster cluster ORDER DIR …`.
    #[track_caller]
    pub fn order(&self, order: &str, words: &[&str]) {
        muster_tests::master::order_in(self.dir.to_str().unwrap(), order, words);
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    pub fn is(&self, holder: &str) -> bool {
        holder.ends_with(&format!(":{}", self.dir.display()))
    }
}
