//! Transport rules: layouts, methods, origins, compression, streams of logs, the end of the server.

use std::io::Read;

use serde_json::json;

use crate::{
    client::{get, send},
    fixture::{Server, golden},
};

#[tokio::test(flavor = "multi_thread")]
async fn people_get_indented_text_and_programs_compact_json() {
    let server = Server::golden().await;
    let reply = send(server.address, "GET", "/api/v2/builds?limit=0", &[], "").await;
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(reply.text(), "{\n  \"builds\": [], \n  \"meta\": {\n    \"total\": 0\n  }\n}");
    let accept = [("Accept", "text/html, application/json;q=0.5")];
    let reply = send(server.address, "GET", "/api/v2/builds?limit=0", &accept, "").await;
    assert_eq!(reply.text(), r#"{"builds":[],"meta":{"total":0}}"#);
    let accept = [("Accept", "application/vnd.api+json")];
    let reply = send(server.address, "GET", "/api/v2/builds?limit=0", &accept, "").await;
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    let reply = get(server.address, "/api/v2/nosuch").await;
    assert_eq!(reply.text(), r#"{"error": "Invalid path: nosuch"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_is_v2_and_api_names_the_versions() {
    let server = Server::golden().await;
    assert_eq!(
        get(server.address, "/api/latest/builds/1").await.body,
        get(server.address, "/api/v2/builds/1").await.body
    );
    let versions = get(server.address, "/api").await.json();
    assert_eq!(versions, json!({"api_versions": {"v2": "http://127.0.0.1:8010/api/v2"}}));
    let root = get(server.address, "/api/v2").await.json();
    let names: Vec<&str> =
        root["rootlinks"].as_array().unwrap().iter().map(|link| link["name"].as_str().unwrap()).collect();
    assert_eq!((names.len(), names[0], names[5]), (14, "builders", "logchunks"));
    assert!(!names.contains(&"application.spec") && !names.contains(&"test_result_sets"));
    assert_eq!(get(server.address, "/api/v2/").await.status, 404);
    let page = get(server.address, "/api/").await;
    assert_eq!(page.status, 404);
    assert!(page.header("content-type").is_some_and(|media_type| media_type.starts_with("text/html")));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_origins_are_refused() {
    let server = Server::golden().await;
    let path = "/api/v2/builds/1";
    for method in ["PUT", "DELETE", "OPTIONS"] {
        let reply = send(server.address, method, path, &[], "").await;
        assert_eq!((reply.status, reply.text()), (400, r#"{"error": "invalid HTTP method"}"#), "{method}");
    }
    let bad = [("Origin", "http://evil.example.org")];
    let reply = send(server.address, "GET", path, &bad, "").await;
    assert_eq!((reply.status, reply.text()), (400, r#"{"error": "invalid origin"}"#));
    let reply = send(server.address, "POST", path, &bad, "").await;
    assert_eq!((reply.status, reply.text()), (400, r#"{"error": {"message": "invalid origin"}}"#));

    let good = ("Origin", "HTTP://127.0.0.1:8010");
    let reply = send(server.address, "GET", path, &[good], "").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), Some("http://127.0.0.1:8010"));
    assert_eq!(reply.header("access-control-max-age"), Some("3600"));
    let preflight = [good, ("Access-Control-Request-Method", "POST")];
    let reply = send(server.address, "OPTIONS", path, &preflight, "").await;
    assert_eq!((reply.status, reply.header("access-control-allow-headers")), (200, Some("Content-Type")));
    assert!(reply.body.is_empty());
    let preflight = [good, ("Access-Control-Request-Method", "PUT")];
    let reply = send(server.address, "OPTIONS", path, &preflight, "").await;
    assert_eq!((reply.status, reply.text()), (400, r#"{"error": "invalid method"}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_the_length_and_gzip_the_same_content() {
    let server = Server::golden().await;
    let plain = get(server.address, "/api/v2/builds").await;
    let headers = [("Accept", "application/json"), ("Accept-Encoding", "gzip")];
    let head = send(server.address, "HEAD", "/api/v2/builds", &headers, "").await;
    assert_eq!(head.header("content-length"), Some(plain.body.len().to_string().as_str()));
    assert!(head.body.is_empty());
    let packed = send(server.address, "GET", "/api/v2/builds", &headers, "").await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() < plain.body.len());
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
}

/// As Chromium, Firefox and curl ask. Raw logs are streams, which end differently from whole bodies.
#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_get_is_the_same_in_all_encodings() {
    let server = Server::golden().await;
    let recorded = golden("INDEX.json");
    let recorded = recorded["requests"].as_array().unwrap().iter();
    let recorded = recorded.filter_map(|entry| entry["request"].as_str().unwrap().strip_prefix("GET "));
    let pages = [
        "/",
        "/builders",
        "/builders/1",
        "/pending",
        "/workers",
        "/changes",
        "/config",
        "/nosuch",
        "/metrics",
    ];
    let mut packed = 0;
    for path in recorded.chain(pages) {
        let plain = send(server.address, "GET", path, &[], "").await;
        for encodings in ["gzip, deflate, br, zstd", "gzip, deflate", "gzip", "br;q=1.0, gzip;q=0.5, *;q=0"] {
            let mut reply = send(server.address, "GET", path, &[("Accept-Encoding", encodings)], "").await;
            assert_eq!(reply.status, plain.status, "{path} {encodings}");
            if let Some(encoding) = reply.header("content-encoding") {
                assert_eq!(encoding, "gzip", "{path} {encodings}");
                packed += 1;
                let mut unpacked = Vec::new();
                flate2::read::GzDecoder::new(&reply.body[..]).read_to_end(&mut unpacked).unwrap();
                reply.body = unpacked;
            }
            // Heartbeats and ages go on.
            assert!(
                path == "/metrics" || reply.body.len().abs_diff(plain.body.len()) < 8,
                "{path} {encodings}"
            );
        }
    }
    assert!(packed > 500, "{packed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_logs_are_whole_when_packed() {
    let server = Server::golden().await;
    for path in ["/api/v2/logs/32/raw", "/api/v2/logs/32/raw_inline", "/api/v2/logs/33/raw"] {
        let plain = send(server.address, "GET", path, &[], "").await;
        assert!(!plain.body.is_empty(), "{path}");
        let packed =
            send(server.address, "GET", path, &[("Accept-Encoding", "gzip, deflate, br, zstd")], "").await;
        assert_eq!((packed.status, packed.header("content-encoding")), (200, Some("gzip")), "{path}");
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain.body, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_decoded_part_by_part() {
    let server = Server::golden().await;
    assert_eq!(get(server.address, "/api/v2/builders/build%20fail").await.status, 200);
    assert_eq!(get(server.address, "/api/v2/builders/2%2Fbuilds").await.status, 404);
    assert_eq!(
        get(server.address, "/api/v2/builds?state_string__contains=build+successful").await.json()["meta"]["total"],
        9
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_interface_is_told_who_and_where_it_is() {
    let server = Server::empty().await;
    let reply = get(server.address, "/config").await;
    assert_eq!(reply.header("cache-control"), Some("public,max-age=0"));
    let config = reply.json();
    assert_eq!(config["user"], json!({"anonymous": true}));
    assert_eq!(
        (&config["title"], &config["buildbotURL"]),
        (&json!("Demo"), &json!("http://127.0.0.1:8010/"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_and_the_end_takes_no_new_connections() {
    let mut server = Server::empty().await;
    let figures = get(server.address, "/metrics").await;
    assert_eq!((figures.status, figures.text()), (200, "muster_up 1\n"));
    assert_eq!(figures.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(get(server.address, "/livez").await.status, 200);
    assert_eq!(get(server.address, "/readyz").await.status, 200);
    server.end().await;
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}
