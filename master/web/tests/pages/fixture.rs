//! A server on a copy of the recorded database, with a builder that has a history of its own.

use std::{net::SocketAddr, path::Path, sync::Arc};

use muster_bus::Bus;
use muster_config::snapshot::{
    FieldKind, ForceConfig, ForceField, Priority, SchedulerConfig, SchedulerKind, Snapshot, SourceRef,
};
use muster_core::{MasterId, hash::name_hash, render::Renderable};
use muster_data::{CollapsePolicy, Data};
use muster_store::{Db, DbUrl, Error, Tx, params};
use muster_web::{AppState, MetricsText, listen, serve};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::client::{Reply, send};

/// Lines of the log of the running step.
pub const LONG_LOG: i64 = 2_500;

pub struct Server {
    pub address: SocketAddr,
    pub data: Data,
    _config: watch::Sender<Arc<Snapshot>>,
    directory: tempfile::TempDir,
}

impl Server {
    pub async fn start() -> Server {
        Server::with(|_| {}).await
    }

    /// A server whose configuration is changed first.
    pub async fn with(change: impl FnOnce(&mut Snapshot)) -> Server {
        let directory = tempfile::tempdir().unwrap();
        std::fs::copy(muster_golden::database(), directory.path().join("state.sqlite")).unwrap();
        let url = DbUrl::parse("sqlite:///state.sqlite", directory.path()).unwrap();
        let db = Db::upgrade(&url).await.unwrap();
        let filled = db.tx("fixture", |tx| async move {
            website(&tx).await;
            Ok::<_, Error>(())
        });
        filled.await.unwrap().into_inner();
        let data = Data::new(db, Bus::default());
        data.set_collapse_policy(CollapsePolicy { master: Some(MasterId(1)), ..CollapsePolicy::default() });
        let mut snapshot = snapshot();
        snapshot.config_file = directory.path().join("master.cfg").display().to_string();
        change(&mut snapshot);
        let (config, snapshot) = watch::channel(Arc::new(snapshot));
        let listener = listen(&"tcp:0:interface=127.0.0.1".parse().unwrap(), Path::new("/")).await.unwrap();
        let address = listener.tcp_address().unwrap();
        let state = AppState::new(data.clone(), snapshot, MetricsText::new(|| "muster_up 1\n".to_owned()));
        tokio::spawn(serve(vec![listener], state, CancellationToken::new()));
        Server { address, data, _config: config, directory }
    }

    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    pub async fn get(&self, path: &str) -> Reply {
        send(self.address, "GET", path, &[("Accept", "text/html")], "").await
    }

    /// The text of a page that must be there.
    pub async fn page(&self, path: &str) -> String {
        let reply = self.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.text().to_owned()
    }

    /// Puts lines of these lengths in the place of a log's; answers its id.
    pub async fn store_log(&self, page: &str, stream: &str, lengths: &[usize]) -> i64 {
        let shown = self.page(page).await;
        let from = shown.find("data-log=\"").expect("a page of a log") + 10;
        let id: i64 = shown[from..from + shown[from..].find('"').unwrap()].parse().unwrap();
        let stored = self.data.db().tx("store_log", |tx| async move {
            run(&tx, "DELETE FROM logchunks WHERE logid = ?", params![id]).await;
            for (line, length) in (0..).zip(lengths) {
                let content = format!("{stream}{}", "x".repeat(*length)).into_bytes();
                run(&tx, "INSERT INTO logchunks (logid, first_line, last_line, content, compressed) VALUES (?, ?, ?, ?, 0)",
                    params![id, line, line, content]).await;
            }
            run(&tx, "UPDATE logs SET num_lines = ? WHERE id = ?", params![lengths.len() as i64, id]).await;
            Ok::<_, Error>(())
        });
        stored.await.unwrap().into_inner();
        id
    }

    /// A form, posted by a page of this site unless `headers` say otherwise.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        send(self.address, "POST", path, &[&form[..], headers].concat(), body).await
    }
}

async fn run(tx: &Tx, statement: &str, params: Vec<muster_store::Value>) {
    tx.execute(statement, params).await.unwrap();
}

/// The builder `website` (id 50, with a name that wants to be a script's beside it): thirty builds, the last two broken
/// by one change, and one that runs with a long, coloured log.
async fn website(tx: &Tx) {
    let now = muster_data::now().0;
    for (id, name) in [(50, "website"), (51, "<script>alert(1)</script>")] {
        run(
            tx,
            "INSERT INTO builders (id, name, name_hash, description) VALUES (?, ?, ?, ?)",
            params![id, name, name_hash(name), "Builds <b>the site</b> & checks its links"],
        )
        .await;
        run(tx, "INSERT INTO builder_masters (id, builderid, masterid) VALUES (?, ?, 1)", params![id, id])
            .await;
        run(tx, "INSERT INTO configured_workers (buildermasterid, workerid) VALUES (?, 2)", params![id])
            .await;
    }
    run(tx, "INSERT INTO builders_tags (builderid, tagid) VALUES (50, 1)", params![]).await;
    for number in 1..=31_i64 {
        build(tx, number, now).await;
    }
    pending(tx, now).await;
}

