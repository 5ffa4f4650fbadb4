//! From Buildbot to Muster and back, in one directory, as `docs/moving-from-buildbot.md` says: three times, with a crash on
//! either side. Nothing is built twice, nothing is left out, and nothing stays "building".

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use muster_tests::{
    Process, Rest, Site, binary,
    git::Repository,
    process::{self, Ended},
    stock::{self, Protocol, Release, StockWorker},
    until,
    worker::PASSWORD,
};
use serde_json::{Value, json};

/// What ends a master.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Stop,
    Crash,
}

/// A directory in which Buildbot and Muster take turns.
struct Place {
    site: Site,
    web: SocketAddr,
    repository: Repository,
    _worker: StockWorker,
    running: Option<Process>,
    lives: u32,
    commits: usize,
}

impl Place {
    fn new() -> Place {
        let site = Site::new();
        let [web, port] = [(); 2].map(|()| SocketAddr::from((Site::address(), Site::free_port())));
        let repository = Repository::create(&site.path("repository"));
        let release = Release::Current;
        let mut worker =
            StockWorker::create(&site, "worker", "w1", release, Protocol::Pb, port, &["--maxdelay=1"]);
        worker.start();
        let place = Place { site, web, repository, _worker: worker, running: None, lives: 0, commits: 0 };
        place.buildbot(&["create-master", "-q", "master"]);
        fs::write(place.dir().join("master.cfg"), place.configuration(port)).unwrap();
        place.buildbot(&["upgrade-master", "-q", "master"]);
        place
    }

    fn configuration(&self, port: SocketAddr) -> String {
        let (web, gate) = (self.web, self.site.path("gate"));
        format!(
            r#"
from buildbot.plugins import changes, schedulers, steps, util, worker
c = BuildmasterConfig = {{}}
c["buildbotNetUsageData"] = None
c["db"] = {{"db_url": "sqlite:///state.sqlite"}}
c["workers"] = [worker.Worker("w1", "{PASSWORD}")]
c["protocols"] = {{"pb": {{"port": "tcp:{}:interface={}"}}}}
c["www"] = {{"port": "tcp:{}:interface={}", "plugins": {{}}}}
c["buildbotURL"] = "http://{web}/"
c["change_source"] = [changes.GitPoller("{}", name="poller", branches=True, pollInterval=1, pollAtLaunch=True)]

def builder(name, script):
    factory = util.BuildFactory([steps.ShellCommand(command=["sh", "-c", script])])
    return util.BuilderConfig(name=name, workernames=["w1"], factory=factory)

c["builders"] = [builder("quick", "true"), builder("slow", "[ -e {} ] || sleep 100")]
c["schedulers"] = [
    schedulers.AnyBranchScheduler(name="all", treeStableTimer=None, builderNames=["quick"]),
    schedulers.Periodic(name="hourly", builderNames=["quick"], periodicBuildTimer=3600),
    schedulers.ForceScheduler(name="force-slow", builderNames=["slow"]),
]
"#,
            port.port(),
            port.ip(),
            web.port(),
            web.ip(),
            self.repository.path().display(),
            gate.display(),
        )
    }

    fn dir(&self) -> PathBuf {
        self.site.path("master")
    }

    fn rest(&self) -> Rest {
        Rest(self.web)
    }

    #[track_caller]
    fn buildbot(&self, arguments: &[&str]) {
        let mut command = Command::new(stock::with_drivers().join("bin/buildbot"));
        let ended = process::run(
            command.args(arguments).current_dir(self.site.path("")),
            &self.site.path("buildbot.log"),
        );
        assert!(ended.status.success(), "{}", ended.said);
    }

    fn muster(&self, arguments: &[&str]) -> Ended {
        let dir = self.dir();
        let arguments = [arguments, &[dir.to_str().unwrap()]].concat();
        process::run(&mut binary::command(&arguments), &self.site.path("command.log"))
    }

    #[track_caller]
    fn refuses(&self, arguments: &[&str], words: &str) {
        let ended = self.muster(arguments);
        assert!(!ended.status.success() && ended.said.contains(words), "{arguments:?}: {}", ended.said);
    }

    fn run(&mut self, mut command: Command) {
        self.lives += 1;
        let log = self.site.path(&format!("life-{}.log", self.lives));
        let process = Process::start(command.current_dir(self.site.path("")), &log);
        self.running = Some(process);
        let rest = self.rest();
        until("the worker is connected", || {
            let workers = rest.try_get("workers/w1").ok()?;
            let connected = workers["workers"][0]["connected_to"].as_array()?.len();
            (connected == 1).then_some(())
        });
    }

    fn start_buildbot(&mut self) {
        let mut command = Command::new(stock::with_drivers().join("bin/buildbot"));
        command.args(["start", "--nodaemon", "master"]);
        self.run(command);
    }

