//! Stock workers: how fast they attach, what an idle one costs, how fast their output is stored.

mod fleet;
mod pb;

use std::time::{Duration, Instant};

use muster_tests::rest::id;
use muster_tests::{Postgres, Process, Rest, Results, Site, binary, http, process, until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::contender::{self, free_port};
use crate::usage;
use fleet::PbFleet;

/// Workers that attach at once.
const SIZES: [usize; 3] = [1_000, 5_000, 10_000];
/// Bytes and line length of the log.
const LOG: (usize, usize) = (100_000_000, 100);
/// Workers that are attached while the database is away, and for how long it is.
const OUTAGE: (usize, Duration) = (600, Duration::from_secs(60));
/// Builds that have just begun when the database goes, and the bytes and line length of the log of each.
const SHORT_BUILDS: usize = 100;
const SHORT_LOG: (usize, usize) = (100_000, 100);
/// Files that this process and the master may have open: a socket for each worker, and some more.
const FILES: u64 = 16_000;

/// What Buildbot 4.3.0 needed on another day, on 2 cores of an AMD EPYC.
mod recorded {
    pub const ATTACHES_PER_SECOND: f64 = 34.0;
    pub const CPU_PER_ATTACH: f64 = 28.0;
    pub const MEMORY_PER_WORKER: f64 = 39.0;
    pub const LOG_MB_PER_SECOND: f64 = 6.3;
    pub const LOG_CPU: f64 = 11.3;
}

/// Measures everything and prints it.
pub fn run() {
    raise_file_limit();
    println!(
        "{:32}{:>12}{:>14}{:>16}{:>16}{:>8}",
        "PB workers, all at once", "attached", "attaches/s", "CPU/attach ms", "KB/worker", "lost"
    );
    let mut postgres = Postgres::start_with(&[]);
    for (engine, database) in [("SQLite", None), ("PostgreSQL", Some(&postgres))] {
        if wanted("attach") {
            SIZES.iter().for_each(|workers| attach(engine, database, *workers));
        }
        if wanted("log") {
            log(engine, database);
        }
    }
    if wanted("outage") {
        outage(&mut postgres);
    }
    println!(
        "{:32}{:>12}{:>14.0}{:>16.1}{:>16.0}",
        "Buildbot (recorded, SQLite)",
        "346 of 500",
        recorded::ATTACHES_PER_SECOND,
        recorded::CPU_PER_ATTACH,
        recorded::MEMORY_PER_WORKER
    );
    println!(
        "Buildbot (recorded, PostgreSQL): log over PB {:.1} MB/s, {:.1} s of CPU for 100 MB",
        recorded::LOG_MB_PER_SECOND,
        recorded::LOG_CPU
    );
}

/// `MUSTER_BENCH_GATEWAY` names one measurement: `attach`, `log` or `outage`.
fn wanted(name: &str) -> bool {
    std::env::var("MUSTER_BENCH_GATEWAY").map_or(true, |only| only == name)
}

fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES, |maximum| maximum.min(FILES));
    assert!(wanted >= FILES, "this needs {FILES} open files, but the limit is {wanted} (ulimit -Hn)");
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        setrlimit(Resource::Nofile, Rlimit { current: limit.current, maximum: limit.maximum }).unwrap();
    }
}

/// A master with a PB port; the directory goes last.
struct Master {
    process: Process,
    rest: Rest,
    pb: std::net::SocketAddr,
    _site: Site,
}

impl Master {
    fn start(database: Option<&Postgres>, workers: usize) -> Master {
        let site = Site::new();
        let dir = site.path("master");
        let (web, pb) = (free_port(), free_port());
        let url = database.map_or("sqlite:///state.sqlite".to_owned(), |server| {
            server.sql("postgres", "DROP DATABASE IF EXISTS buildbot");
            server.sql("postgres", "CREATE DATABASE buildbot");
            server.url("buildbot")
        });
        let mut create = binary::command(&["create-master", "--db", &url, dir.to_str().unwrap()]);
        let created = process::run(&mut create, &site.path("create.log"));
        assert!(created.status.success(), "{}", created.said);
        std::fs::write(dir.join("master.cfg"), configuration(&url, workers, web, pb)).unwrap();
        let mut process = Process::start(
            &mut binary::command(&["master", dir.to_str().unwrap()]),
            &site.path("master.log"),
        );
        process.wait_for("BuildMaster is running");
        let rest = Rest(([127, 0, 0, 1], web).into());
        Master { process, rest, pb: ([127, 0, 0, 1], pb).into(), _site: site }
    }
}