async fn build(tx: &Tx, number: i64, now: i64) {
    let (id, runs) = (500 + number, number == 31);
    let (results, state) = match number {
        31 => (None, "running the tests"),
        29 | 30 => (Some(2), "failed 'make check' (failure)"),
        7 => (Some(1), "warnings in the links"),
        12 => (Some(4), "exception in the checkout"),
        19 => (Some(6), "cancelled"),
        _ => (Some(0), "build successful"),
    };
    let start = if runs { now - 95 } else { now - (32 - number) * 5400 };
    let end = (!runs).then_some(start + 150 + (number * 37) % 60);
    run(tx, "INSERT INTO changes (changeid, author, comments, branch, revision, revlink, when_timestamp, repository, \
         sourcestampid) VALUES (?, ?, ?, 'main', ?, ?, ?, 'https://example.org/site.git', ?)",
        params![id, "Mira <mira@example.org>", format!("Sharpen page {number}\n\nand <i>its</i> links"),
            revision(number), "javascript:alert(1)", start - 30, id]).await;
    run(tx, "INSERT INTO change_files (changeid, filename) VALUES (?, 'site/index.html')", params![id]).await;
    run(tx, "INSERT INTO sourcestamps (id, ss_hash, branch, revision, repository, created_at) VALUES (?, ?, 'main', ?, \
         'https://example.org/site.git', ?)", params![id, format!("hash{id}"), revision(number), start]).await;
    run(
        tx,
        "INSERT INTO buildsets (id, reason, submitted_at, complete, results) VALUES (?, ?, ?, ?, ?)",
        params![
            id,
            "The SingleBranchScheduler scheduler named 'main' triggered this build",
            start - 12,
            !runs,
            results
        ],
    )
    .await;
    run(tx, "INSERT INTO buildset_sourcestamps (buildsetid, sourcestampid) VALUES (?, ?)", params![id, id])
        .await;
    run(
        tx,
        "INSERT INTO buildrequests (id, buildsetid, builderid, complete, results, submitted_at) \
         VALUES (?, ?, 50, ?, ?, ?)",
        params![id, id, !runs, results.unwrap_or(-1), start - 12],
    )
    .await;
    run(
        tx,
        "INSERT INTO buildrequest_claims (brid, masterid, claimed_at) VALUES (?, 1, ?)",
        params![id, start],
    )
    .await;
    run(tx, "INSERT INTO builds (id, number, builderid, buildrequestid, workerid, masterid, started_at, complete_at, \
         locks_duration_s, state_string, results) VALUES (?, ?, 50, ?, 2, 1, ?, ?, 0, ?, ?)",
        params![id, number, id, start, end, state, results]).await;
    for (name, value) in
        [("branch", "\"main\""), ("list", "[1, \"<script>\"]"), ("owner", "\"dev@example.org\"")]
    {
        run(
            tx,
            "INSERT INTO build_properties (buildid, name, value, source) VALUES (?, ?, ?, 'Build')",
            params![id, name, value],
        )
        .await;
    }
    steps(tx, id, start, end, results).await;
}

