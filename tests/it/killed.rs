//! Any process may be killed at any moment: the builds go on, or begin again, and nothing is stuck.

use std::time::Duration;

use muster_tests::{Master, Rest, Results, Site, rest::id, until};
use serde_json::json;

/// Writes numbered lines to its log and to a file, until the test opens the gate; ends by itself when it never does.
const COUNTING: &str = r#"
builder(
    "count",
    steps.SetPropertyFromCommand(command="echo 42", property="answer", name="before"),
    sh(
        f"echo start >> {SITE}/starts; for i in $(seq 600); do [ -e {SITE}/gate ] && break; "
        f"echo line $i; echo line $i >> {SITE}/lines; sleep 0.1; done; echo the end",
        name="count",
    ),
    steps.ShellCommand(command=["echo", util.Interpolate("%(prop:answer)s")], name="after"),
)
"#;

/// A build that counts, and what it left behind.
struct Counting<'a> {
    site: &'a Site,
    rest: Rest,
    build: i64,
    request: i64,
}

impl Counting<'_> {
    fn begin(site: &Site, rest: Rest) -> Counting<'_> {
        let request = rest.force("count", json!({}));
        let build = rest.running_build(request);
        rest.wait_for_line(build, "count", "line 2");
        Counting { site, rest, build, request }
    }

    fn read(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.site.path(name)).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Lets the command write some more lines.
    fn goes_on(&self) {
        let before = self.read("lines").len();
        until("the command goes on", || (self.read("lines").len() > before + 2).then_some(()));
    }

    /// Lets it end, and checks that the build is whole: the same build, each line once, the command run once.
    fn ends_whole(self, master: &Master) {
        self.site.write("gate", "");
        let build = self.rest.built(self.request, Results::Success);
        assert_eq!(build, self.build, "the same build went on");
        assert_eq!(self.read("starts"), ["start"], "the command ran once");
        let mut expected = self.read("lines");
        let count = expected.len();
        assert_eq!(expected, (1..=count).map(|number| format!("line {number}")).collect::<Vec<_>>());
        expected.push("the end".to_owned());
        assert_eq!(self.rest.lines(build, "count", 'o'), expected, "each line once");
        assert_eq!(self.rest.lines(build, "before", 'o'), ["42"]);
        assert_eq!(self.rest.lines(build, "after", 'o'), ["42"], "properties outlive the master");
        let names: Vec<_> = self.rest.steps(build).iter().map(|step| step["name"].clone()).collect();
        assert_eq!(names, ["worker_preparation", "before", "count", "after"]);
        master.database().wait_until_idle();
    }
}

#[test]
fn a_build_outlives_a_killed_master() {
    let site = Site::new();
    let mut master = Master::new(&site, COUNTING);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let counting = Counting::begin(&site, rest);
    master.kill();
    counting.goes_on();
    master.start();
    counting.goes_on();
    counting.ends_whole(&master);
}

#[test]
fn a_build_outlives_a_stopped_master() {
    let site = Site::new();
    let mut master = Master::new(&site, COUNTING);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let counting = Counting::begin(&site, rest);
    assert!(master.stop().success());
    counting.goes_on();
    master.start();
    counting.ends_whole(&master);
}

#[test]
fn a_command_may_end_while_its_master_is_away() {
    let site = Site::new();
    let mut master = Master::new(&site, COUNTING);
    let rest = master.start();
    let mut worker = master.start_worker(&site);
    let counting = Counting::begin(&site, rest);
    master.kill();
    site.write("gate", "");
    // It has written its last line when nothing of it runs any more.
    let place = worker.dir().join("count/build");
    until("the command's end", || site.processes_in(&place).next().is_none().then_some(()));
    assert!(worker.process().is_running());
    master.start();
    counting.ends_whole(&master);
}

