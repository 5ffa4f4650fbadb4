//! Router and client session under any sequence of messages: they answer, refuse or close, and keep nothing of who is gone.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod messages;

use std::collections::BTreeSet;
use std::sync::Arc;

use messages::{message, message_of, value};
use muster_router_compat::auth::Credentials;
use muster_router_compat::client::Client;
use muster_router_compat::message::Dict;
use muster_router_compat::router::{Output, PeerId, Router, RouterConfig, RouterMetrics};
use muster_router_compat::{Match, Message, Payload, Serialisation};
use proptest::prelude::*;
use serde_json::{Value, json};

const PEERS: u64 = 3;

/// Few ids, options and names, so that messages are about each other.
fn plausible() -> BoxedStrategy<Message> {
    let options = prop_oneof![
        4 => Just(json!({})),
        1 => Just(json!({"match": "prefix"})),
        1 => Just(json!({"match": "wildcard"})),
        1 => Just(json!({"exclude_me": false, "acknowledge": true, "disclose_me": true})),
        1 => value().prop_map(|any| json!({"match": any, "acknowledge": any})),
    ];
    let options = options.prop_map(|options| options.as_object().unwrap().clone());
    let names = prop_oneof![4 => Just("a.b".to_owned()), 1 => Just("a.".to_owned()), 1 => ".{0,6}"];
    message_of((1..=6_u64).boxed(), options.boxed(), names.boxed())
}

#[derive(Clone, Debug)]
enum Doing {
    Join(u64),
    Say(u64, Box<Message>),
    Vanish(u64),
}

fn doing() -> impl Strategy<Value = Doing> {
    let said = prop_oneof![9 => plausible(), 1 => message()];
    prop_oneof![
        3 => (1..=PEERS).prop_map(Doing::Join),
        20 => (1..=PEERS, said).prop_map(|(peer, message)| Doing::Say(peer, Box::new(message))),
        1 => (1..=PEERS).prop_map(Doing::Vanish),
    ]
}

proptest! {
    // Without a file of failures: what fails is written down as an example.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_router_answers_whoever_is_there_and_forgets_the_others(doings in proptest::collection::vec(doing(), 1..60)) {
        let mut router = Router::new(RouterConfig::open("r"), Arc::new(RouterMetrics::default()));
        let mut there = BTreeSet::new();
        for doing in doings {
            let mut out = Vec::new();
            match doing {
                Doing::Join(peer) => {
                    if there.insert(peer) {
                        router.connected(PeerId(peer), Serialisation::ALL[peer as usize % 2]);
                    }
                    router.received(PeerId(peer), Message::Hello { realm: "r".to_owned(), details: Dict::new() }, &mut out);
                }
                Doing::Say(peer, message) => router.received(PeerId(peer), *message, &mut out),
                Doing::Vanish(peer) => {
                    there.remove(&peer);
                    router.disconnected(PeerId(peer), &mut out);
                }
            }
            for output in out {
                let (Output::Send { to: peer, .. } | Output::Close(peer)) = output;
                prop_assert!(there.contains(&peer.0), "{peer} is not there");
            }
        }
        for peer in 1..=PEERS {
            router.disconnected(PeerId(peer), &mut Vec::new());
        }
        prop_assert_eq!(router.subscriptions(), 0);
    }

    #[test]
    fn the_client_takes_or_refuses_what_a_router_says(
        said in proptest::collection::vec(prop_oneof![9 => plausible(), 1 => message()], 1..30),
        joins in any::<bool>(),
    ) {
        let serialisation = Serialisation::MessagePack;
        let mut client = Client::new("r", Credentials::Anonymous, serialisation);
        if joins {
            let welcome = serialisation.encode(&Message::Welcome { session: 1, details: Dict::new() });
            client.received(&welcome.bytes).unwrap();
            client.subscribe(Match::Exact, "a.b").unwrap();
            client.call("a.b", Payload::one(Value::Null)).unwrap();
        }
        for message in said {
            if client.received(&serialisation.encode(&message).bytes).is_err() {
                break;
            }
        }
    }
}
