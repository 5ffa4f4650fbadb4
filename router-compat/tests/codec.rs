//! The codec against recorded traffic, another implementation, and garbage.
//!
//! `PROPTEST_CASES=1000000 cargo test --release -p muster-router-compat --test codec --test machines` looks for longer.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod messages;

use messages::message;
use muster_router_compat::message::MAX_ID;
use muster_router_compat::{Message, Serialisation};
use proptest::prelude::*;
use serde_json::{Value, json};

fn decode_json(value: &Value) -> Result<Message, String> {
    Serialisation::Json.decode(value.to_string().as_bytes()).map_err(|error| error.to_string())
}

/// Messages of a Buildbot 4.3.0 master and Crossbar, in the form in which they were recorded.
#[test]
fn recorded_messages_survive_both_serialisations() {
    let recorded = [
        json!([1, "realm1", {"roles": {"subscriber": {"features": {"pattern_based_subscription": true}}}}]),
        json!([2, 6900486123666627_u64, {"realm": "realm1", "authextra": {"x_cb_pid": 15052}}]),
        json!([16, 1, {}, "org.buildbot.2.connected"]),
        json!([32, 2, {"match": "wildcard"}, "org.buildbot.mq.buildrequests..new"]),
        json!([33, 2, 7284955066719257_u64]),
        json!([16, 5, {"exclude_me": false}, "org.buildbot.mq.projects.1.update",
               [{"projectid": 1, "name": "proj1", "description_format": null, "active": null}]]),
        json!([36, 7284955066719257_u64, 4331516228250829_u64, {"topic": "org.buildbot.mq.buildrequests.18.cancel"},
               [null]]),
        json!([36, 1, 2, {}, [{"results": -1, "submitted_at": 1795228227, "priority": 0, "x": 1.5}]]),
        json!([34, 112, 3234893228111567_u64]),
        json!([35, 112]),
    ];
    for list in recorded {
        let message = decode_json(&list).unwrap();
        for serialisation in Serialisation::ALL {
            let frame = serialisation.encode(&message);
            assert_eq!(serialisation.decode(&frame.bytes).unwrap(), message);
        }
        let text = Serialisation::Json.encode(&message);
        assert_eq!(serde_json::from_slice::<Value>(&text.bytes).unwrap(), list);
    }
}

#[test]
fn wrong_messages_are_refused_with_their_reason() {
    for (list, words) in [
        (json!({}), "a list"),
        (json!([]), "a list"),
        (json!(["x"]), "begins with a number"),
        (json!([99, 1]), "no message has the number 99"),
        (json!([16, MAX_ID + 1, {}, "a"]), "an id from 1 to 2^53"),
        (json!([16, 0, {}, "a"]), "an id from 1 to 2^53"),
        (json!([16, 1.5, {}, "a"]), "an id from 1 to 2^53"),
        (json!([16, 1, {}]), "message 16: field 3 must be a text"),
        (json!([16, 1, [], "a"]), "a dictionary"),
        (json!([16, 1, {}, "a", {}]), "a list of arguments"),
        (json!([16, 1, {}, "a", [], []]), "a dictionary of arguments"),
    ] {
        let error = decode_json(&list).unwrap_err();
        assert!(error.contains(words), "{list}: {error}");
    }
    assert!(decode_json(&json!([16, MAX_ID, {}, "a"])).is_ok());
    assert!(Serialisation::Json.decode("[".repeat(100_000).as_bytes()).is_err());
}

proptest! {
    // Without a file of failures: what fails is written down as an example.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_survive_both_serialisations(message in message()) {
        for serialisation in Serialisation::ALL {
            let frame = serialisation.encode(&message);
            prop_assert_eq!(serialisation.decode(&frame.bytes).unwrap(), message.clone());
        }
    }

    #[test]
    fn garbage_is_an_error_or_a_message_but_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for serialisation in Serialisation::ALL {
            if let Ok(message) = serialisation.decode(&bytes) {
                let frame = serialisation.encode(&message);
                prop_assert!(serialisation.decode(&frame.bytes).is_ok());
            }
        }
    }

    #[test]
    fn damaged_messages_never_panic(message in message(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for serialisation in Serialisation::ALL {
            let mut bytes = serialisation.encode(&message).bytes.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            // Either is fine.
            let _ = serialisation.decode(&bytes);
            let _ = serialisation.decode(&bytes[..at]);
        }
    }
}
