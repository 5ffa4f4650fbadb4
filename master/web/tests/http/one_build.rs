//! The events of one build, against those that Buildbot 4.3.0 told about one.

use std::collections::{BTreeMap, BTreeSet};

use muster_core::{BuilderId, LogKind, MasterId, Properties, Property, Results, StepUrl, WorkerId};
use muster_data::{NewBuildset, NewRun, RunWrite, SourceOf, WorkerDial, now};
use muster_store::chunks::{Compression, make};
use serde_json::{Value, json};

use crate::{
    events::{ask, connect, next},
    fixture::Server,
};

/// The keys of the payloads under each name; ids stand as `*`.
type Shapes = BTreeMap<String, BTreeSet<Vec<String>>>;

fn add(shapes: &mut Shapes, frame: &Value) {
    let number = |part: &str| part.parse::<i64>().is_ok();
    let name = frame["k"].as_str().unwrap().split('/').map(|part| if number(part) { "*" } else { part });
    let name: Vec<&str> = name.collect();
    let mut keys: Vec<String> = frame["m"].as_object().unwrap().keys().cloned().collect();
    keys.sort();
    if name.contains(&"properties") {
        // Which properties changed is another matter.
        keys.clear();
    }
    shapes.entry(name.join("/")).or_default().insert(keys);
}

/// What was recorded, but for resources that this version doesn't have and logs of other names.
fn recorded() -> Shapes {
    let text = std::fs::read_to_string(muster_golden::recorded("ws-one-build.jsonl")).unwrap();
    let mut shapes = Shapes::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let frame = &line["frame"];
        let Some(name) = frame["k"].as_str() else { continue };
        let other_log = name.contains("/logs/") && !name.contains("/logs/stdio/");
        if !other_log && !name.starts_with("test_result_sets") {
            add(&mut shapes, frame);
        }
    }
    shapes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_tells_what_buildbots_told() {
    let server = Server::golden().await;
    let dial = WorkerDial {
        worker: WorkerId(2),
        boot_id: "boot".into(),
        dial_no: 1,
        gateway: None,
        info: Default::default(),
    };
    let mut socket = connect(&server).await;
    for parts in 2..=7 {
        let path = vec!["*"; parts].join("/");
        ask(&mut socket, json!({"cmd": "startConsuming", "path": path, "_id": parts})).await;
    }
    server.data.workers_dial(MasterId(1), &[dial]).await.unwrap();
    for name in ["workers/2/connected", "workers/2/state_updated"] {
        let frame = next(&mut socket).await;
        assert_eq!((&frame["k"], &frame["m"]["workerid"]), (&json!(name), &json!(2)));
    }
    build_once(&server).await;
    let mut told = Shapes::new();
    let mut course = Vec::new();
    loop {
        let frame = next(&mut socket).await;
        add(&mut told, &frame);
        let name = frame["k"].as_str().unwrap();
        course.extend(step_of_the_course(name, &frame["m"]));
        if name.starts_with("buildsets/") && name.ends_with("/complete") && name.split('/').count() == 3 {
            break;
        }
    }
    assert_eq!(course, COURSE);
    let recorded = recorded();
    for (name, shapes) in &told {
        assert_eq!(Some(shapes), recorded.get(name), "{name}");
    }
    let missing: Vec<&String> = recorded.keys().filter(|name| !told.contains_key(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The course of the build under its own name, with the state and the result at each moment; without logs.
const COURSE: &[&str] = &[
    "properties/update buildnumber",
    "step new pending",
    "step started pending",
    "step updated pending",
    "update compiling",
    "new compiling",
    "step updated pending",
    "properties/update greeting, farewell",
    "step updated compiled",
    "step finished compiled 0",
    "update build successful",
    "finished build successful 0",
];

/// The line of an event in [`COURSE`].
fn step_of_the_course(name: &str, event: &Value) -> Option<String> {
    let mut parts = name.strip_prefix("builds/")?.split('/').skip(1);
    let what = match parts.next()? {
        "steps" => format!("step {}", parts.nth(1)?),
        "properties" => {
            let names: Vec<&str> = event.as_object()?.keys().map(String::as_str).collect();
            return Some(format!("properties/update {}", names.join(", ")));
        }
        what => what.to_owned(),
    };
    let results = event["results"].as_i64().map(|results| format!(" {results}")).unwrap_or_default();
    Some(format!("{what} {}{results}", event["state_string"].as_str()?))
}

/// A build with one step, through the update methods that an engine uses.
async fn build_once(server: &Server) {
    let data = &server.data;
    let buildset = NewBuildset {
        scheduler: "force".to_owned(),
        reason: "a test".to_owned(),
        sources: vec![SourceOf::New(Box::default())],
        builders: vec![BuilderId(2)],
        ..NewBuildset::default()
    };
    let added = data.add_buildset(buildset).await.unwrap();
    let run = NewRun {
        request: added.requests[0].1,
        builder: BuilderId(2),
        worker: WorkerId(2),
        snapshot: 1,
        plan: "[]".into(),
        properties: Properties::new(),
    };
    let started = data.start_runs(MasterId(1), &[run]).await.unwrap().remove(0);
    let stdio = || "stdio".to_owned();
    let url = StepUrl { name: "more".to_owned(), url: "https://example.org/".to_owned() };
    let property = Property(json!("hello"), "test".to_owned());
    let writes = [
        RunWrite::StepStarted { step: 0, name: "compile".to_owned(), state: "pending".to_owned(), at: now() },
        RunWrite::StepLocksAcquired { step: 0, at: now() },
        RunWrite::BuildState("compiling".to_owned()),
        RunWrite::BuildAnnounced,
        RunWrite::StepUrl { step: 0, url },
        RunWrite::LogAdded { step: 0, slug: stdio(), name: stdio(), kind: LogKind::Stdio },
        RunWrite::LogAppended { step: 0, slug: stdio(), chunks: make("oone\notwo\n", Compression::Gz) },
        RunWrite::LogFinished { step: 0, slug: stdio() },
        RunWrite::Property { name: "greeting".to_owned(), property: property.clone() },
        RunWrite::Property { name: "farewell".to_owned(), property },
        RunWrite::StepFinished {
            step: 0,
            results: Results::Success,
            hidden: false,
            state: "compiled".to_owned(),
            at: now(),
        },
        RunWrite::BuildFinished {
            results: Results::Success,
            state: "build successful".to_owned(),
            at: now(),
        },
    ];
    data.commit_run(&started.key, started.request, &writes).await.unwrap();
}
