//! Stock workers of two releases, over both protocols, and the stock `sendchange`.

mod nonsense;
mod options;
mod orders;
mod three;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use muster_tests::rest::id;
use muster_tests::stock::{Protocol, Release, StockWorker, buildbot};
use muster_tests::{Master, Rest, Results, Site, Worker, http, until};
use rustix::process::Signal;
use serde_json::json;

/// A master that stock workers reach.
struct Ground {
    site: Site,
    master: Master,
    rest: Rest,
    pb: SocketAddr,
    msgpack: SocketAddr,
}

/// Says when two copies of a command run at once; waits for the test.
const CONFIG: &str = r#"
c["protocols"] = {
    "pb": {"port": "tcp:%PB%:interface=%ADDRESS%"},
    "msgpack_experimental_v7": {"port": "tcp:%MSGPACK%:interface=%ADDRESS%"},
}
c["change_source"] = [changes.PBChangeSource(prefix="trunk/")]
alone = f"for p in $(cat {SITE}/pids 2>/dev/null); do kill -0 $p 2>/dev/null && echo two >> {SITE}/two; done; echo $$ >> {SITE}/pids"
builder("gated", sh(f"{alone}; echo begun; {gate('gate')}; echo done", name="wait"))
builder("quick", sh("echo quick", name="quick"))
c["schedulers"].append(
    schedulers.SingleBranchScheduler(
        name="main", change_filter=util.ChangeFilter(branch="main"), treeStableTimer=None, builderNames=["quick"],
        fileIsImportant=lambda change: "notes" not in change.files[0],
    )
)
c["projects"] = [util.Project("lonely", slug="alone", description="has no builder")]
"#;

const CODEBASES: &str = r#"
c["www"]["change_hook_dialects"] = {"base": True}
c["codebaseGenerator"] = lambda change: "told" if change["comments"] == "hooked" else ""
"#;

const COMMANDS: &str = r#"
builder(
    "all",
    sh("echo out; echo err >&2; printf 'no newline'", name="shell"),
    sh("head -c 3000000 /dev/urandom > blob; mkdir dir; cp blob dir/copy; touch -d @1000000000 blob; cat", initialStdin="given", name="make"),
    steps.FileUpload(workersrc="blob", masterdest="up/blob", keepstamp=True),
    steps.FileDownload(mastersrc="up/blob", workerdest="back/blob", mode=0o640),
    sh("cmp blob back/blob && stat -c %a back/blob", name="compare"),
    steps.StringDownload("some text", workerdest="text"),
    sh("cat text", name="text"),
    steps.DirectoryUpload(workersrc="dir", masterdest="updir", compress="bz2"),
    steps.MultipleFileUpload(workersrcs=["te*", "dir"], glob=True, masterdest="multi"),
    steps.MakeDirectory(dir="build/made/deep"),
    steps.CopyDirectory(src="build/dir", dest="build/made/copy"),
    steps.FileExists(file="build/made/copy/copy"),
    steps.RemoveDirectory(dir="build/made"),
    sh("ls; echo $GIVEN", name="left", env={"GIVEN": "variable"}),
    sh("echo a > web.log; exit 3", name="fails", logfiles={"web": "web.log"}, flunkOnFailure=False),
    steps.ShellCommand(command=["echo", ("obfuscated", "secret", "XXX")], name="covered"),
    sh("sleep 100", name="slow", timeout=1, flunkOnFailure=False),
    sh("echo never", name="left out", doStepIf=False),
)
"#;

impl Ground {
    fn new(config: &str) -> Ground {
        let site = Site::new();
        let [pb, msgpack] = [Site::free_port(), Site::free_port()];
        let config =
            CONFIG.replace("%PB%", &pb.to_string()).replace("%MSGPACK%", &msgpack.to_string()) + config;
        let mut master = Master::new(&site, &config);
        let rest = master.start();
        let [pb, msgpack] = [pb, msgpack].map(|port| SocketAddr::from((Site::address(), port)));
        Ground { site, master, rest, pb, msgpack }
    }

    fn create(&self, place: &str, release: Release, protocol: Protocol, options: &[&str]) -> StockWorker {
        let address = match protocol {
            Protocol::Pb => self.pb,
            Protocol::Msgpack => self.msgpack,
        };
        StockWorker::create(&self.site, place, "w1", release, protocol, address, options)
    }

    /// The worker `w1`, connected.
    fn worker(&self, release: Release, protocol: Protocol) -> StockWorker {
        let mut worker = self.create("w1", release, protocol, &[]);
        worker.start();
        self.rest.wait_for_worker("w1");
        worker
    }

    /// Begins the build that waits for the test.
    fn begin(&self) -> (i64, i64) {
        let request = self.rest.force("gated", json!({}));
        let build = self.rest.running_build(request);
        self.rest.wait_for_line(build, "wait", "begun");
        (request, build)
    }