#[test]
fn a_build_outlives_a_master_that_is_killed_again_and_again() {
    const ROUNDS: usize = 5;
    const SEED: u64 = 20_260;
    let seed = std::env::var("MUSTER_TEST_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    eprintln!("MUSTER_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let site = Site::new();
    let mut master = Master::new(&site, COUNTING);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let counting = Counting::begin(&site, rest);
    for _ in 0..ROUNDS {
        master.kill();
        master.launch();
        // Any moment is meant: while it reads its configuration, takes up the build, or follows the command.
        std::thread::sleep(Duration::from_millis(random.u64(0..1500)));
    }
    master.kill();
    master.start();
    counting.ends_whole(&master);
}

#[test]
fn an_upload_is_whole_after_its_master_was_killed() {
    let site = Site::new();
    let upload = r#"
builder(
    "upload",
    sh("seq 8000000 > big", name="make"),
    steps.FileUpload(workersrc="big", masterdest="uploads/big", name="upload"),
)
"#;
    let mut master = Master::new(&site, upload);
    let rest = master.start();
    let worker = master.start_worker(&site);
    let request = rest.force("upload", json!({}));
    let begun = || std::fs::read_dir(master.path("uploads")).ok()?.next().map(drop);
    until("the first bytes at the master", begun);
    master.kill();
    master.start();
    let build = rest.built(request, Results::Success);
    let sent = std::fs::read(worker.dir().join("upload/build/big")).unwrap();
    assert!(std::fs::read(master.path("uploads/big")).unwrap() == sent, "the file arrived whole");
    let left = std::fs::read_dir(master.path("uploads")).unwrap().count();
    assert_eq!(left, 1, "no part of the first attempt is left");
    assert_eq!(rest.step(build, "upload")["results"], json!(Results::Success as i64));
    master.database().wait_until_idle();
}

#[test]
fn a_killed_worker_has_its_build_retried() {
    let site = Site::new();
    let mut master = Master::new(&site, COUNTING);
    let rest = master.start();
    let mut worker = master.start_worker(&site);
    let counting = Counting::begin(&site, rest);
    worker.kill();
    site.write("gate", "");
    worker.start();

    let builds = rest.builds_of(counting.request);
    let results: Vec<_> = builds.iter().map(|build| build["results"].clone()).collect();
    assert_eq!(results, [json!(Results::Retry as i64), json!(Results::Success as i64)], "{builds:?}");
    let state = builds[0]["state_string"].as_str().unwrap();
    assert!(state.starts_with("retry lost connection '"), "{state}");
    let lost = rest.step(counting.build, "count");
    assert_eq!(lost["results"], json!(Results::Retry as i64), "{lost}");
    assert_eq!(counting.read("starts").len(), 2, "the second build ran the command again");
    assert_eq!(rest.lines(id(&builds[1], "buildid"), "count", 'o'), ["the end"]);
    master.database().wait_until_idle();
}

#[test]
fn the_commands_of_a_killed_worker_are_ended_by_its_next_life() {
    let site = Site::new();
    // It writes nothing to the worker, so the loss of the worker does not end it by itself.
    let quiet = r#"
script = f"for i in $(seq 600); do [ -e {SITE}/gate ] && break; echo $$ >> {SITE}/alive; sleep 0.1; done"
builder("quiet", sh(f"[ -e {SITE}/gate ] || ({script})", name="quiet"))
"#;
    let mut master = Master::new(&site, quiet);
    let rest = master.start();
    let mut worker = master.start_worker(&site);
    let alive = || std::fs::read_to_string(site.path("alive")).map_or(0, |text| text.lines().count());
    let request = rest.force("quiet", json!({}));
    until("the command", || (alive() > 1).then_some(()));
    worker.kill();
    let left = alive();
    until("an orphan that goes on", || (alive() > left + 2).then_some(()));

    let place = worker.dir().join("quiet/build");
    assert!(site.processes_in(&place).next().is_some());
    // The second build waits for the worker, so nothing else runs there yet.
    master.kill();
    worker.start();
    until("the orphan's end", || site.processes_in(&place).next().is_none().then_some(()));
    site.write("gate", "");
    master.start();
    let builds = rest.builds_of(request);
    assert_eq!(builds.last().unwrap()["results"], json!(Results::Success as i64), "{builds:?}");
    master.database().wait_until_idle();
}

#[test]
fn master_and_worker_killed_together_have_the_build_retried() {
    let site = Site::new();
    let mut master = Master::new(&site, COUNTING);
    let rest = master.start();
    let mut worker = master.start_worker(&site);
    let counting = Counting::begin(&site, rest);
    master.kill();
    worker.kill();
    site.write("gate", "");
    master.start();
    worker.start();
    let builds = rest.builds_of(counting.request);
    let results: Vec<_> = builds.iter().map(|build| build["results"].clone()).collect();
    assert_eq!(results, [json!(Results::Retry as i64), json!(Results::Success as i64)], "{builds:?}");
    master.database().wait_until_idle();
}
