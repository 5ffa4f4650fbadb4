//! What a load balancer and Prometheus ask a master.

use std::net::SocketAddr;

use muster_tests::{Master, Rest, Results, Site, http};
use serde_json::json;

const ONE_BUILDER: &str = r#"
builder("one", sh("echo built"))
"#;

/// The text of a path that must be served.
fn text(address: SocketAddr, path: &str) -> String {
    let answer = http::request(address, "GET", path, None).unwrap();
    assert_eq!(answer.status, 200, "{path}");
    String::from_utf8(answer.body).unwrap()
}

/// A sample of Prometheus' text format.
fn sample(figures: &str, name: &str) -> f64 {
    let line = figures.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} in {figures}")).parse().unwrap()
}

#[test]
fn a_probe_answers_on_a_port_of_its_own() {
    let site = Site::new();
    let probe = SocketAddr::from((Site::address(), Site::free_port()));
    let port = format!("tcp:{}:interface={}", probe.port(), probe.ip());
    let mut master = Master::new(&site, ONE_BUILDER).with_arguments(&["--probe", &port]);
    let rest = master.start();
    assert_eq!(text(probe, "/livez"), "ok\n");
    assert_eq!(text(probe, "/readyz"), "ok\n");
    assert_eq!(http::request(probe, "GET", "/api/v2/builders", None).unwrap().status, 404, "nothing else");

    let request = rest.force("one", json!({}));
    let figures = text(probe, "/metrics");
    assert_eq!(sample(&figures, "muster_build_requests_pending"), 1.0);
    assert_eq!(sample(&figures, "muster_database_up"), 1.0);
    assert!(sample(&figures, "process_resident_memory_bytes") > 1e6);
    let _worker = master.start_worker(&site);
    rest.built(request, Results::Success);
    let figures = text(master.web, "/metrics");
    assert_eq!(sample(&figures, "muster_build_requests_pending"), 0.0);
    assert!(sample(&figures, "muster_transaction_seconds_count{transaction=\"start_runs\"}") >= 1.0);
    assert!(master.stop().success());
}

/// Nobody logs in at the pages, so what ends a process is ordered where no page comes to.
#[test]
fn what_ends_processes_is_ordered_at_the_probe_only() {
    let site = Site::new();
    let probe = SocketAddr::from((Site::address(), Site::free_port()));
    let port = format!("tcp:{}:interface={}", probe.port(), probe.ip());
    let mut master = Master::new(&site, ONE_BUILDER).with_arguments(&["--probe", &port]);
    let rest = master.start();
    let mut worker = master.start_worker(&site);
    let id = rest.one("masters")["masterid"].clone();
    let orders = [
        (format!("masters/{id}"), "stop", json!({})),
        (format!("masters/{id}"), "stop", json!({"graceful": true})),
        ("workers/w1".to_owned(), "stop", json!({})),
        ("workers/w1".to_owned(), "kill", json!({})),
        (format!("masters/{id}/workers/w1"), "kill", json!({})),
        ("builders/1/workers/w1".to_owned(), "kill", json!({})),
    ];
    for (path, method, params) in &orders {
        let refused = rest.call(path, method, params.clone()).unwrap_err();
        let text = refused["error"]["message"].as_str().unwrap();
        assert!(text.contains("on the command line") && text.contains("--probe"), "{path}: {text}");
    }
    // Nothing was written down for later either.
    assert_eq!(master.database().number("SELECT count(*) FROM muster_control"), 0);
    rest.call("workers/w1", "pause", json!({})).unwrap();
    rest.call("workers/w1", "unpause", json!({})).unwrap();
    assert!(worker.process().is_running());

    let operators = Rest(probe);
    operators.call("workers/w1", "kill", json!({"reason": "it is mad"})).unwrap();
    assert!(worker.process().wait().success());
    operators.call(&format!("masters/{id}"), "stop", json!({})).unwrap();
    assert!(master.process().wait().success());
}

#[test]
fn a_probe_port_that_makes_no_sense_is_refused() {
    let site = Site::new();
    let mut master = Master::new(&site, ONE_BUILDER).with_arguments(&["--probe", "http"]);
    master.launch();
    master.process().wait_for("--probe: port \"http\": write a number");
    assert!(!master.process().wait().success());
}