    fn builds_once(&self) {
        let request = self.rest.force("quick", json!({}));
        self.rest.built(request, Results::Success);
    }

    /// Ends the request in a second build, after the first one was lost.
    fn is_retried(&self, request: i64) {
        self.site.write("gate", "");
        let results: Vec<_> =
            self.rest.builds_of(request).iter().map(|build| build["results"].clone()).collect();
        assert_eq!(results, [json!(Results::Retry as i64), json!(Results::Success as i64)]);
        assert!(!self.site.path("two").exists(), "two copies of the command ran at once");
        self.master.database().wait_until_idle();
    }
}

fn runs_every_command(release: Release, protocol: Protocol) {
    let ground = Ground::new(COMMANDS);
    let worker = ground.worker(release, protocol);
    let rest = ground.rest;
    let build = rest.built(rest.force("all", json!({})), Results::Success);
    assert_eq!(rest.lines(build, "shell", 'o'), ["out", "no newline"]);
    assert_eq!(rest.lines(build, "shell", 'e'), ["err"]);
    assert_eq!(rest.lines(build, "make", 'o'), ["given"]);
    assert_eq!(rest.lines(build, "compare", 'o'), ["640"]);
    assert_eq!(rest.lines(build, "text", 'o'), ["some text"]);
    assert_eq!(rest.lines(build, "left", 'o'), ["back", "blob", "dir", "text", "variable"]);
    assert_eq!(rest.lines(build, "covered", 'o'), ["secret"]);
    let headers = rest.lines(build, "covered", 'h').join("\n");
    assert!(headers.contains("echo XXX") && !headers.contains("secret"), "{headers}");
    assert_eq!(rest.step(build, "fails")["results"], json!(Results::Failure as i64));
    let headers = rest.lines(build, "fails", 'h');
    assert!(headers.contains(&" watching logfiles {'web': 'web.log'}".to_owned()), "{headers:?}");
    assert_eq!(rest.step(build, "left out")["state_string"], json!("'sh -c ...' (skipped)"));
    let info = rest.one("workers/w1")["workerinfo"].clone();
    assert!(info.as_object().unwrap().contains_key("access_uri"), "{info}");
    assert_eq!(rest.step(build, "slow")["results"], json!(Results::Failure as i64));
    let step = id(&rest.step(build, "fails"), "stepid");
    let log = rest.one(&format!("steps/{step}/logs/web/contents"));
    assert!(log["content"].as_str().unwrap().contains("a\n"), "{log}");

    let on_worker = std::fs::read(worker.dir().join("all/build/blob")).unwrap();
    assert_eq!(on_worker.len(), 3_000_000);
    for place in ["up/blob", "updir/copy", "multi/dir/copy"] {
        assert!(std::fs::read(ground.master.path(place)).unwrap() == on_worker, "{place}");
    }
    assert_eq!(std::fs::read_to_string(ground.master.path("multi/text")).unwrap(), "some text");
    let stamp = std::fs::metadata(ground.master.path("up/blob")).unwrap().modified().unwrap();
    assert_eq!(stamp.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 1_000_000_000);
    ground.master.database().wait_until_idle();
}

#[test]
fn pb_runs_every_command() {
    runs_every_command(Release::Current, Protocol::Pb);
}

#[test]
fn msgpack_runs_every_command() {
    runs_every_command(Release::Current, Protocol::Msgpack);
}

#[test]
fn pb_of_3_runs_every_command() {
    runs_every_command(Release::Three, Protocol::Pb);
}

#[test]
fn msgpack_of_3_runs_every_command() {
    runs_every_command(Release::Three, Protocol::Msgpack);
}

fn is_interrupted(protocol: Protocol) {
    let ground = Ground::new("");
    let _worker = ground.worker(Release::Current, protocol);
    let (request, build) = ground.begin();
    ground.rest.call(&format!("builds/{build}"), "stop", json!({"reason": "not needed"})).unwrap();
    assert_eq!(ground.rest.built(request, Results::Cancelled), build);
    assert_eq!(ground.rest.lines(build, "wait", 'o'), ["begun"]);
    ground.builds_once();
    ground.master.database().wait_until_idle();
}

#[test]
fn pb_commands_are_interrupted() {
    is_interrupted(Protocol::Pb);
}

#[test]
fn msgpack_commands_are_interrupted() {
    is_interrupted(Protocol::Msgpack);
}

