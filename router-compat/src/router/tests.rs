//! The router as a state machine: messages in, messages out.

use serde_json::{Value, json};

use super::*;
use crate::auth::{Credentials, Salting, Secret};
use crate::client::{Client, Incoming};

const REALM: &str = "realm1";

/// A router and what it has sent to each peer.
struct Bench {
    router: Router,
    metrics: Arc<RouterMetrics>,
    sent: BTreeMap<PeerId, Vec<Message>>,
    closed: Vec<PeerId>,
}

impl Bench {
    fn new(config: RouterConfig) -> Bench {
        assert_eq!(config.problems(), []);
        let metrics = Arc::new(RouterMetrics::default());
        let router = Router::new(config, metrics.clone());
        Bench { router, metrics, sent: BTreeMap::new(), closed: Vec::new() }
    }

    fn open() -> Bench {
        Bench::new(RouterConfig::open(REALM))
    }

    fn connect(&mut self, peer: u64, serialisation: Serialisation) {
        self.router.connected(PeerId(peer), serialisation);
    }

    fn join(&mut self, peer: u64) {
        self.connect(peer, Serialisation::Json);
        let answers = self.say(peer, hello(json!({})));
        assert!(matches!(answers.last(), Some(Message::Welcome { .. })), "{answers:?}");
    }

    fn say(&mut self, peer: u64, message: Message) -> Vec<Message> {
        let mut out = Vec::new();
        self.router.received(PeerId(peer), message, &mut out);
        self.take(out);
        self.heard(peer)
    }

    fn take(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Send { to, frame, .. } => {
                    let message = frame.serialisation.decode(&frame.bytes).unwrap();
                    self.sent.entry(to).or_default().push(message);
                }
                Output::Close(peer) => self.closed.push(peer),
            }
        }
    }

    fn heard(&mut self, peer: u64) -> Vec<Message> {
        self.sent.remove(&PeerId(peer)).unwrap_or_default()
    }

    fn subscribe(&mut self, peer: u64, matching: &str, topic: &str) -> Id {
        match self.say(peer, subscription(matching, topic)).as_slice() {
            [Message::Subscribed { subscription, .. }] => *subscription,
            other => panic!("{other:?}"),
        }
    }

    fn publish(&mut self, peer: u64, options: Value, topic: &str) -> Vec<Message> {
        let payload = Payload::one(json!({"a": null, "n": 9_007_199_254_740_992_u64}));
        self.say(
            peer,
            Message::Publish { request: 1, options: dict(options), topic: topic.to_owned(), payload },
        )
    }
}

fn dict(value: Value) -> Dict {
    value.as_object().unwrap().clone()
}

fn hello(details: Value) -> Message {
    Message::Hello { realm: REALM.to_owned(), details: dict(details) }
}

fn subscription(matching: &str, topic: &str) -> Message {
    let options = dict(json!({ "match": matching }));
    Message::Subscribe { request: 7, options, topic: topic.to_owned() }
}

