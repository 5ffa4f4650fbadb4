//! Two masters' buses on one router, which comes and goes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use muster_bus::{Bus, Event, Received, Subscription, WampOptions};
use muster_core::TopicFilter;
use muster_router_compat::auth::{Credentials, Secret};
use muster_router_compat::net::tls::ClientTls;
use muster_router_compat::net::{ConnectOptions, Connection, Listener, RouterServer, address::RouterUrl};
use muster_router_compat::router::{Proof, RouterConfig};
use muster_router_compat::{Match, Payload, client::Incoming};
use muster_store::{Db, DbUrl};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const REALM: &str = "buildbot";
const PATIENCE: Duration = Duration::from_secs(20);

/// Something that runs until it is told to stop.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn spawn<F: Future<Output = ()> + Send + 'static>(run: impl FnOnce(CancellationToken) -> F) -> Running {
        let stop = CancellationToken::new();
        Running { task: tokio::spawn(run(stop.clone())), stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// A place where a router may be.
struct Site {
    directory: tempfile::TempDir,
    db: Db,
}

impl Site {
    async fn new() -> Site {
        let directory = tempfile::tempdir().unwrap();
        let url = DbUrl::parse("sqlite:///state.sqlite", directory.path()).unwrap();
        Db::upgrade(&url).await.unwrap();
        Site { db: Db::open(&url).await.unwrap(), directory }
    }

    fn url(&self) -> RouterUrl {
        RouterUrl::Unix(self.directory.path().join("router.sock"))
    }

    fn router(&self, config: RouterConfig) -> Running {
        let listener = Listener::unix(&self.directory.path().join("router.sock")).unwrap();
        Running::spawn(|stop| async move { RouterServer::new(config).serve(listener, stop).await })
    }

    fn options(&self, credentials: Credentials) -> WampOptions {
        WampOptions {
            url: self.url(),
            realm: REALM.to_owned(),
            credentials,
            tls: ClientTls::default(),
            orders_role: None,
        }
    }

    fn bus(&self, credentials: Credentials) -> (Bus, Running) {
        let (bus, driver) = Bus::wamp(self.options(credentials));
        (bus, Running::spawn(|stop| driver.run(stop)))
    }

    /// Publishes as everybody has to: after a commit.
    async fn publish(&self, bus: &Bus, paths: &[&str], payload: Value) {
        let event = Event::new(paths.iter().map(|path| (*path).to_owned()), payload);
        let event = &event;
        let committed = self
            .db
            .tx("publish", |_| async move { muster_store::Result::Ok(vec![event.clone()]) })
            .await
            .unwrap();
        bus.publish(committed);
    }
}

async fn next(subscription: &mut Subscription) -> Received {
    tokio::time::timeout(PATIENCE, subscription.next()).await.expect("nothing came").unwrap()
}

/// The topics and the payload of the next event; news about missed ones are passed over.
async fn event(subscription: &mut Subscription) -> (Vec<String>, Value) {
    loop {
        if let Received::Event(event) = next(subscription).await {
            return (event.topics.iter().map(ToString::to_string).collect(), event.payload.clone());
        }
    }
}

fn counter(bus: &Bus, name: &str) -> u64 {
    bus.counters().into_iter().find(|(known, _)| *known == name).unwrap().1
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never came: {what}"));
}

#[tokio::test]
async fn events_reach_the_other_master_once_for_each_name_and_their_own_master_once() {
    let site = Site::new().await;
    let router = site.router(RouterConfig::open(REALM));
    let ((one, driver_one), (two, driver_two)) =
        (site.bus(Credentials::Anonymous), site.bus(Credentials::Anonymous));
    assert!(one.ready(PATIENCE).await && two.ready(PATIENCE).await);
    let (mut at_one, mut at_two) = (one.subscribe(), two.subscribe());
    let payload = json!({"buildid": 1, "complete_at": null});
    site.publish(&one, &["builds/1/new", "workers/2/builds/1/new"], payload.clone()).await;
    let both = vec!["builds/1/new".to_owned(), "workers/2/builds/1/new".to_owned()];
    assert_eq!(event(&mut at_one).await, (both.clone(), payload.clone()));
    assert_eq!(event(&mut at_two).await, (vec![both[0].clone()], payload.clone()));
    assert_eq!(event(&mut at_two).await, (vec![both[1].clone()], payload));
    site.publish(&two, &["builds/1/finished"], Value::Null).await;
    assert_eq!(event(&mut at_one).await, (vec!["builds/1/finished".to_owned()], Value::Null));
    assert_eq!((counter(&one, "sent"), counter(&one, "received"), counter(&two, "received")), (2, 1, 2));
    driver_one.stop().await;
    driver_two.stop().await;
    router.stop().await;
}

/// A session as a Python master has it.
#[tokio::test]
async fn topics_and_payloads_are_those_of_buildbot() {
    let site = Site::new().await;
    let router = site.router(RouterConfig::open(REALM));
    let (bus, driver) = site.bus(Credentials::Anonymous);
    assert!(bus.ready(PATIENCE).await);
    let mut python = Connection::open(&ConnectOptions::new(site.url(), REALM)).await.unwrap();
    let (_, frame) =
        python.client().subscribe(Match::Wildcard, "org.buildbot.mq.buildrequests..new").unwrap();
    python.send([frame]).await.unwrap();
    assert!(matches!(python.next().await, Ok(Incoming::Subscribed { .. })));
    let payload = json!({"buildrequestid": 18, "claimed_at": null});
    site.publish(&bus, &["buildrequests/18/new"], payload.clone()).await;
    let Ok(Incoming::Event { details, payload: got, .. }) = python.next().await else { panic!() };
    assert_eq!(
        (details["topic"].as_str(), got),
        (Some("org.buildbot.mq.buildrequests.18.new"), Payload::one(payload))
    );

    let mut events = bus.subscribe();
    let options = || json!({"exclude_me": false}).as_object().cloned().unwrap();
    for (topic, payload) in [
        ("org.buildbot.2.connected", Payload::default()),
        ("org.buildbot.mq.buildrequests.18.cancel", Payload::one(Value::Null)),
    ] {
        let (_, frame) = python.client().publish(topic, options(), payload).unwrap();
        python.send([frame]).await.unwrap();
    }
    let Received::Event(event) = next(&mut events).await else { panic!() };
    assert!(event.matching(&TopicFilter::parse("buildrequests/*/cancel")).is_some());
    assert_eq!(event.payload, Value::Null);
    driver.stop().await;
    router.stop().await;
}

#[tokio::test]
async fn a_master_goes_on_without_the_router_and_looks_once_when_it_is_back() {
    let site = Site::new().await;
    let (bus, driver) = site.bus(Credentials::Anonymous);
    let mut events = bus.subscribe();
    site.publish(&bus, &["builds/1/new"], Value::Null).await;
    assert_eq!(event(&mut events).await.0, ["builds/1/new"]);
    assert_eq!(counter(&bus, "dropped_router_away"), 1);
    assert!(!bus.ready(Duration::ZERO).await);

    for life in 1..=3 {
        let router = site.router(RouterConfig::open(REALM));
        assert!(matches!(next(&mut events).await, Received::Missed(_)));
        assert_eq!(counter(&bus, "sessions"), life);
        let (other, other_driver) = site.bus(Credentials::Anonymous);
        assert!(other.ready(PATIENCE).await);
        site.publish(&other, &["builds/2/new"], json!(life)).await;
        assert_eq!(event(&mut events).await.1, json!(life));
        other_driver.stop().await;
        router.stop().await;
        until("the loss is noticed", || counter(&bus, "sessions_lost") == life).await;
    }
    driver.stop().await;
}

/// The one that is back first may have looked before the other one did what it could not tell.
#[tokio::test]
async fn a_master_that_is_back_late_lets_the_others_look_again() {
    let site = Site::new().await;
    let router = site.router(RouterConfig::open(REALM));
    let (early, driver) = site.bus(Credentials::Anonymous);
    assert!(early.ready(PATIENCE).await);
    let mut events = early.subscribe();

    let (late, late_driver) = Bus::wamp(site.options(Credentials::Anonymous));
    site.publish(&late, &["builds/1/finished"], Value::Null).await;
    assert_eq!(counter(&late, "dropped_router_away"), 1);
    let late_driver = Running::spawn(|stop| late_driver.run(stop));
    assert!(matches!(next(&mut events).await, Received::Missed(_)));
    site.publish(&late, &["builds/2/finished"], Value::Null).await;
    assert_eq!(event(&mut events).await.0, ["builds/2/finished"], "and only once");
    driver.stop().await;
    late_driver.stop().await;
    router.stop().await;
}

#[tokio::test]
async fn a_refused_master_tells_and_counts_and_does_not_hurry() {
    let site = Site::new().await;
    let proof = || Proof::Ticket(Secret::new("right"));
    let router = site.router(RouterConfig::closed(REALM, "m1", proof()));
    let ticket = |text: &str| Credentials::Ticket { authid: "m1".to_owned(), ticket: Secret::new(text) };
    let (good, good_driver) = site.bus(ticket("right"));
    let (bad, bad_driver) = site.bus(ticket("wrong"));
    assert!(good.ready(PATIENCE).await);
    until("it is refused again", || counter(&bad, "dials_refused") >= 2).await;
    assert_eq!(counter(&bad, "sessions"), 0);
    bad_driver.stop().await;
    good_driver.stop().await;
    router.stop().await;
}