fn worker_is_killed(protocol: Protocol) {
    let ground = Ground::new("");
    let mut worker = ground.worker(Release::Current, protocol);
    let (request, build) = ground.begin();
    // As far as the worker is concerned; what it ran is its own group, and would go on.
    let command = std::fs::read_to_string(ground.site.path("pids")).unwrap();
    worker.kill();
    let lost = format!("builds/{build}");
    let ended = ground
        .rest
        .wait_for("the build's end", &lost, |build| build["results"] == json!(Results::Retry as i64));
    let state = ended["state_string"].as_str().unwrap();
    assert!(state.starts_with("retry lost connection '"), "as by Buildbot: {state}");
    end(command.trim());
    worker.start();
    ground.is_retried(request);
}

/// Ends a process that nobody else does.
fn end(pid: &str) {
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    // It may have ended with its pipe.
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    until("the end of the command", || rustix::process::test_kill_process(pid).is_err().then_some(()));
}

#[test]
fn a_killed_pb_worker_has_its_build_retried_at_once() {
    worker_is_killed(Protocol::Pb);
}

#[test]
fn a_killed_msgpack_worker_has_its_build_retried_at_once() {
    worker_is_killed(Protocol::Msgpack);
}

fn master_is_killed(protocol: Protocol) {
    let mut ground = Ground::new("");
    let _worker = ground.worker(Release::Current, protocol);
    let (request, _) = ground.begin();
    ground.master.kill();
    ground.master.start();
    // A msgpack worker still runs the command when it comes back.
    until("the second start of the command", || {
        let pids = std::fs::read_to_string(ground.site.path("pids")).unwrap();
        (pids.lines().count() == 2).then_some(())
    });
    ground.is_retried(request);
}

#[test]
fn a_pb_worker_comes_back_to_a_killed_master() {
    master_is_killed(Protocol::Pb);
}

#[test]
fn a_msgpack_worker_comes_back_and_its_left_over_command_is_ended_first() {
    master_is_killed(Protocol::Msgpack);
}

#[test]
fn a_build_is_retried_at_once_although_its_worker_does_not_come_back_to_a_killed_master() {
    let mut ground = Ground::new("");
    let mut worker = ground.worker(Release::Current, Protocol::Pb);
    let (request, build) = ground.begin();
    let command = std::fs::read_to_string(ground.site.path("pids")).unwrap();
    worker.kill();
    ground.master.kill();
    ground.master.start();
    let began = Instant::now();
    let lost = format!("builds/{build}");
    ground.rest.wait_for("the build's end", &lost, |build| build["results"] == json!(Results::Retry as i64));
    // Nothing has to be waited for: the gateway that had the worker was the master that was killed.
    assert!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
    end(command.trim());
    worker.start();
    ground.is_retried(request);
}

fn second_worker(protocol: Protocol) {
    let ground = Ground::new("");
    let mut first = ground.worker(Release::Current, protocol);
    let (request, build) = ground.begin();
    let mut second = ground.create("again", Release::Current, protocol, &[]);
    second.start();
    let mut master = ground.master;
    master.process().wait_for("two workers use one name");
    ground.site.write("gate", "");
    assert_eq!(ground.rest.built(request, Results::Success), build, "a connection that works is kept");
    // Now the newcomer takes over, and the other one comes back as the newcomer: nobody may end.
    master.process().wait_for("a newer connection of this worker took over");
    assert!(first.process().is_running() && second.process().is_running());
    first.kill();
    let request = ground.rest.force("quick", json!({}));
    assert_eq!(ground.rest.builds_of(request).last().unwrap()["results"], json!(Results::Success as i64));
    master.database().wait_until_idle();
}

#[test]
fn two_pb_workers_of_one_name_don_t_end_each_other() {
    second_worker(Protocol::Pb);
}

#[test]
fn two_msgpack_workers_of_one_name_don_t_end_each_other() {
    second_worker(Protocol::Msgpack);
}

#[test]
fn a_worker_stops_gracefully_when_its_operator_asks_for_it() {
    let ground = Ground::new("");
    let mut worker = ground.create("w1", Release::Current, Protocol::Pb, &["--allow-shutdown=signal"]);
    worker.start();
    ground.rest.wait_for_worker("w1");
    let (request, build) = ground.begin();
    worker.process().signal(Signal::HUP);
    until("the worker's request", || worker.said().contains("Initiating shutdown").then_some(()));
    ground.site.write("gate", "");
    assert_eq!(ground.rest.built(request, Results::Success), build);
    assert!(worker.process().wait().success());
}

