//! From Buildbot to Muster and back, in one directory, as `docs/moving-from-buildbot.md` says: three times, with a crash on
//! either side. Nothing is built twice, nothing is left out, and nothing stays "building".

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use muster_tests::{
    Database, Process, Rest, Site, binary,
    database::OPEN_WORK,
    git::Repository,
    process::{self, Ended},
    stock::{self, Protocol, Release, StockWorker},
    until, until_ok,
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
        // It may have to be built first, which is not the time that builds here take.
        binary::muster();
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

c["builders"] = [builder("quick", "seq 3000"), builder("slow", "for i in $(seq 12000); do [ -e {} ] && break; sleep 0.05; done")]
c["schedulers"] = [
    schedulers.AnyBranchScheduler(name="all", treeStableTimer=None, builderNames=["quick"]),
    schedulers.Periodic(name="hourly", builderNames=["quick"], periodicBuildTimer=3600),
    schedulers.Nightly(name="yearly", builderNames=["quick"], month=1, dayOfMonth=1, hour=0, minute=0),
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

    fn database(&self) -> Database {
        Database::open(&self.dir().join("state.sqlite"))
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

    /// Starts a master, and waits until it has its worker.
    #[track_caller]
    fn run(&mut self, command: &mut Command) {
        self.lives += 1;
        let log = self.site.path(&format!("life-{}.log", self.lives));
        self.running = Some(Process::start(command, &log));
        let rest = self.rest();
        until("the worker is connected", || {
            let workers = rest.try_get("workers/w1").ok()?;
            let connected = workers["workers"][0]["connected_to"].as_array()?.len();
            (connected == 1).then_some(())
        });
    }

    /// With its `twistd.pid`, as `buildbot start` has it; but as a child of this process, which ends it.
    fn start_buildbot(&mut self) {
        let mut command = Command::new(stock::with_drivers().join("bin/twistd"));
        command.args(["--no_save", "--nodaemon", "--logfile=twistd.log", "--python=buildbot.tac"]);
        let dir = self.dir();
        self.run(command.current_dir(dir));
    }

    /// As services and containers do it; then there is no `twistd.pid`.
    fn start_buildbot_without_a_file(&mut self) {
        let mut command = Command::new(stock::with_drivers().join("bin/buildbot"));
        command.args(["start", "--nodaemon", "master"]);
        let site = self.site.path("");
        self.run(command.current_dir(site));
    }

    #[track_caller]
    fn start_muster(&mut self) {
        let upgraded = self.muster(&["upgrade-master"]);
        assert!(upgraded.status.success(), "{}", upgraded.said);
        assert!(upgraded.said.contains("gz"), "{}", upgraded.said);
        self.is_one_file();
        let dir = self.dir();
        self.run(&mut binary::command(&["start", "--nodaemon", "--drain-timeout=1", dir.to_str().unwrap()]));
        self.has_one_worker();
    }

    /// What one-shot commands leave can be copied: all of the database is in its file.
    #[track_caller]
    fn is_one_file(&self) {
        for ending in ["-wal", "-shm"] {
            let rest = self.dir().join(format!("state.sqlite{ending}"));
            assert!(!rest.exists(), "{} is left", rest.display());
        }
    }

    /// The connections of a life that has ended are not those of this one.
    #[track_caller]
    fn has_one_worker(&self) {
        assert_eq!(self.database().number("SELECT count(*) FROM connected_workers"), 1);
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
        until_ok(|| {
            let built = self.builds_of("all");
            let complete = built.iter().filter(|build| build["complete"] == json!(true)).count();
            let (changes, wanted) = (self.rest().list("changes").len(), self.commits);
            match (changes, built.len(), complete) {
                (changes, builds, _) if changes > wanted || builds > wanted => {
                    panic!("{wanted} commits are {changes} changes and {builds} builds: {built:#?}")
                }
                (changes, _, complete) if (changes, complete) == (wanted, wanted) => Ok(()),
                seen => Err(format!("{wanted} changes, and as many builds that ended: {seen:?}")),
            }
        });
    }

    #[track_caller]
    fn each_log_can_be_read(&self) {
        let wanted: Vec<String> = (1..=3_000).map(|number| number.to_string()).collect();
        for build in self.builds_of("all") {
            let lines = self.rest().lines(build["buildid"].as_i64().unwrap(), "shell", 'o');
            assert_eq!(lines, wanted, "{build}");
        }
    }

    /// How many parts of logs are compressed so.
    fn chunks(&self, compressed: &str) -> i64 {
        self.database().number(&format!("SELECT count(*) FROM logchunks WHERE compressed {compressed}"))
    }

    /// As if the periodic scheduler had built for the last time more than an hour ago.
    fn let_the_hour_pass(&self) {
        self.database().execute(
            "UPDATE object_state SET value_json = CAST(value_json AS REAL) - 7200 WHERE name = 'last_build' \
             AND objectid = (SELECT id FROM objects WHERE name = 'hourly')",
        );
    }

    fn builds_of(&self, scheduler: &str) -> Vec<Value> {
        let builds = self.rest().list("builds?property=scheduler");
        builds.into_iter().filter(|build| build["properties"]["scheduler"][0] == json!(scheduler)).collect()
    }

    /// A build that would take long runs when its master ends: its request, and it.
    fn build_slowly(&self) -> (i64, i64) {
        let request = self.rest().force("slow", json!({}));
        let build = self.rest().running_build(request);
        self.rest().step(build, "shell");
        (request, build)
    }

    /// That build has ended to be built again, which is done; once, and the master before has left nothing.
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
        let results: Vec<Value> =
            rest.builds_of(request).iter().map(|build| build["results"].clone()).collect();
        assert_eq!(results, [json!(5), json!(0)]);
        fs::remove_file(self.site.path("gate")).unwrap();
    }
}

/// Nothing is left of builds, whoever built them.
#[track_caller]
fn is_idle(database: &Database) {
    for (kind, query) in OPEN_WORK {
        assert_eq!(database.number(query), 0, "{kind}");
    }
}

#[test]
fn three_times_there_and_back_with_a_crash_on_either_side() {
    let mut place = Place::new();
    place.start_buildbot();
    until("the poller's first look", || {
        (place.database().number("SELECT COUNT(*) FROM object_state WHERE name = 'lastRev'") == 1)
            .then_some(())
    });
    let mut hourly = 1;
    for how in [End::Crash, End::Crash, End::Stop] {
        place.commit();
        place.each_commit_is_built_once();
        // Not both at once.
        place.refuses(&["upgrade-master"], "buildbot stop");
        place.refuses(&["upgrade-master", "--buildbot-is-gone"], "buildbot stop");
        place.refuses(&["create-master"], "buildbot stop");
        place.refuses(&["start"], "buildbot stop");
        let slow = place.build_slowly();
        place.end(how);
        // One that comes while nobody runs, as does the time of a scheduler.
        place.commit();
        if how == End::Stop {
            place.let_the_hour_pass();
            hourly += 1;
        }
        let not_for_everybody = place.chunks("> 1");
        place.start_muster();
        assert!(!place.dir().join("twistd.pid").exists(), "another process gets its number one day");
        // What Buildbot was building when it was told to stop it has cancelled.
        if how == End::Crash {
            place.is_built_again(slow);
        }
        place.each_commit_is_built_once();
        place.commit();
        place.each_commit_is_built_once();
        place.each_log_can_be_read();
        // Buildbot itself takes zstd where it has it; another one may not have it.
        assert_eq!(place.chunks("> 1"), not_for_everybody);
        assert!(place.chunks("= 1") > 0, "gz");

        let slow = place.build_slowly();
        place.end(how);
        if how == End::Stop {
            assert!(place.muster(&["release"]).status.success());
            place.is_one_file();
        }
        place.start_buildbot();
        place.is_built_again(slow);
        // No sooner: a Buildbot that starts may poll before its schedulers listen, and then never builds what it found.
        place.commit();
        place.each_commit_is_built_once();
        place.each_log_can_be_read();
    }
    // Their times have not come again, whoever ran.
    assert_eq!(place.builds_of("hourly").len(), hourly);
    assert_eq!(place.builds_of("yearly").len(), 0);
    place.end(End::Stop);
    is_idle(&place.database());
}

#[test]
fn a_buildbot_of_the_same_name_that_is_heard_of_refuses_until_somebody_says_that_it_is_gone() {
    let mut place = Place::new();
    place.start_buildbot_without_a_file();
    assert!(!place.dir().join("twistd.pid").exists());
    let slow = place.build_slowly();
    // Alive or killed: nobody can see which.
    place.refuses(&["upgrade-master"], "nothing was changed");
    place.refuses(&["create-master"], "nothing was changed");
    place.end(End::Crash);
    place.refuses(&["upgrade-master"], "--buildbot-is-gone");
    let upgraded = place.muster(&["upgrade-master", "--buildbot-is-gone"]);
    assert!(upgraded.status.success(), "{}", upgraded.said);
    place.start_muster();
    place.is_built_again(slow);
    place.end(End::Stop);

    // The same where Muster was once.
    place.start_buildbot_without_a_file();
    for arguments in [["start"], ["upgrade-master"]] {
        place.refuses(&arguments, "a Buildbot acts as the master ");
        place.refuses(&arguments, "--buildbot-is-gone");
    }
    // Under another name it is two masters on one file.
    place.refuses(&["start", "--name", "another"], "on the same SQLite file");
    place.end(End::Stop);
    place.start_muster();
    place.end(End::Stop);
    is_idle(&place.database());
}
