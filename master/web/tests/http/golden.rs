//! Every recorded GET of Buildbot 4.3.0, asked again.

use serde_json::Value;

use crate::{
    client::get,
    fixture::{Server, golden, golden_text},
};

/// Answers that are different on purpose, with the reason.
const DIFFERENT: &[(&str, u16, &str)] = &[
    ("/api/v2/changes/1/properties_list", 200, "Buildbot fails here"),
    ("/api/v2/builds/999/changes", 200, "Buildbot fails here; an unknown build has no changes"),
    ("/api/v2/masters/1/schedulers/999", 404, "Buildbot fails here"),
    ("/api/v2/masters/1/changesources/999", 404, "Buildbot fails here"),
    ("/api/v2/builds/999/test_result_sets", 200, "Buildbot fails here; an unknown build has none"),
    ("/api/v2/changes?limit=2&order=-changeid", 200, "Buildbot turns the page round after ordering it"),
    ("/api/v2/projects?active=true", 200, "Buildbot lists a project once for each of its builders"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_get_is_answered_as_by_buildbot() {
    let server = Server::golden().await;
    let mut wrong = Vec::new();
    let mut asked = 0;
    for entry in golden("INDEX.json")["requests"].as_array().unwrap() {
        let Some(path) = entry["request"].as_str().unwrap().strip_prefix("GET ") else { continue };
        asked += 1;
        if let Err(difference) = compare(&server, path, entry).await {
            wrong.push(format!("{path}: {difference}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked > 150, "{asked}");
}

/// Not among the recorded ones; asked of Buildbot 4.3.0 all the same.
#[tokio::test(flavor = "multi_thread")]
async fn odd_gets_are_answered_as_by_buildbot() {
    let server = Server::golden().await;
    for (path, status) in [
        ("/api/v2/builders/1/builds/9999/steps", 404),
        ("/api/v2/builders/nope/builds/1/steps", 404),
        ("/api/v2/builds/9999/steps", 200),
        ("/api/v2/builders/1/builds/9999/steps/0/logs", 200),
        ("/api/v2/builds?a", 200),
        ("/api/v2/builds?a=", 400),
        ("/api/v2/builds?&limit=1", 200),
    ] {
        assert_eq!(get(server.address, path).await.status, status, "{path}");
    }
}

/// Of lists that Buildbot reads whole, the total is that of the list; of others, that of the page.
#[tokio::test(flavor = "multi_thread")]
async fn totals_are_counted_as_by_buildbot() {
    let server = Server::golden().await;
    let total = async |path: &str| get(server.address, path).await.json()["meta"]["total"].clone();
    let sourcestamps = golden("sourcestamps.json")["meta"]["total"].clone();
    assert!(sourcestamps.as_u64().is_some_and(|total| total > 2));
    assert_eq!(total("/api/v2/sourcestamps?limit=1").await, sourcestamps);
    assert_eq!(total("/api/v2/sourcestamps?limit=1&ssid__le=2").await, 2);
    assert_eq!(total("/api/v2/builds/14/property_list?limit=2").await, 2);
    assert_eq!(total("/api/v2/test_result_sets?limit=2").await, 2);
    assert_eq!(total("/api/v2/builds/14/data?limit=0").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_is_described_as_by_buildbot() {
    let server = Server::empty().await;
    let ours = get(server.address, "/api/v2/application.spec").await.json();
    let theirs = golden("application.spec.json");
    let theirs = theirs["specs"].as_array().unwrap();
    for spec in ours["specs"].as_array().unwrap() {
        let known = theirs.iter().find(|known| known["path"] == spec["path"]);
        assert_eq!(Some(spec), known, "{}", spec["path"]);
    }
    assert_eq!(ours["meta"]["total"], theirs.len());
}

async fn compare(server: &Server, path: &str, entry: &Value) -> Result<(), String> {
    let reply = get(server.address, path).await;
    if let Some((_, status, _)) = DIFFERENT.iter().find(|(known, _, _)| *known == path) {
        return if reply.status == *status { Ok(()) } else { Err(format!("status {}", reply.status)) };
    }
    let file = entry["file"].as_str().unwrap();
    let same = |what: &str, ours: Option<&str>, theirs: Option<&str>| {
        if ours == theirs { Ok(()) } else { Err(format!("{what} {ours:?} instead of {theirs:?}")) }
    };
    same("status", Some(&reply.status.to_string()), Some(&entry["status"].to_string()))?;
    same("type", reply.header("content-type"), entry["content_type"].as_str())?;
    same("disposition", reply.header("content-disposition"), entry["content-disposition"].as_str())?;
    if file.ends_with(".txt") {
        return same("text", Some(reply.text()), Some(&golden_text(file)));
    }
    let (mut ours, mut theirs) = (reply.json(), golden(file));
    for value in [&mut ours, &mut theirs] {
        forget_what_moves(value);
    }
    if ours == theirs { Ok(()) } else { Err(format!("\n  ours   {ours}\n  theirs {theirs}")) }
}

/// Heartbeats went on while the answers were recorded, and only the beginning of "not found" is promised.
fn forget_what_moves(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(forget_what_moves),
        Value::Object(members) => {
            members.remove("last_active");
            if let Some(Value::String(text)) = members.get_mut("error")
                && text.starts_with("not found")
            {
                text.truncate("not found while getting from endpoint for".len());
            }
            members.values_mut().for_each(forget_what_moves);
        }
        _ => {}
    }
}