fn configuration(url: &str, workers: usize, web: u16, pb: u16) -> String {
    let protocols = format!(r#"{{"pb": {{"port": "tcp:{pb}:interface=127.0.0.1"}}}}"#);
    let more = format!(
        r#"
c["db"] = {{"db_url": "{url}"}}
names = [f"w{{number}}" for number in range({workers})]
c["workers"] = [worker.Worker(name, "pw", max_builds=1) for name in names]
c["builders"], c["schedulers"], c["collapseRequests"] = [], [], False
for name, bytes, line in (("log", {bytes}, {line}), ("short", {short_bytes}, {short_line})):
    log = steps.ShellCommand(name="log", command=["sim", "log", str(bytes), str(line)])
    factory = util.BuildFactory([log])
    c["builders"].append(util.BuilderConfig(name=name, workernames=names, factory=factory))
    c["schedulers"].append(schedulers.ForceScheduler(name="force-" + name, builderNames=[name]))
"#,
        bytes = LOG.0,
        line = LOG.1,
        short_bytes = SHORT_LOG.0,
        short_line = SHORT_LOG.1,
    );
    contender::configuration(&protocols, web) + &more
}

fn attach(engine: &str, database: Option<&Postgres>, workers: usize) {
    let master = Master::start(database, workers);
    let (cpu, memory) = (usage::cpu(master.process.id()), usage::memory(master.process.id()));
    let began = Instant::now();
    let fleet = PbFleet::start(master.pb, workers);
    until("all workers are attached or lost", || {
        fleet.seen(|seen| seen.attached + seen.lost >= workers).then_some(())
    });
    let (attached, lost, last) = fleet.seen(|seen| (seen.attached, seen.lost, seen.last_attach));
    let took = last.map_or(Duration::ZERO, |last| last - began);
    let cpu = usage::cpu(master.process.id()) - cpu;
    let memory = usage::memory(master.process.id()) - memory;
    println!(
        "{:32}{:>12}{:>14.0}{:>16.3}{:>16.1}{:>8}",
        format!("{engine}, {workers} workers"),
        attached,
        attached as f64 / took.as_secs_f64(),
        cpu.as_secs_f64() * 1000.0 / attached as f64,
        memory * 1024.0 / attached as f64,
        lost
    );
}

fn log(engine: &str, database: Option<&Postgres>) {
    let master = Master::start(database, 1);
    let fleet = PbFleet::start(master.pb, 1);
    until("the worker", || fleet.seen(|seen| seen.attached == 1).then_some(()));
    let (cpu, before) = (usage::cpu(master.process.id()), usage::memory(master.process.id()));
    let began = Instant::now();
    let request = master.rest.force("log", json!({}));
    let mut peak = before;
    until("the end of the build", || {
        peak = peak.max(usage::memory(master.process.id()));
        let request = master.rest.one(&format!("buildrequests/{request}"));
        (request["complete"] == json!(true)).then_some(())
    });
    let took = began.elapsed();
    let cpu = usage::cpu(master.process.id()) - cpu;
    let megabytes = LOG.0 as f64 / 1e6;
    println!(
        "{engine}: log of {megabytes:.0} MB over PB in lines of {} bytes: {:.1} MB/s until the build is complete, {:.2} s of \
         the master's CPU, memory {before:.0} -> at most {peak:.0} MiB",
        LOG.1,
        megabytes / took.as_secs_f64(),
        cpu.as_secs_f64(),
    );
}

/// The database is away for a minute, with workers attached, a log running as fast as it can, and builds that have just begun.
fn outage(database: &mut Postgres) {
    let (workers, away) = OUTAGE;
    let master = Master::start(Some(database), workers);
    let fleet = PbFleet::start(master.pb, workers);
    until("the workers", || fleet.seen(|seen| seen.attached == workers).then_some(()));
    let before = usage::memory(master.process.id());
    let long = master.rest.force("log", json!({}));
    until("the build", || {
        (master.rest.one(&format!("buildrequests/{long}"))["claimed"] == json!(true)).then_some(())
    });
    let short: Vec<i64> = (0..SHORT_BUILDS).map(|_| master.rest.force("short", json!({}))).collect();
    database.kill();
    let mut peak = before;
    let gone = Instant::now();
    while gone.elapsed() < away {
        peak = peak.max(usage::memory(master.process.id()));
        std::thread::sleep(Duration::from_millis(50));
    }
    let sent = fleet.seen(|seen| seen.log_confirmed.is_some());
    database.launch();
    let back = Instant::now();
    let open = "buildrequests?complete=false&limit=1";
    until("the end of all builds", || {
        peak = peak.max(usage::memory(master.process.id()));
        master.rest.try_get(open).ok()?["buildrequests"].as_array()?.is_empty().then_some(())
    });
    let took = back.elapsed();
    is_whole(master.rest, long, LOG);
    short.iter().for_each(|request| is_whole(master.rest, *request, SHORT_LOG));
    let lost = fleet.seen(|seen| seen.lost);
    println!(
        "PostgreSQL away for {} s, {workers} PB workers attached, a log of {} MB and {SHORT_BUILDS} builds running: memory \
         {before:.0} -> at most {peak:.0} MiB; all of the log was {} meanwhile; all builds were complete {:.1} s after its \
         return, each built once with its whole log; {lost} workers lost",
        away.as_secs(),
        LOG.0 / 1_000_000,
        if sent { "taken from the worker" } else { "not taken" },
        took.as_secs_f64(),
    );
}

/// The request was built once, well, and with every line of its log.
fn is_whole(rest: Rest, request: i64, (bytes, line): (usize, usize)) {
    let build = rest.built(request, Results::Success);
    let step = id(&rest.step(build, "log"), "stepid");
    let log = id(&rest.one(&format!("steps/{step}/logs")), "logid");
    let raw = http::request(rest.0, "GET", &format!("/api/v2/logs/{log}/raw"), None).unwrap().body;
    let lines = String::from_utf8(raw).unwrap().lines().filter(|text| text.ends_with("xxx")).count();
    assert_eq!(lines, bytes / line, "lines of build {build}");
}
