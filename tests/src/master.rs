//! A real master.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use rustix::process::Signal;

use crate::process::{self, Ended};
use crate::worker::{PASSWORD, Worker};
use crate::{Database, Process, Rest, Site, binary, until};

/// A master's directory, and its process while it runs.
pub struct Master {
    dir: PathBuf,
    /// Where its pages are.
    pub web: SocketAddr,
    /// Where workers dial.
    pub sessions: SocketAddr,
    lives: u32,
    /// More words for `muster master`.
    arguments: Vec<String>,
    process: Option<Process>,
}

/// What every configuration begins with. `builder` makes a builder and its force scheduler.
const COMMON: &str = r#"
from buildbot.plugins import changes, schedulers, steps, util, worker

c = BuildmasterConfig = {}
c["protocols"] = {"session": {"port": "tcp:%SESSIONS%:interface=%ADDRESS%"}}
c["www"] = {"port": "tcp:%WEB%:interface=%ADDRESS%"}
c["buildbotURL"] = "http://%ADDRESS%:%WEB%/"
c["workers"] = [worker.Worker("w1", "%PASSWORD%")]
c["builders"] = []
c["schedulers"] = []
SITE = "%SITE%"


def sh(script, **more):
    return steps.ShellCommand(command=["sh", "-c", script], **more)


# Waits for a file of the test; ends by itself when the test does not.
def gate(name):
    return f"for i in $(seq 1200); do [ -e {SITE}/{name} ] && break; sleep 0.05; done"


def builder(name, *given, workers=("w1",), **more):
    factory = util.BuildFactory(list(given))
    c["builders"].append(util.BuilderConfig(name=name, workernames=list(workers), factory=factory, **more))
    c["schedulers"].append(schedulers.ForceScheduler(name="force-" + name, builderNames=[name]))

"#;

/// Gives an order by `muster cluster ORDER DIR …`, in the directory of any master.
#[track_caller]
pub fn order_in(dir: &str, order: &str, words: &[&str]) {
    let command = [&["cluster", order, dir], words].concat();
    let done = process::run(&mut binary::command(&command), &Path::new(dir).join(format!("{order}.log")));
    assert!(done.status.success(), "{}", done.said);
}

impl Master {
    /// A master's directory with an empty database and a configuration that ends with `config`; not started yet.
    pub fn new(site: &Site, config: &str) -> Master {
        Master::at(site, "master", config)
    }

    /// The same in a directory of another name, for sites with several masters.
    pub fn at(site: &Site, place: &str, config: &str) -> Master {
        let (web, sessions) = (Site::free_port(), Site::free_port());
        let [web, sessions] = [web, sessions].map(|port| SocketAddr::from((Site::address(), port)));
        let master =
            Master { dir: site.path(place), web, sessions, lives: 0, arguments: Vec::new(), process: None };
        let created = master.run("create-master");
        assert!(created.status.success(), "{}", created.said);
        master.configure(config);
        master
    }

    /// Gives it more words on its command line, from the next start on.
    pub fn with_arguments(mut self, arguments: &[&str]) -> Master {
        self.arguments.extend(arguments.iter().map(|&word| word.to_owned()));
        self
    }

    /// Writes the configuration; a running master does not look at it by itself.
    pub fn configure(&self, config: &str) {
        std::fs::write(self.path("master.cfg"), self.configuration(config)).unwrap();
    }

    /// The whole text of a configuration that ends with `config`.
    pub fn configuration(&self, config: &str) -> String {
        let facts = [
            ("%SESSIONS%", self.sessions.port().to_string()),
            ("%WEB%", self.web.port().to_string()),
            ("%ADDRESS%", Site::address().to_string()),
            ("%PASSWORD%", PASSWORD.to_owned()),
            ("%SITE%", self.site().to_str().unwrap().to_owned()),
        ];
        facts.iter().fold(COMMON.to_owned() + config, |text, (name, fact)| text.replace(name, fact))
    }

    /// The line in `master.cfg` where the `number`th line of a test's own text stands.
    pub fn line_of_own(number: usize) -> usize {
        COMMON.lines().count() + number
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Its directory.
    pub fn dir(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    fn site(&self) -> &Path {
        self.dir.parent().unwrap()
    }

    /// Runs `muster COMMAND DIR` to its end.
    pub fn run(&self, command: &str) -> Ended {
        process::run(
            &mut binary::command(&[command, self.dir()]),
            &self.site().join(format!("{command}.log")),
        )
    }

    /// Makes the schema in the database that its configuration names.
    #[track_caller]
    pub fn upgrade(&self) {
        let upgraded = self.run("upgrade-master");
        assert!(upgraded.status.success(), "{}", upgraded.said);
    }

    /// Gives an order by `muster cluster ORDER DIR …`.
    #[track_caller]
    pub fn order(&self, order: &str, words: &[&str]) {
        order_in(self.dir(), order, words);
    }

    /// Starts it and waits until it runs.
    #[track_caller]
    pub fn start(&mut self) -> Rest {
        self.launch();
        self.process().wait_for("BuildMaster is running");
        self.rest()
    }

    /// Starts it.
    pub fn launch(&mut self) {
        self.lives += 1;
        let log = self.site().join(format!("master-{}.log", self.lives));
        let mut command = binary::command(&["master", self.dir()]);
        self.process = Some(Process::start(command.args(&self.arguments), &log));
    }

    /// Starts the worker `w1` and waits until it is connected.
    #[track_caller]
    pub fn start_worker(&self, site: &Site) -> Worker {
        let mut worker = Worker::new(site, "w1", self.sessions);
        worker.start();
        self.rest().wait_for_worker("w1");
        worker
    }

    /// Its REST interface.
    pub fn rest(&self) -> Rest {
        Rest(self.web)
    }

    /// Its database.
    pub fn database(&self) -> Database {
        Database::open(&self.path("state.sqlite"))
    }

    /// The running process.
    #[track_caller]
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the master was started")
    }

    /// Ends it as a power cut would.
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.take().expect("the master was started").kill();
    }

    /// Asks it to end.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.process.take().expect("the master was started").stop()
    }

    /// Makes it read its configuration again and waits until it says `words`, once more than before.
    #[track_caller]
    pub fn reconfigure(&mut self, words: &str) {
        let times = |process: &Process| process.said().matches(words).count();
        let before = times(self.process());
        self.process().signal(Signal::HUP);
        until(&format!("{words:?} after SIGHUP"), || (times(self.process()) > before).then_some(()));
    }
}