fn revision(number: i64) -> String {
    // Builds 30 and 28 are of one revision and ended differently.
    let seed = if number == 30 { 28 } else { number } as u128;
    format!("{:032x}deadbeef", seed.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

async fn steps(tx: &Tx, build: i64, start: i64, end: Option<i64>, results: Option<i64>) {
    let plan = [("worker_preparation", 0, 1), ("checkout", 1, 14), ("compile", 14, 90), ("test", 90, 140)];
    for (number, (name, from, to)) in plan.into_iter().enumerate() {
        let (id, number) = (build * 10 + number as i64, number as i64);
        let last = number == 3;
        let ended = match end {
            Some(end) if last => Some(end),
            None if last => None,
            _ => Some(start + to),
        };
        let result = if last { results } else { Some(0) };
        run(tx, "INSERT INTO steps (id, number, name, buildid, started_at, locks_acquired_at, complete_at, state_string, \
             results, urls_json, hidden) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
            params![id, number, name, build, start + from, start + from, ended,
                if last && result == Some(2) { "'make check' (failure)" } else { "'make ...'" }, result,
                if number == 2 { r#"[{"name": "report", "url": "https://example.org/r"}, {"name": "bad", "url": "javascript:alert(1)"}]"# } else { "[]" }]).await;
        if last && (results.is_none() || results == Some(2)) {
            long_log(tx, id, results.is_some()).await;
        }
    }
}

async fn long_log(tx: &Tx, step: i64, complete: bool) {
    run(tx, "INSERT INTO logs (id, name, slug, stepid, complete, num_lines, type) VALUES (?, 'stdio', 'stdio', ?, ?, ?, 's')",
        params![step, step, complete, LONG_LOG]).await;
    for first in (0..LONG_LOG).step_by(500) {
        let lines: Vec<String> = (first..first + 500).map(log_line).collect();
        run(tx, "INSERT INTO logchunks (logid, first_line, last_line, content, compressed) VALUES (?, ?, ?, ?, 0)",
            params![step, first, first + 499, lines.join("\n").into_bytes()]).await;
    }
}

/// Line `index` (from 0), with the letter of its stream.
fn log_line(index: i64) -> String {
    match index {
        0 => "hmake check".to_owned(),
        1 => "h in dir /srv/build (timeout 1200 secs)".to_owned(),
        2480 => "emain.c:14: error: \u{1b}[1mexpected\u{1b}[0m <script>alert(2)</script>".to_owned(),
        2490 => "eneedle: 3 of 900 tests failed".to_owned(),
        2498 => "eMakefile:7: recipe for target 'check' failed".to_owned(),
        2499 => "hprogram finished with exit code 2".to_owned(),
        index if index % 97 == 0 => format!("o\u{1b}[38;5;208mSlow\u{1b}[0m test_{index} took 1.2 s"),
        index if index % 7 == 0 => format!("o\u{1b}[33mSKIP\u{1b}[0m test_{index}: no network"),
        index => format!("o\u{1b}[32mPASS\u{1b}[0m test_{index}"),
    }
}

async fn pending(tx: &Tx, now: i64) {
    run(
        tx,
        "INSERT INTO buildsets (id, reason, submitted_at, complete) VALUES (600, ?, ?, 0)",
        params!["A build was forced by 'Mira': <b>again</b>", now - 700],
    )
    .await;
    run(tx, "INSERT INTO buildset_sourcestamps (buildsetid, sourcestampid) VALUES (600, 530)", params![])
        .await;
    for (id, builder) in [(600, 50), (601, 51)] {
        run(tx, "INSERT INTO buildrequests (id, buildsetid, builderid, complete, results, submitted_at, priority) \
             VALUES (?, 600, ?, 0, -1, ?, 2)", params![id, builder, now - 700]).await;
    }
}

pub fn snapshot() -> Snapshot {
    Snapshot {
        title: "Example".to_owned(),
        title_url: "https://example.org/".to_owned(),
        buildbot_url: "https://ci.example.org/".to_owned(),
        schedulers: vec![force_scheduler()],
        ..Snapshot::empty()
    }
}

fn force_scheduler() -> SchedulerConfig {
    let person = vec![
        ForceField { need_email: true, ..field(FieldKind::UserName, "username", "Your name:") },
        ForceField {
            required: true,
            default: json!("force build"),
            ..field(FieldKind::Text, "reason", "Reason")
        },
        ForceField { default: json!(0), ..field(FieldKind::Int, "priority", "Priority") },
    ];
    let codebase = vec![
        field(FieldKind::Text, "branch", "Branch"),
        field(FieldKind::Text, "revision", "Revision"),
        ForceField {
            default: json!("https://example.org/site.git"),
            ..field(FieldKind::Fixed, "repository", "Repository")
        },
        ForceField { default: json!(""), ..field(FieldKind::Fixed, "project", "Project") },
    ];
    let choices = vec!["debug".to_owned(), "release".to_owned()];
    let options = vec![
        field(FieldKind::Bool, "clean", "Start from nothing"),
        ForceField {
            choices,
            strict: true,
            default: json!("debug"),
            ..field(FieldKind::Choice, "flavour", "Flavour")
        },
        field(FieldKind::TextArea, "notes", "Notes"),
    ];
    let group = |kind, label: &str, fields| ForceField { full_name: None, fields, ..field(kind, "", label) };
    SchedulerConfig {
        name: "force".to_owned(),
        class_name: "buildbot.schedulers.forcesched.ForceScheduler".to_owned(),
        builder_names: Renderable::Literal(json!(["website", "ok"])),
        properties: Default::default(),
        codebases: Default::default(),
        priority: Priority::default(),
        kind: SchedulerKind::Force(ForceConfig {
            button_name: "Start build".to_owned(),
            label: "Force a build".to_owned(),
            reason_string: "A build was forced by '%(owner)s': %(reason)s".to_owned(),
            fields: vec![
                group(FieldKind::Nested, "", person),
                ForceField {
                    codebase: Some(String::new()),
                    ..group(FieldKind::Codebase, "Source", codebase)
                },
                group(FieldKind::Nested, "Options", options),
            ],
        }),
        source: SourceRef::default(),
    }
}

fn field(kind: FieldKind, name: &str, label: &str) -> ForceField {
    ForceField {
        kind,
        name: name.to_owned(),
        full_name: Some(name.to_owned()),
        label: label.to_owned(),
        default: json!(""),
        required: false,
        multiple: false,
        regex: None,
        maxsize: None,
        choices: Vec::new(),
        strict: false,
        need_email: false,
        codebase: None,
        fields: Vec::new(),
        spec: Default::default(),
    }
}
