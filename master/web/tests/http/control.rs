//! Control calls, against the recorded POSTs of Buildbot 4.3.0.

use serde_json::{Value, json};

use crate::{
    client::{Reply, send},
    fixture::{Server, golden},
};

async fn post(server: &Server, path: &str, body: &str) -> Reply {
    send(server.address, "POST", path, &[("Content-Type", "application/json")], body).await
}

async fn call(server: &Server, path: &str, method: &str, params: Value) -> Reply {
    let body = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 1});
    post(server, path, &body.to_string()).await
}

/// Calls of the golden index, in its order, whose answers are the same to the last word: everything that is refused before a method
/// runs, and what the methods answer on success.
const EXACT: &[&str] = &[
    "rpc_bad_content_type.json",
    "rpc_charset_content_type.json",
    "rpc_batch.json",
    "rpc_not_object.json",
    "rpc_missing_jsonrpc.json",
    "rpc_missing_id.json",
    "rpc_missing_method.json",
    "rpc_missing_params.json",
    "rpc_params_list.json",
    "rpc_version_1.json",
    "rpc_id_float.json",
    "rpc_id_null_unknown_path.json",
    "rpc_id_string_unknown_method.json",
    "rpc_collection_method.json",
    "rpc_builder_method.json",
    "rpc_force_unknown_method.json",
    "rpc_force_unknown_param.json",
    "rpc_force_validation_errors.json",
    "rpc_force_ok_skipper.json",
    "rpc_force_ok_by_names.json",
    "rpc_force_anonymous_no_username.json",
    "rpc_stop_missing.json",
    "rpc_stop_by_number.json",
    "rpc_rebuild_ok.json",
    "rpc_cancel_missing.json",
    "rpc_scheduler_enable.json",
    "rpc_scheduler_enable_missing.json",
    "rpc_scheduler_unknown_method.json",
    "rpc_worker_bogus.json",
    "rpc_worker_graceful_not_a_method.json",
    "rpc_worker_pause.json",
    "rpc_worker_unpause.json",
    "rpc_worker_by_builder.json",
];

#[tokio::test(flavor = "multi_thread")]
async fn recorded_calls_are_answered_as_by_buildbot() {
    let server = Server::golden().await;
    let index = golden("INDEX.json");
    for file in EXACT {
        let entries = index["requests"].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["file"] == *file).unwrap();
        let path = entry["request"].as_str().unwrap().strip_prefix("POST ").unwrap();
        // Two recorded bodies are no objects; the index holds the text of one, and the JSON of the others.
        let body = entry["body"].to_string();
        let content_type = entry["request_content_type"].as_str().unwrap();
        let reply = send(server.address, "POST", path, &[("Content-Type", content_type)], &body).await;
        assert_eq!(reply.status, entry["status"].as_u64().unwrap() as u16, "{file}");
        assert_eq!(reply.header("content-type"), entry["content_type"].as_str(), "{file}");
        assert_eq!(reply.json(), golden(file), "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_failures_have_their_codes() {
    let server = Server::golden().await;
    let parse = post(&server, "/api/v2/builds/1", "{bad").await;
    assert_eq!((parse.status, &parse.json()["error"]["code"]), (400, &json!(-32_700)));
    assert!(parse.json()["error"]["message"].as_str().unwrap().starts_with("JSON parse error: "));
    assert_eq!(parse.json().get("id"), None);
    let cases = [
        ("/api/v2/forceschedulers/nosuch", "force", json!({}), 500, -32_603),
        ("/api/v2/forceschedulers/simple", "force", json!({"builderNames": ["zzz"]}), 500, -32_603),
        ("/api/v2/builds/999", "rebuild", json!({}), 500, -32_603),
        ("/api/v2/buildrequests/1", "bogus", json!({}), 500, -32_603),
        ("/api/v2/buildrequests/18", "set_priority", json!({}), 500, -32_603),
        ("/api/v2/schedulers/2", "enable", json!({}), 500, -32_603),
        ("/api/v2/workers/999", "pause", json!({}), 404, -32_600),
        ("/api/v2/builders/nosuch/builds/1", "stop", json!({}), 404, -32_600),
    ];
    for (path, method, params, status, code) in cases {
        let reply = call(&server, path, method, params).await;
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (status, &json!(code)), "{path} {method}");
        assert_eq!(reply.json()["id"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_reach_the_database() {
    let server = Server::golden().await;
    let field = async |path: &str, plural: &str, field: &str| {
        crate::client::get(server.address, path).await.json()[plural][0][field].clone()
    };
    let reply = call(&server, "/api/v2/buildrequests/18", "set_priority", json!({"priority": 7})).await;
    assert_eq!((reply.status, &reply.json()["result"]), (200, &Value::Null));
    assert_eq!(field("/api/v2/buildrequests/18", "buildrequests", "priority").await, 7);

    call(&server, "/api/v2/schedulers/2", "enable", json!({"enabled": false})).await;
    assert_eq!(field("/api/v2/schedulers/2", "schedulers", "enabled").await, false);

    call(&server, "/api/v2/workers/w2", "pause", json!({"reason": "rest"})).await;
    assert_eq!(field("/api/v2/workers/w2", "workers", "pause_reason").await, "rest");

    call(&server, "/api/v2/workers/w1", "pause", json!({})).await;
    assert_eq!(field("/api/v2/workers/w1", "workers", "pause_reason").await, "no reason");

    call(&server, "/api/v2/buildrequests/18", "cancel", json!({"reason": "no"})).await;
    assert_eq!(field("/api/v2/buildrequests/18", "buildrequests", "results").await, 6);

    let rebuilt = call(&server, "/api/v2/builds/4", "rebuild", json!({})).await.json()["result"].clone();
    let buildset = format!("/api/v2/buildsets/{}", rebuilt[0]);
    assert_eq!(field(&buildset, "buildsets", "rebuilt_buildid").await, 4);
    let request = format!("/api/v2/buildrequests/{}", rebuilt[1]["4"]);
    assert_eq!(field(&request, "buildrequests", "complete").await, false);
}
