//! Steps of the configuration's own classes: they run in the host, and go on after the master or the host was killed.

use muster_tests::{Master, Rest, Results, Site, rest::id, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Runs two commands and looks at the output of the second one, which waits for the test.
const CUSTOM: &str = r#"
from buildbot.process import buildstep, logobserver, remotecommand
class Counting(buildstep.ShellMixin, buildstep.BuildStep):
    name = "count"
    def __init__(self, **kwargs):
        super().__init__(**self.setupShellMixin(kwargs))
        self.seen = []
        self.addLogObserver("stdio", logobserver.LineConsumerLogObserver(self.consume))
    def consume(self):
        while True:
            stream, line = yield
            if stream == "o":
                self.seen.append(line)
    async def run(self):
        first = remotecommand.RemoteShellCommand("build", f"echo first >> {SITE}/starts; echo one", collectStdout=True)
        await self.runCommand(first)
        self.setProperty("first", first.stdout.strip(), "Counting")
        log = await self.addLog("notes")
        log.addStdout("before\nnot ")
        cmd = await self.makeRemoteShellCommand()
        await self.runCommand(cmd)
        log.addStdout("whole\n")
        self.setProperty("seen", self.seen, "Counting")
        await self.addURL("there", "http://example.org/")
        await self.build.addStepsAfterCurrentStep([steps.ShellCommand(name="added", command=["echo", "added"])])
        return WARNINGS if cmd.results() == SUCCESS else FAILURE
    def getResultSummary(self):
        return {"step": f"counted {len(self.seen) > 3}"}
from buildbot.process.results import FAILURE, SUCCESS, WARNINGS
builder(
    "count",
    Counting(command=(
        f"echo second >> {SITE}/starts; for i in $(seq 600); do [ -e {SITE}/gate ] && break; "
        f"echo line $i; echo line $i >> {SITE}/lines; sleep 0.1; done; echo the end"
    )),
    steps.ShellCommand(name="last", command=["echo", util.Interpolate("%(prop:first)s")]),
)
"#;

/// A build that counts.
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

    fn goes_on(&self) {
        let before = self.read("lines").len();
        until("the command goes on", || (self.read("lines").len() > before + 2).then_some(()));
    }

    fn log(&self, name: &str) -> String {
        let step = id(&self.rest.step(self.build, "count"), "stepid");
        let logs = self.rest.list(&format!("steps/{step}/logs"));
        let log = logs.iter().find(|log| log["name"] == name).unwrap_or_else(|| panic!("{name} in {logs:?}"));
        let contents = self.rest.one(&format!("logs/{}/contents", id(log, "logid")));
        contents["content"].as_str().unwrap().to_owned()
    }

    /// Lets the command end, and checks that everything is there once.
    fn ends_whole(self, master: &Master) {
        self.site.write("gate", "");
        let build = self.rest.built(self.request, Results::Success);
        assert_eq!(build, self.build, "the same build went on");
        assert_eq!(self.read("starts"), ["first", "second"], "each command ran once");
        let mut expected = self.read("lines");
        assert_eq!(expected, (1..=expected.len()).map(|number| format!("line {number}")).collect::<Vec<_>>());
        expected.push("the end".to_owned());
        assert_eq!(self.rest.lines(build, "count", 'o'), expected, "each line once");
        assert_eq!(self.rest.property(build, "seen"), json!(expected), "the observer saw each line once");
        assert_eq!(self.rest.property(build, "first"), json!("one"));
        assert_eq!(self.log("notes"), "obefore\nonot whole\n");
        let step = self.rest.step(build, "count");
        assert_eq!((&step["results"], &step["state_string"]), (&json!(1), &json!("counted True")));
        assert_eq!(step["urls"], json!([{"name": "there", "url": "http://example.org/"}]));
        let names: Vec<Value> = self.rest.steps(build).iter().map(|step| step["name"].clone()).collect();
        assert_eq!(names, ["worker_preparation", "count", "added", "last"]);
        assert_eq!(self.rest.lines(build, "last", 'o'), ["one"]);
        master.database().wait_until_idle();
    }
}

#[test]
fn a_custom_step_outlives_a_killed_master() {
    let site = Site::new();
    let mut master = Master::new(&site, CUSTOM);
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
fn a_custom_step_goes_on_in_a_new_host() {
    let site = Site::new();
    let mut master = Master::new(&site, CUSTOM);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let counting = Counting::begin(&site, rest);
    let host = host_of(master.process().id());
    kill_process(host, Signal::KILL).unwrap();
    counting.goes_on();
    counting.ends_whole(&master);
}

/// The Python process of a master.
fn host_of(master: u32) -> Pid {
    let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap();
    let mut all = children.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for task in std::fs::read_dir(format!("/proc/{master}/task")).unwrap().flatten() {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        all.extend(children.split_whitespace().map(str::to_owned));
    }
    let is_host = |pid: &&String| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.contains("muster-host-"))
    };
    let found = all.iter().find(is_host).unwrap_or_else(|| panic!("no host among {all:?}"));
    Pid::from_raw(found.parse().unwrap()).unwrap()
}