#[test]
fn a_worker_with_a_wrong_password_lives_on_outside() {
    let ground = Ground::new("");
    let mut worker = ground.create("w1", Release::Current, Protocol::Pb, &[]);
    let tac = worker.dir().join("buildbot.tac");
    let text = std::fs::read_to_string(&tac).unwrap();
    std::fs::write(&tac, text.replace("secret", "wrong")).unwrap();
    worker.start();
    let mut master = ground.master;
    master.process().wait_for(r#""w1" is not known on this port, or its password is wrong"#);
    assert!(worker.process().is_running());
    assert_eq!(ground.rest.one("workers/1")["connected_to"], json!([]));
}

fn keeps_directories(protocol: Protocol) {
    let ground = Ground::new("");
    let mut worker = ground.create("w1", Release::Current, protocol, &["--delete-leftover-dirs"]);
    for dir in ["quick", "left-over"] {
        std::fs::create_dir(worker.dir().join(dir)).unwrap();
        std::fs::write(worker.dir().join(dir).join("file"), "").unwrap();
    }
    worker.start();
    ground.rest.wait_for_worker("w1");
    assert!(!worker.dir().join("left-over").exists());
    assert!(worker.dir().join("quick/file").exists());
    assert!(worker.dir().join("gated").is_dir() && worker.dir().join("info").is_dir());
    ground.builds_once();
}

#[test]
fn pb_workers_lose_left_over_directories_only() {
    keeps_directories(Protocol::Pb);
}

#[test]
fn msgpack_workers_lose_left_over_directories_only() {
    keeps_directories(Protocol::Msgpack);
}

#[test]
fn a_reconfiguration_brings_new_builders_to_connected_workers() {
    let mut ground = Ground::new("");
    let worker = ground.worker(Release::Current, Protocol::Pb);
    let [pb, msgpack] = [ground.pb, ground.msgpack].map(|address| address.port().to_string());
    let config = CONFIG.replace("%PB%", &pb).replace("%MSGPACK%", &msgpack);
    ground.master.configure(&(config + "builder('new', sh('echo new', name='new'))\n"));
    let (request, build) = ground.begin();
    ground.master.reconfigure("configuration update complete");
    until("the new directory", || worker.dir().join("new").is_dir().then_some(()));
    ground.site.write("gate", "");
    assert_eq!(ground.rest.built(request, Results::Success), build);
    let request = ground.rest.force("new", json!({}));
    ground.rest.built(request, Results::Success);
}

#[test]
fn changes_are_sent_with_the_stock_client() {
    let ground = Ground::new(CODEBASES);
    let _worker = ground.worker(Release::Current, Protocol::Pb);
    let port = ground.pb.to_string();
    let send = |auth: &str, file: &str| {
        let arguments =
            ["sendchange", "--master", &port, "--auth", auth, "--branch", "main", "--who", "Jöe <j@x.org>"];
        let more = ["--revision", "r1", "--property", "a:b", "--comments", "a comment", file, "elsewhere"];
        buildbot(&ground.site, &[&arguments[..], &more].concat())
    };
    let sent = send("change:changepw", "trunk/dir/notes");
    assert!(sent.status.success() && sent.said.contains("change sent successfully"), "{}", sent.said);
    // It is there when the client has its answer.
    let change = ground.rest.one("changes");
    assert_eq!(change["author"], json!("Jöe <j@x.org>"));
    assert_eq!(change["files"], json!(["dir/notes"]), "below the prefix, without it");
    assert_eq!(change["comments"], json!("a comment"));
    assert_eq!(change["properties"]["a"], json!(["b", "Change"]));
    assert_eq!(change["revlink"], json!(""));
    assert!(send("change:changepw", "trunk/file.c").status.success());
    let built = |build: &serde_json::Value| build["results"] == json!(Results::Success as i64);
    ground.rest.wait_for("the build of the change", "builds", built);
    let build = id(&ground.rest.one("builds"), "buildid");
    assert_eq!(ground.rest.list(&format!("builds/{build}/changes")).len(), 2, "also what was not important");

    let refused = send("change:wrong", "trunk/file.c");
    assert!(!refused.status.success(), "{}", refused.said);
    let property = format!("{}:value", "n".repeat(300));
    let arguments = ["sendchange", "--master", &port, "--auth", "change:changepw", "--who", "j"];
    let more = ["--property", &property, "trunk/file.c"];
    let refused = buildbot(&ground.site, &[&arguments[..], &more].concat());
    assert!(!refused.status.success() && refused.said.contains("longer than 256"), "{}", refused.said);
    assert_eq!(ground.rest.list("changes").len(), 2);

    let hook =
        "/change_hook/base?author=somebody&comments=hooked&revision=r9&repository=https://github.com/o/r";
    assert_eq!(http::request(ground.master.web, "POST", hook, None).unwrap().status, 200);
    let change = ground.rest.one("changes?revision=r9");
    assert_eq!(change["codebase"], json!("told"), "by a function of the configuration");
    assert_eq!(change["revlink"], json!("https://github.com/o/r/commit/r9"));

    let project = ground.rest.one("projects");
    assert_eq!((&project["slug"], &project["description"]), (&json!("alone"), &json!("has no builder")));
}