fn error_of(messages: &[Message]) -> &str {
    match messages {
        [Message::Error { error, .. }] => error,
        [Message::Abort { reason, .. }] => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn events_reach_exact_prefix_and_wildcard_subscriptions() {
    let mut bench = Bench::open();
    bench.join(1);
    bench.connect(2, Serialisation::MessagePack);
    bench.say(2, hello(json!({})));
    let exact = bench.subscribe(2, "exact", "org.buildbot.mq.builds.1.new");
    let prefix = bench.subscribe(2, "prefix", "org.buildbot.");
    let wildcard = bench.subscribe(2, "wildcard", "org.buildbot.mq.builds..");
    bench.subscribe(2, "wildcard", "org.buildbot.mq.builds.");
    bench.publish(1, json!({}), "org.buildbot.mq.builds.1.new");
    let mut got = bench.heard(2).into_iter().map(|message| match message {
        Message::Event { subscription, details, payload, .. } => {
            assert_eq!(payload, Payload::one(json!({"a": null, "n": 9_007_199_254_740_992_u64})));
            (subscription, details.get("topic").cloned())
        }
        other => panic!("{other:?}"),
    });
    let topic = Some(json!("org.buildbot.mq.builds.1.new"));
    assert_eq!(got.next(), Some((exact, None)));
    assert_eq!(got.next(), Some((prefix, topic.clone())));
    assert_eq!(got.next(), Some((wildcard, topic)));
    assert_eq!(got.next(), None);
}

#[test]
fn a_publisher_is_left_out_unless_it_wants_its_own_events() {
    let mut bench = Bench::open();
    bench.join(1);
    bench.subscribe(1, "exact", "a.b");
    assert_eq!(bench.publish(1, json!({}), "a.b"), []);
    assert!(matches!(bench.publish(1, json!({"exclude_me": false}), "a.b")[..], [Message::Event { .. }]));
}

#[test]
fn a_publisher_chooses_who_hears_it() {
    let mut config = RouterConfig::closed(REALM, "m1", crate::router::Proof::Ticket(Secret::new("right")));
    let realm = config.realms.get_mut(REALM).unwrap();
    let m1 = realm.principals["m1"].clone();
    let other = realm.roles[&m1.role].clone();
    realm.roles.insert("page".to_owned(), other);
    realm.principals.insert("m2".to_owned(), m1.clone());
    realm.principals.insert("p1".to_owned(), Principal { role: "page".to_owned(), ..m1.clone() });
    let role = m1.role.clone();
    let mut bench = Bench::new(config);
    let mut sessions = Vec::new();
    for (peer, authid) in [(1, "m1"), (2, "m2"), (3, "p1")] {
        bench.connect(peer, Serialisation::Json);
        bench.say(peer, hello(json!({"authmethods": ["ticket"], "authid": authid})));
        let answer = Message::Authenticate { signature: "right".to_owned(), extra: Dict::new() };
        match &bench.say(peer, answer)[..] {
            [Message::Welcome { session, .. }] => sessions.push(*session),
            other => panic!("{other:?}"),
        }
        bench.subscribe(peer, "exact", "a.b");
    }
    for (mut options, heard) in [
        (json!({}), vec![1, 2, 3]),
        (json!({"exclude": [sessions[1]]}), vec![1, 3]),
        (json!({"eligible": [sessions[1]]}), vec![2]),
        (json!({"eligible": [sessions[1], 17]}), vec![2]),
        (json!({"eligible": [17]}), vec![]),
        (json!({"exclude_authid": ["m1", "nobody"]}), vec![2, 3]),
        (json!({"eligible_authid": ["m1", "p1"]}), vec![1, 3]),
        (json!({"exclude_authrole": ["page"]}), vec![1, 2]),
        (json!({"eligible_authrole": ["page"]}), vec![3]),
        (json!({"eligible_authrole": [role], "exclude_authid": ["m1"]}), vec![2]),
        (json!({"eligible": sessions, "eligible_authid": ["m2", "p1"], "exclude": [sessions[2]]}), vec![2]),
        (json!({"eligible": [], "exclude_authid": []}), vec![1, 2, 3]),
    ] {
        options["exclude_me"] = json!(false);
        let own = bench.publish(1, options.clone(), "a.b").len();
        let told = [own, bench.heard(2).len(), bench.heard(3).len()];
        let told: Vec<usize> = (1..=3).filter(|peer| told[peer - 1] > 0).collect();
        assert_eq!(told, heard, "{options}");
    }
    // Nobody hears what can't be understood.
    for options in [
        json!({"eligible": 5}),
        json!({"eligible": ["m1"]}),
        json!({"exclude_authid": [5]}),
        json!({"eligible_authrole": "page"}),
    ] {
        let mut asked = options.clone();
        asked["acknowledge"] = json!(true);
        assert_eq!(error_of(&bench.publish(1, asked, "a.b")), errors::OPTION_NOT_ALLOWED, "{options}");
        assert_eq!((bench.heard(2), bench.heard(3)), (vec![], vec![]), "{options}");
    }
}

#[test]
fn acknowledgements_come_when_they_are_asked_for() {
    let mut bench = Bench::open();
    bench.join(1);
    assert!(matches!(
        bench.publish(1, json!({"acknowledge": true}), "a.b")[..],
        [Message::Published { request: 1, .. }]
    ));
    assert_eq!(error_of(&bench.publish(1, json!({"acknowledge": true}), "a..b")), errors::INVALID_URI);
    assert_eq!(error_of(&bench.publish(1, json!({"acknowledge": true}), "wamp.x")), errors::NOT_AUTHORIZED);
    assert_eq!(bench.publish(1, json!({}), "a..b"), []);
    assert_eq!(bench.metrics.publications_refused.get(), 3);
}

#[test]
fn publishers_are_told_about_when_they_want_it() {
    let mut bench = Bench::open();
    bench.join(1);
    bench.join(2);
    bench.subscribe(2, "exact", "a.b");
    let disclosed = |messages: &[Message]| match messages {
        [Message::Event { details, .. }] => details.contains_key("publisher"),
        other => panic!("{other:?}"),
    };
    bench.publish(1, json!({}), "a.b");
    assert!(!disclosed(&bench.heard(2)));
    bench.publish(1, json!({"disclose_me": true}), "a.b");
    assert!(disclosed(&bench.heard(2)));
}

#[test]
fn subscriptions_end() {
    let mut bench = Bench::open();
    bench.join(1);
    bench.join(2);
    let id = bench.subscribe(1, "wildcard", "a.");
    assert_eq!(bench.subscribe(2, "wildcard", "a."), id, "one subscription for the same pattern");
    let end = Message::Unsubscribe { request: 8, subscription: id };
    assert_eq!(bench.say(1, end.clone()), [Message::Unsubscribed { request: 8 }]);
    assert_eq!(error_of(&bench.say(1, end)), errors::NO_SUCH_SUBSCRIPTION);
    assert_eq!(bench.publish(2, json!({"exclude_me": false}), "a.b").len(), 1);
    assert_eq!(bench.heard(1), []);
    bench.router.disconnected(PeerId(2), &mut Vec::new());
    assert_eq!(bench.router.subscriptions(), 0);
}

#[test]
fn a_peer_has_a_limited_number_of_subscriptions() {
    let mut config = RouterConfig::open(REALM);
    config.limits.subscriptions = 2;
    let mut bench = Bench::new(config);
    bench.join(1);
    bench.subscribe(1, "exact", "a");
    bench.subscribe(1, "exact", "b");
    bench.subscribe(1, "exact", "a");
    assert_eq!(error_of(&bench.say(1, subscription("exact", "c"))), errors::TOO_MANY);
    assert_eq!(bench.router.subscriptions(), 2);
}

#[test]
fn only_masters_may_publish_where_the_roles_say_so() {
    let viewer = Rule { publish: false, ..Rule::everything_under("org.buildbot.") };
    let roles = [
        ("viewer".to_owned(), Role { rules: vec![viewer] }),
        ("master".to_owned(), Role { rules: vec![Rule::everything_under("org.buildbot.")] }),
    ];
    let ticket = Proof::Ticket(Secret::new("letmein"));
    let realm = Realm {
        roles: roles.into(),
        anonymous: Some("viewer".to_owned()),
        principals: [("m1".to_owned(), Principal { role: "master".to_owned(), proof: ticket })].into(),
    };
    let config = RouterConfig {
        realms: [(REALM.to_owned(), realm)].into(),
        limits: Limits::default(),
        origins: Vec::new(),
    };
    let mut bench = Bench::new(config);
    bench.join(1);
    let refused = bench.publish(1, json!({"acknowledge": true}), "org.buildbot.mq.x");
    assert_eq!(error_of(&refused), errors::NOT_AUTHORIZED);
    assert_eq!(error_of(&bench.say(1, subscription("prefix", "org."))), errors::NOT_AUTHORIZED);
    bench.subscribe(1, "prefix", "org.buildbot.mq.");

    bench.connect(2, Serialisation::Json);
    let challenge = bench.say(2, hello(json!({"authmethods": ["ticket"], "authid": "m1"})));
    assert!(matches!(&challenge[..], [Message::Challenge { method, .. }] if method == "ticket"));
    let answer = Message::Authenticate { signature: "letmein".to_owned(), extra: Dict::new() };
    assert!(matches!(bench.say(2, answer)[..], [Message::Welcome { .. }]));
    bench.publish(2, json!({}), "org.buildbot.mq.x");
    assert_eq!(bench.heard(1).len(), 1);
}

#[test]
fn wrong_openings_are_refused() {
    let mut config = RouterConfig::closed(REALM, "m1", Proof::Ticket(Secret::new("right")));
    config.limits.peers = 10;
    let mut bench = Bench::new(config);
    let mut refused = |peer, messages: Vec<Message>| {
        bench.connect(peer, Serialisation::Json);
        let last = messages.into_iter().map(|message| bench.say(peer, message)).last().unwrap();
        assert_eq!(bench.closed.pop(), Some(PeerId(peer)));
        // What a refused peer still says has no effect.
        assert_eq!(bench.say(peer, hello(json!({}))), []);
        error_of(&last).to_owned()
    };
    let nowhere = Message::Hello { realm: "nowhere".to_owned(), details: Dict::new() };
    assert_eq!(refused(1, vec![nowhere]), "wamp.error.no_such_realm");
    assert_eq!(refused(2, vec![hello(json!({}))]), "wamp.error.no_auth_method");
    let offer = |authid: &str| hello(json!({"authmethods": ["anonymous", "ticket"], "authid": authid}));
    let answer = |ticket: &str| Message::Authenticate { signature: ticket.to_owned(), extra: Dict::new() };
    let failed = "wamp.error.authentication_failed";
    assert_eq!(refused(3, vec![offer("m1"), answer("wrong")]), failed);
    assert_eq!(refused(4, vec![offer("stranger"), answer("right")]), failed);
    assert_eq!(refused(5, vec![offer("m1"), subscription("exact", "a")]), errors::PROTOCOL_VIOLATION);
    assert_eq!(refused(6, vec![subscription("exact", "a")]), errors::PROTOCOL_VIOLATION);
    assert_eq!(bench.metrics.sessions_refused.get(), 4);
    assert_eq!(bench.metrics.protocol_violations.get(), 2);
}

/// Client and router talk until one of them has nothing to say.
fn authenticate(proof: Proof, credentials: Credentials) -> bool {
    let mut bench = Bench::new(RouterConfig::closed(REALM, "m1", proof));
    let mut client = Client::new(REALM, credentials, Serialisation::MessagePack);
    bench.connect(1, Serialisation::MessagePack);
    let mut said = client.hello();
    loop {
        let message = said.serialisation.decode(&said.bytes).unwrap();
        let [answer] = bench.say(1, message).try_into().unwrap();
        match client.received(&Serialisation::MessagePack.encode(&answer).bytes) {
            Ok(Some(Incoming::Reply(frame))) => said = frame,
            Ok(Some(Incoming::Joined { .. })) => return true,
            other => {
                assert!(other.is_err(), "{other:?}");
                return false;
            }
        }
    }
}

#[test]
fn wamp_cra_works_with_and_without_salt() {
    let authid = || "m1".to_owned();
    let as_m1 = |secret| Credentials::WampCra { authid: authid(), secret: Secret::new(secret) };
    let plain = || Proof::WampCra { secret: Secret::new("s3cret"), salting: None };
    let salting = Salting { salt: "pepper".to_owned(), iterations: 100, keylen: 32 };
    let derived = salting.derive(&Secret::new("s3cret"));
    let salted = || Proof::WampCra { secret: derived.clone(), salting: Some(salting.clone()) };
    assert!(authenticate(plain(), as_m1("s3cret")));
    assert!(authenticate(salted(), as_m1("s3cret")));
    assert!(!authenticate(plain(), as_m1("wrong")));
    assert!(!authenticate(salted(), as_m1("wrong")));
    assert!(!authenticate(plain(), Credentials::Anonymous));
    let ticket = Credentials::Ticket { authid: authid(), ticket: Secret::new("s3cret") };
    assert!(!authenticate(plain(), ticket));
}

#[test]
fn calls_find_their_procedure_and_come_back() {
    let mut bench = Bench::open();
    bench.join(1);
    bench.join(2);
    let register =
        |request| Message::Register { request, options: Dict::new(), procedure: "a.add".to_owned() };
    let call = |request| Message::Call {
        request,
        options: Dict::new(),
        procedure: "a.add".to_owned(),
        payload: Payload::one(json!(3)),
    };
    assert_eq!(error_of(&bench.say(2, call(1))), "wamp.error.no_such_procedure");
    let [Message::Registered { registration, .. }] = bench.say(1, register(1))[..] else { panic!() };
    assert_eq!(error_of(&bench.say(2, register(2))), "wamp.error.procedure_already_exists");

    bench.say(2, call(3));
    let [Message::Invocation { request, payload, .. }] = &bench.heard(1)[..] else { panic!() };
    assert_eq!(*payload, Payload::one(json!(3)));
    let payload = Payload::one(json!(4));
    bench.say(1, Message::Yield { request: *request, options: Dict::new(), payload: payload.clone() });
    assert_eq!(bench.heard(2), [Message::Result { request: 3, details: Dict::new(), payload }]);

    bench.say(2, call(4));
    let [Message::Invocation { request, .. }] = bench.heard(1)[..] else { panic!() };
    let (error, details, payload) = ("a.error".to_owned(), Dict::new(), Payload::default());
    bench.say(1, Message::Error { kind: kind::INVOCATION, request, details, error, payload });
    assert_eq!(error_of(&bench.heard(2)), "a.error");

    bench.say(2, call(5));
    let mut out = Vec::new();
    bench.router.disconnected(PeerId(1), &mut out);
    bench.take(out);
    assert_eq!(error_of(&bench.heard(2)), "wamp.error.canceled");
    bench.join(3);
    assert!(matches!(bench.say(3, register(1))[..], [Message::Registered { .. }]), "{registration}");
}

#[test]
fn garbage_and_misplaced_messages_end_a_session_and_nothing_else() {
    let mut bench = Bench::open();
    bench.join(1);
    bench.join(2);
    let error = Serialisation::Json.decode(b"[16, 1").unwrap_err();
    let mut out = Vec::new();
    bench.router.received_garbage(PeerId(1), &error, &mut out);
    bench.take(out);
    assert_eq!(error_of(&bench.heard(1)), errors::PROTOCOL_VIOLATION);
    let misplaced = Message::Welcome { session: 1, details: Dict::new() };
    assert_eq!(error_of(&bench.say(2, misplaced)), errors::PROTOCOL_VIOLATION);
    assert_eq!(bench.closed, [PeerId(1), PeerId(2)]);
    bench.join(3);
}

#[test]
fn realms_are_apart() {
    let mut config = RouterConfig::open(REALM);
    config.realms.insert("other".to_owned(), config.realms[REALM].clone());
    let mut bench = Bench::new(config);
    bench.join(1);
    bench.connect(2, Serialisation::Json);
    bench.say(2, Message::Hello { realm: "other".to_owned(), details: Dict::new() });
    bench.subscribe(2, "prefix", "");
    bench.publish(1, json!({}), "a.b");
    assert_eq!(bench.heard(2), []);
}

#[test]
fn everybody_is_told_when_the_router_stops() {
    let mut bench = Bench::open();
    bench.join(1);
    bench.connect(2, Serialisation::Json);
    let mut out = Vec::new();
    bench.router.shut_down(&mut out);
    bench.take(out);
    assert!(
        matches!(&bench.heard(1)[..], [Message::Goodbye { reason, .. }] if reason == errors::SYSTEM_SHUTDOWN)
    );
    assert_eq!(error_of(&bench.heard(2)), errors::SYSTEM_SHUTDOWN);
    assert_eq!(bench.closed, [PeerId(1), PeerId(2)]);
}