    fn start_muster(&mut self) {
        let upgraded = self.muster(&["upgrade-master"]);
        assert!(upgraded.status.success(), "{}", upgraded.said);
        assert!(upgraded.said.contains("gz"), "{}", upgraded.said);
        self.is_one_file();
        let dir = self.dir();
        self.run(binary::command(&["start", "--nodaemon", dir.to_str().unwrap()]));
    }

    /// What one-shot commands leave can be copied: all of the database is in its file.
    #[track_caller]
    fn is_one_file(&self) {
        for ending in ["-wal", "-shm"] {
            let rest = self.dir().join(format!("state.sqlite{ending}"));
            assert!(!rest.exists(), "{} is left", rest.display());
        }
    }

    fn end(&mut self, how: End) {
        let process = self.running.take().unwrap();
        match how {
            End::Crash => process.kill(),
            End::Stop => drop(process.stop()),
        }
    }

    fn commit(&mut self) {
        self.commits += 1;
        self.repository.commit("file", &format!("{}\n", self.commits), "more");
    }

    /// Waits until each commit was built once, and no more than once.
    #[track_caller]
    fn each_commit_is_built_once(&self) {
        let built = || {
            let builds = self.builds_of("all");
            let complete = builds.iter().filter(|build| build["complete"] == json!(true)).count();
            (builds.len(), complete) == (self.commits, self.commits)
        };
        until(&format!("{} builds of changes", self.commits), || built().then_some(()));
        let changes = self.rest().list("changes").len();
        assert_eq!(changes, self.commits, "each commit is one change");
    }

    fn builds_of(&self, scheduler: &str) -> Vec<Value> {
        let builds = self.rest().list("builds?property=scheduler");
        builds.into_iter().filter(|build| build["properties"]["scheduler"][0] == json!(scheduler)).collect()
    }

    /// A build that would take long runs when its master ends.
    fn build_slowly(&self) -> (i64, i64) {
        let request = self.rest().force("slow", json!({}));
        (request, self.rest().running_build(request))
    }

    /// That build has ended to be built again, which is done.
    #[track_caller]
    fn is_built_again(&self, (request, build): (i64, i64)) {
        let rest = self.rest();
        let path = format!("builds/{build}");
        let ended = rest.wait_for("its end", &path, |build| build["complete"] == json!(true));
        assert_eq!(ended["results"], json!(5), "{ended}");
        for step in rest.steps(build) {
            assert_eq!(step["complete"], json!(true), "{step}");
            for log in rest.list(&format!("steps/{}/logs", step["stepid"])) {
                assert_eq!(log["complete"], json!(true), "{log}");
            }
        }
        fs::write(self.site.path("gate"), "").unwrap();
        let again = rest.builds_of(request);
        assert_eq!(again.last().unwrap()["results"], json!(0), "{again:?}");
        fs::remove_file(self.site.path("gate")).unwrap();
    }
}

fn lives(dir: &Path) -> i64 {
    muster_tests::Database::open(&dir.join("state.sqlite"))
        .number("SELECT COUNT(*) FROM builds WHERE results IS NULL")
}

#[test]
fn three_times_there_and_back_with_a_crash_on_either_side() {
    let mut place = Place::new();
    place.start_buildbot();
    until("the poller's first look", || {
        let database = muster_tests::Database::open(&place.dir().join("state.sqlite"));
        (database.number("SELECT COUNT(*) FROM object_state WHERE name = 'lastRev'") == 1).then_some(())
    });
    for how in [End::Crash, End::Crash, End::Stop] {
        place.commit();
        place.each_commit_is_built_once();
        // Not both at once.
        place.refuses(&["upgrade-master"], "buildbot stop");
        place.refuses(&["start"], "buildbot stop");
        let slow = place.build_slowly();
        place.end(how);
        // One that comes while nobody runs.
        place.commit();
        place.start_muster();
        if how == End::Crash {
            place.is_built_again(slow);
        }
        place.each_commit_is_built_once();
        place.commit();
        place.each_commit_is_built_once();

        let slow = place.build_slowly();
        place.end(how);
        place.commit();
        if how == End::Stop {
            assert!(place.muster(&["release"]).status.success());
            place.is_one_file();
        }
        place.start_buildbot();
        place.is_built_again(slow);
        place.each_commit_is_built_once();
    }
    // Its time has not come again, whoever ran.
    assert_eq!(place.builds_of("hourly").len(), 1);
    place.end(End::Stop);
    assert_eq!(lives(&place.dir()), 0);
}

#[test]
fn a_buildbot_of_the_same_name_that_is_heard_of_refuses_until_somebody_says_that_it_is_gone() {
    let mut place = Place::new();
    place.start_buildbot();
    let slow = place.build_slowly();
    place.end(End::Crash);
    fs::remove_file(place.dir().join("twistd.pid")).unwrap();
    place.refuses(&["upgrade-master"], "--buildbot-is-gone");
    let upgraded = place.muster(&["upgrade-master", "--buildbot-is-gone"]);
    assert!(upgraded.status.success(), "{}", upgraded.said);
    place.start_muster();
    place.is_built_again(slow);
    place.end(End::Stop);
}
