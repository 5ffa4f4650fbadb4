//! A running server on a database that holds what Buildbot's recorded answers tell.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, Once, PoisonError},
};

use muster_bus::Bus;
use muster_config::snapshot::{
    FieldKind, ForceConfig, ForceField, Priority, SchedulerConfig, SchedulerKind, Snapshot, SourceRef,
    WwwConfig,
};
use muster_core::{MasterId, hash::name_hash, render::Renderable};
use muster_data::{CollapsePolicy, Data};
use muster_store::{Db, DbUrl, Error, Tx, Value as Sql};
use muster_web::{AppState, Listener, MetricsText, listen, serve};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Panics outside of the tests' own threads: a request that panics breaks its own connection only.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn note_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Tests run on threads that have their names.
            if std::thread::current().name().is_none_or(|name| name.starts_with("tokio") || name == "web") {
                PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(panic.to_string());
            }
            usual(panic);
        }));
    });
}

pub struct Server {
    pub address: SocketAddr,
    pub data: Data,
    shutdown: CancellationToken,
    running: Option<tokio::task::JoinHandle<()>>,
    config: watch::Sender<Arc<Snapshot>>,
    _directory: tempfile::TempDir,
}

impl Server {
    /// A server whose database is empty but for its tables.
    pub async fn empty() -> Server {
        Server::start(false).await
    }

    /// A server whose database holds what the golden answers tell.
    pub async fn golden() -> Server {
        Server::start(true).await
    }

    /// The same with a configuration that is changed first.
    pub async fn with(change: impl FnOnce(&mut Snapshot)) -> Server {
        let mut config = snapshot();
        change(&mut config);
        Server::start_with(true, config).await
    }

    /// Puts another configuration in force.
    pub fn configure(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut config = Snapshot::clone(&self.config.borrow());
        change(&mut config);
        self.config.send_replace(Arc::new(config));
    }

    async fn start(filled: bool) -> Server {
        Server::start_with(filled, snapshot()).await
    }

    async fn start_with(filled: bool, config: Snapshot) -> Server {
        note_panics();
        let directory = tempfile::tempdir().unwrap();
        let url = DbUrl::Sqlite(directory.path().join("state.sqlite"));
        let db = Db::upgrade(&url).await.unwrap();
        if filled {
            let committed = db.tx("fixture", |tx| async move {
                fill(&tx).await;
                Ok::<_, Error>(())
            });
            committed.await.unwrap().into_inner();
        }
        let data = Data::new(db, Bus::default());
        data.set_collapse_policy(CollapsePolicy { master: Some(MasterId(1)), ..CollapsePolicy::default() });
        let (config, snapshot) = watch::channel(Arc::new(config));
        let state = AppState::new(data.clone(), snapshot, MetricsText::new(|| "muster_up 1\n".to_owned()));
        let listener = listen(&"tcp:0:interface=127.0.0.1".parse().unwrap(), Path::new("/")).await.unwrap();
        let address = listener.tcp_address().unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(serve(Vec::<Listener>::from([listener]), state, shutdown.clone()));
        Server { address, data, shutdown, running: Some(running), config, _directory: directory }
    }

    /// Ends the server and waits for it.
    pub async fn end(&mut self) {
        self.shutdown.cancel();
        self.running.take().unwrap().await.unwrap();
    }
}

