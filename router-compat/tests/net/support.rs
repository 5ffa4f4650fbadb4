//! A router on a socket, and a client that waits.

use std::time::Duration;

use muster_router_compat::client::Incoming;
use muster_router_compat::message::Dict;
use muster_router_compat::net::tls::Identity;
use muster_router_compat::net::{ConnectOptions, Connection, Listener, RouterServer, address::RouterUrl};
use muster_router_compat::router::RouterConfig;
use muster_router_compat::{Id, Match, Payload};
use muster_tests::{Authority, certificates};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const REALM: &str = "realm1";
/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A certificate for a name.
pub fn identity(authority: &Authority, name: &str) -> Identity {
    let certificates::Identity { certificate, key } = authority.identity(name);
    Identity { certificate, key }
}

/// A router that serves until it is dropped or stopped.
pub struct TestRouter {
    pub server: RouterServer,
    pub port: Option<u16>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl TestRouter {
    pub async fn start(config: RouterConfig) -> TestRouter {
        TestRouter::on(config, Listener::tcp("127.0.0.1:0", None).await.unwrap())
    }

    pub fn on(config: RouterConfig, listener: Listener) -> TestRouter {
        assert_eq!(config.problems(), []);
        let (server, stop, port) = (RouterServer::new(config), CancellationToken::new(), listener.port());
        let (router, told) = (server.clone(), stop.clone());
        let serving = tokio::spawn(async move { router.serve(listener, told).await });
        TestRouter { server, port, stop, serving }
    }

    pub fn url(&self) -> RouterUrl {
        format!("ws://127.0.0.1:{}/ws", self.port.unwrap()).parse().unwrap()
    }

    pub fn options(&self) -> ConnectOptions {
        ConnectOptions::new(self.url(), REALM)
    }

    pub fn count(&self, name: &str) -> u64 {
        self.server.metrics().all().iter().find(|(known, _)| *known == name).unwrap().1
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}

/// Waits until `done` says so.
pub async fn until(what: &str, done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never came: {what}"));
}

/// A client with requests that wait for their answers.
pub struct TestClient(pub Connection);

impl TestClient {
    pub async fn open(options: &ConnectOptions) -> TestClient {
        TestClient(Connection::open(options).await.unwrap_or_else(|error| panic!("{}: {error}", options.url)))
    }

    pub async fn next(&mut self) -> Incoming {
        tokio::time::timeout(PATIENCE, self.0.next()).await.expect("nothing came").unwrap()
    }

    pub async fn subscribe(&mut self, matching: Match, uri: &str) -> Id {
        let (request, frame) = self.0.client().subscribe(matching, uri).unwrap();
        self.0.send([frame]).await.unwrap();
        match self.next().await {
            Incoming::Subscribed { request: answered, subscription } if answered == request => subscription,
            other => panic!("{other:?}"),
        }
    }

    pub async fn publish(&mut self, topic: &str, payload: Value) {
        let (_, frame) = self.0.client().publish(topic, Dict::new(), Payload::one(payload)).unwrap();
        self.0.send([frame]).await.unwrap();
    }

    /// The topic (empty for exact subscriptions) and the payload of the next event.
    pub async fn event(&mut self) -> (String, Value) {
        match self.next().await {
            Incoming::Event { details, payload, .. } => {
                let topic = details.get("topic").and_then(Value::as_str).unwrap_or_default().to_owned();
                (topic, payload.args.into_iter().next().unwrap())
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Two clients hear each other through patterns, and call each other.
pub async fn talk(subscriber: &ConnectOptions, publisher: &ConnectOptions) {
    let (mut one, mut two) = (TestClient::open(subscriber).await, TestClient::open(publisher).await);
    let payload =
        serde_json::json!({"id": 9_007_199_254_740_992_u64, "none": null, "text": "ä€😀", "x": [1.5, -1]});

    one.subscribe(Match::Wildcard, "org.buildbot.mq.control.worker.3.").await;
    two.publish("org.buildbot.mq.control.worker.4.stop", Value::Null).await;
    two.publish("org.buildbot.mq.control.worker.3.stop", payload.clone()).await;
    assert_eq!(one.event().await, ("org.buildbot.mq.control.worker.3.stop".to_owned(), payload.clone()));
    one.subscribe(Match::Prefix, "org.buildbot.mq.builds.").await;
    two.publish("org.buildbot.mq.builds.1.new", Value::Null).await;
    assert_eq!(one.event().await, ("org.buildbot.mq.builds.1.new".to_owned(), Value::Null));
    one.subscribe(Match::Exact, "org.buildbot.other").await;
    two.publish("org.buildbot.other", payload.clone()).await;
    assert_eq!(one.event().await.1, payload);

    let (_, frame) = one.0.client().register("org.buildbot.test.echo").unwrap();
    one.0.send([frame]).await.unwrap();
    assert!(matches!(one.next().await, Incoming::Registered { .. }));
    let (request, frame) =
        two.0.client().call("org.buildbot.test.echo", Payload::one(payload.clone())).unwrap();
    two.0.send([frame]).await.unwrap();
    let Incoming::Invocation { request: invocation, payload: called, .. } = one.next().await else {
        panic!()
    };
    let frame = one.0.client().result(invocation, called);
    one.0.send([frame]).await.unwrap();
    assert_eq!(two.next().await, Incoming::Result { request, payload: Payload::one(payload) });
    one.0.leave().await;
    two.0.leave().await;
}