/// No request may panic, whatever its test looks at.
impl Drop for Server {
    fn drop(&mut self) {
        let told = std::mem::take(&mut *PANICS.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(told.is_empty() || std::thread::panicking(), "a request panicked:\n{}", told.join("\n"));
    }
}

/// The text of a recorded answer.
pub fn golden_text(file: &str) -> String {
    let path = muster_golden::recorded(&format!("rest/{file}"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A recorded answer.
pub fn golden(file: &str) -> Value {
    serde_json::from_str(&golden_text(file)).unwrap()
}

fn items(file: &str, plural: &str) -> Vec<Value> {
    golden(file)[plural].as_array().unwrap().clone()
}

fn sql(value: &Value) -> Sql {
    match value {
        Value::Null => Sql::Null,
        Value::Bool(value) => Sql::Int((*value).into()),
        Value::Number(number) => Sql::Int(number.as_i64().unwrap()),
        Value::String(text) => Sql::Text(text.clone()),
        nested => Sql::Text(nested.to_string()),
    }
}

/// Inserts a row; a row that is there already is left as it is.
async fn insert(tx: &Tx, table: &str, row: &[(&str, Value)]) {
    let columns: Vec<&str> = row.iter().map(|(column, _)| *column).collect();
    let marks = vec!["?"; row.len()].join(", ");
    let text = format!("INSERT OR IGNORE INTO {table} ({}) VALUES ({marks})", columns.join(", "));
    tx.execute(&text, row.iter().map(|(_, value)| sql(value)).collect()).await.unwrap();
}

/// Inserts items, whose keys are columns or are renamed to one; `""` leaves a key out.
async fn insert_all(tx: &Tx, table: &str, items: &[Value], renamed: &[(&str, &str)]) {
    for item in items {
        let mut row: Vec<(&str, Value)> = Vec::new();
        for (key, value) in item.as_object().unwrap() {
            let column =
                renamed.iter().find(|(known, _)| known == key).map_or(key.as_str(), |(_, column)| column);
            if !column.is_empty() {
                row.push((column, value.clone()));
            }
        }
        insert(tx, table, &row).await;
    }
}

async fn fill(tx: &Tx) {
    insert_all(tx, "masters", &hashed(items("masters.json", "masters")), &[("masterid", "id")]).await;
    insert_all(
        tx,
        "projects",
        &hashed(items("projects.json", "projects")),
        &[("projectid", "id"), ("active", "")],
    )
    .await;
    fill_builders(tx).await;
    fill_workers(tx).await;
    fill_owned(tx).await;
    fill_sources(tx).await;
    fill_requests(tx).await;
    fill_builds(tx).await;
    fill_steps(tx).await;
    fill_codebases(tx).await;
    fill_results(tx).await;
}

fn hashed(mut items: Vec<Value>) -> Vec<Value> {
    for item in &mut items {
        item["name_hash"] = name_hash(item["name"].as_str().unwrap()).into();
    }
    items
}

async fn fill_builders(tx: &Tx) {
    let builders = hashed(items("builders.json", "builders"));
    let renamed = [("builderid", "id"), ("masterids", ""), ("tags", "")];
    insert_all(tx, "builders", &builders, &renamed).await;
    for builder in &builders {
        let id = &builder["builderid"];
        insert(
            tx,
            "builder_masters",
            &[("id", id.clone()), ("builderid", id.clone()), ("masterid", json!(1))],
        )
        .await;
        for tag in builder["tags"].as_array().unwrap() {
            let hash = name_hash(tag.as_str().unwrap());
            insert(tx, "tags", &[("name", tag.clone()), ("name_hash", hash.clone().into())]).await;
            let text =
                "INSERT INTO builders_tags (builderid, tagid) SELECT ?, id FROM tags WHERE name_hash = ?";
            tx.execute(text, vec![sql(id), Sql::Text(hash)]).await.unwrap();
        }
    }
}

async fn fill_workers(tx: &Tx) {
    let workers = items("workers.json", "workers");
    let renamed = [("workerid", "id"), ("workerinfo", "info"), ("connected_to", ""), ("configured_on", "")];
    insert_all(tx, "workers", &workers, &renamed).await;
    for worker in &workers {
        for connected in worker["connected_to"].as_array().unwrap() {
            let row = [("masterid", connected["masterid"].clone()), ("workerid", worker["workerid"].clone())];
            insert(tx, "connected_workers", &row).await;
        }
        for configured in worker["configured_on"].as_array().unwrap() {
            let row = [
                ("buildermasterid", configured["builderid"].clone()),
                ("workerid", worker["workerid"].clone()),
            ];
            insert(tx, "configured_workers", &row).await;
        }
    }
}

/// Schedulers and change sources, all owned by the one master.
async fn fill_owned(tx: &Tx) {
    let schedulers = hashed(items("schedulers.json", "schedulers"));
    insert_all(tx, "schedulers", &schedulers, &[("schedulerid", "id"), ("master", "")]).await;
    for scheduler in &schedulers {
        let row = [("schedulerid", scheduler["schedulerid"].clone()), ("masterid", json!(1))];
        insert(tx, "scheduler_masters", &row).await;
    }
    let sources = hashed(items("changesources.json", "changesources"));
    insert_all(tx, "changesources", &sources, &[("changesourceid", "id"), ("master", "")]).await;
    for source in sources.iter().filter(|source| !source["master"].is_null()) {
        let row = [("changesourceid", source["changesourceid"].clone()), ("masterid", json!(1))];
        insert(tx, "changesource_masters", &row).await;
    }
}

async fn fill_sources(tx: &Tx) {
    for mut source in items("sourcestamps.json", "sourcestamps") {
        let patch = source["patch"].take();
        if let Some(id) = patch.get("patchid") {
            source["patchid"] = id.clone();
            let mut patch = patch.clone();
            patch["body"] = json!("ZGlmZg==");
            let renamed = [
                ("patchid", "id"),
                ("body", "patch_base64"),
                ("level", "patchlevel"),
                ("author", "patch_author"),
                ("comment", "patch_comment"),
            ];
            insert_all(tx, "patches", &[patch], &renamed).await;
        }
        source["ss_hash"] = source["ssid"].to_string().into();
        insert_all(tx, "sourcestamps", &[source], &[("ssid", "id"), ("patch", "")]).await;
    }
    for change in items("changes.json", "changes") {
        let id = change["changeid"].clone();
        for file in change["files"].as_array().unwrap() {
            insert(tx, "change_files", &[("changeid", id.clone()), ("filename", file.clone())]).await;
        }
        for (name, value) in change["properties"].as_object().unwrap() {
            let row = [
                ("changeid", id.clone()),
                ("property_name", json!(name)),
                ("property_value", value.to_string().into()),
            ];
            insert(tx, "change_properties", &row).await;
        }
        let mut row = change.clone();
        row["sourcestampid"] = change["sourcestamp"]["ssid"].clone();
        row["parent_changeids"] = change["parent_changeids"].get(0).cloned().unwrap_or_default();
        insert_all(tx, "changes", &[row], &[("files", ""), ("properties", ""), ("sourcestamp", "")]).await;
    }
}

async fn fill_requests(tx: &Tx) {
    for buildset in items("buildsets.json", "buildsets") {
        insert_all(tx, "buildsets", std::slice::from_ref(&buildset), &[("bsid", "id"), ("sourcestamps", "")])
            .await;
        for source in buildset["sourcestamps"].as_array().unwrap() {
            let row = [("buildsetid", buildset["bsid"].clone()), ("sourcestampid", source["ssid"].clone())];
            insert(tx, "buildset_sourcestamps", &row).await;
        }
    }
    let renamed = [
        ("buildrequestid", "id"),
        ("claimed", ""),
        ("claimed_at", ""),
        ("claimed_by_masterid", ""),
        ("properties", ""),
    ];
    let requests = items("buildrequests.json", "buildrequests");
    insert_all(tx, "buildrequests", &requests, &renamed).await;
    for request in requests.iter().filter(|request| request["claimed"] == true) {
        let row = [
            ("brid", request["buildrequestid"].clone()),
            ("masterid", request["claimed_by_masterid"].clone()),
            ("claimed_at", request["claimed_at"].clone()),
        ];
        insert(tx, "buildrequest_claims", &row).await;
    }
    for property in items("buildsets.1.properties_list.json", "_properties") {
        let value: Value = serde_json::from_str(property["value"].as_str().unwrap()).unwrap();
        buildset_property(tx, 1, &property["name"], &json!([value, property["source"]])).await;
    }
    for request in items("buildrequests--property=owner-limit=2.json", "buildrequests") {
        for (name, pair) in request["properties"].as_object().unwrap() {
            buildset_property(tx, request["buildsetid"].as_i64().unwrap(), &json!(name), pair).await;
        }
    }
}

async fn buildset_property(tx: &Tx, buildset: i64, name: &Value, pair: &Value) {
    let row = [
        ("buildsetid", json!(buildset)),
        ("property_name", name.clone()),
        ("property_value", pair.to_string().into()),
    ];
    insert(tx, "buildset_properties", &row).await;
}

async fn fill_builds(tx: &Tx) {
    let renamed = [("buildid", "id"), ("complete", ""), ("properties", "")];
    insert_all(tx, "builds", &items("builds.json", "builds"), &renamed).await;
    for property in items("builds.14.property_list.json", "_properties") {
        build_property(tx, 14, &property["name"], &property["value"], &property["source"]).await;
    }
    let whole = items("builds--property=_-limit=2.json", "builds");
    let some = items("builds--property=owner-property=revision.json", "builds");
    let some = some.into_iter().filter(|build| ![1, 2, 14].contains(&build["buildid"].as_i64().unwrap()));
    for build in whole.into_iter().chain(some) {
        for (name, pair) in build["properties"].as_object().unwrap() {
            let id = build["buildid"].as_i64().unwrap();
            build_property(tx, id, &json!(name), &pair[0].to_string().into(), &pair[1]).await;
        }
    }
    let build = items("builders.2.builds.1.properties.json", "properties").remove(0);
    let recorded = items("builders.2.builds.json", "builds").remove(0)["buildid"].as_i64().unwrap();
    if recorded > 2 {
        for (name, pair) in build.as_object().unwrap() {
            build_property(tx, recorded, &json!(name), &pair[0].to_string().into(), &pair[1]).await;
        }
    }
}

async fn build_property(tx: &Tx, build: i64, name: &Value, value: &Value, source: &Value) {
    let row = [
        ("buildid", json!(build)),
        ("name", name.clone()),
        ("value", value.clone()),
        ("source", source.clone()),
    ];
    insert(tx, "build_properties", &row).await;
}

async fn fill_steps(tx: &Tx) {
    for file in ["builds.14.steps.json", "builders.2.builds.1.steps.json"] {
        let renamed = [("stepid", "id"), ("urls", "urls_json"), ("complete", "")];
        insert_all(tx, "steps", &items(file, "steps"), &renamed).await;
    }
    let logs = [
        ("logs.32.json", "logs.32.contents.json"),
        ("logs.33.json", "logs.33.contents.json"),
        (
            "builders.2.builds.1.steps.2.logs.stdio.json",
            "builders.2.builds.1.steps.2.logs.stdio.contents.json",
        ),
    ];
    for (log, contents) in logs {
        let log = items(log, "logs").remove(0);
        let text = items(contents, "logchunks").remove(0)["content"]
            .as_str()
            .unwrap()
            .trim_end_matches('\n')
            .to_owned();
        let row = [
            ("logid", log["logid"].clone()),
            ("first_line", json!(0)),
            ("last_line", json!(text.matches('\n').count())),
            ("content", json!(text)),
            ("compressed", json!(0)),
        ];
        insert(tx, "logchunks", &row).await;
        insert_all(tx, "logs", &[log], &[("logid", "id")]).await;
    }
}

/// A configuration with the recorded force schedulers.
fn snapshot() -> Snapshot {
    Snapshot {
        title: "Demo".to_owned(),
        title_url: "https://demo.example.org/".to_owned(),
        buildbot_url: "http://127.0.0.1:8010/".to_owned(),
        www: WwwConfig { port: Some("8010".to_owned()), ..WwwConfig::default() },
        schedulers: items("forceschedulers.json", "forceschedulers").iter().map(force_scheduler).collect(),
        ..Snapshot::empty()
    }
}

fn force_scheduler(recorded: &Value) -> SchedulerConfig {
    let text = |name: &str| recorded[name].as_str().unwrap().to_owned();
    SchedulerConfig {
        name: text("name"),
        class_name: "buildbot.schedulers.forcesched.ForceScheduler".to_owned(),
        builder_names: Renderable::Literal(recorded["builder_names"].clone()),
        properties: Default::default(),
        codebases: Default::default(),
        priority: Priority::default(),
        kind: SchedulerKind::Force(ForceConfig {
            button_name: text("button_name"),
            label: text("label"),
            reason_string: "A build was forced by '%(owner)s': %(reason)s".to_owned(),
            fields: recorded["all_fields"].as_array().unwrap().iter().map(force_field).collect(),
        }),
        source: SourceRef::default(),
    }
}

fn force_field(recorded: &Value) -> ForceField {
    let mut spec: Map<String, Value> = recorded.as_object().unwrap().clone();
    let fields = spec.remove("fields").unwrap_or_else(|| json!([]));
    let kind = match recorded["type"].as_str().unwrap() {
        "nested" => FieldKind::Nested,
        "username" => FieldKind::UserName,
        "int" => FieldKind::Int,
        "list" => FieldKind::Choice,
        "fixed" => FieldKind::Fixed,
        "file" => FieldKind::File,
        "bool" => FieldKind::Bool,
        "textarea" => FieldKind::TextArea,
        _ => FieldKind::Text,
    };
    ForceField {
        kind,
        name: recorded["name"].as_str().unwrap_or_default().to_owned(),
        full_name: recorded["fullName"].as_str().map(str::to_owned),
        label: recorded["label"].as_str().unwrap_or_default().to_owned(),
        default: recorded["default"].clone(),
        required: recorded["required"] == true,
        multiple: recorded["multiple"] == true,
        // Compiled patterns are not in the recorded answers.
        regex: (recorded["name"] == "pull_url").then(|| "^$|^https?://".to_owned()),
        maxsize: recorded["maxsize"].as_u64(),
        choices: serde_json::from_value(recorded["choices"].clone()).unwrap_or_default(),
        strict: recorded["strict"] == true,
        need_email: recorded["need_email"] == true,
        codebase: None,
        fields: fields.as_array().unwrap().iter().map(force_field).collect(),
        spec,
    }
}

async fn fill_codebases(tx: &Tx) {
    let codebases = hashed(items("codebases.json", "codebases"));
    insert_all(tx, "codebases", &codebases, &[("codebaseid", "id")]).await;
    let commits = items("codebases.1.commits.json", "commits");
    insert_all(tx, "codebase_commits", &commits, &[("commitid", "id")]).await;
    let branches = hashed(items("codebases.1.branches.json", "branches"));
    insert_all(tx, "codebase_branches", &branches, &[("branchid", "id")]).await;
}

/// Data and test results of builds.
async fn fill_results(tx: &Tx) {
    for file in ["builds.14.data.json", "builders.2.builds.1.data.json"] {
        for mut data in items(file, "build_data") {
            data["value"] = golden_text("builds.14.data.coverage.value.json").into();
            insert_all(tx, "build_data", &[data], &[]).await;
        }
    }
    let sets = items("test_result_sets.json", "test_result_sets");
    insert_all(tx, "test_result_sets", &sets, &[("test_result_setid", "id")]).await;
    for mut result in items("test_result_sets.6.results.json", "test_results") {
        let id = result["test_resultid"].clone();
        for (field, table, column) in
            [("test_name", "test_names", "name"), ("test_code_path", "test_code_paths", "path")]
        {
            let text = result[field].take();
            if !text.is_null() {
                let row = [("id", id.clone()), ("builderid", json!(2)), (column, text)];
                insert(tx, table, &row).await;
                result[field] = id.clone();
            }
        }
        let renamed =
            [("test_resultid", "id"), ("test_name", "test_nameid"), ("test_code_path", "test_code_pathid")];
        insert_all(tx, "test_results", &[result], &renamed).await;
    }
}
