//! Messages of all kinds with any content.

use muster_router_compat::message::{Dict, Id, MAX_ID};
use muster_router_compat::{Message, Payload};
use proptest::prelude::*;
use serde_json::Value;

pub fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e15..1e15_f64).prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 20, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            proptest::collection::hash_map(".{0,8}", inner, 0..20)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn dict() -> impl Strategy<Value = Dict> {
    proptest::collection::hash_map("[a-z]{1,4}", value(), 0..3).prop_map(|map| map.into_iter().collect())
}

fn payload() -> impl Strategy<Value = Payload> {
    (proptest::collection::vec(value(), 0..3), dict()).prop_map(|(args, kwargs)| Payload { args, kwargs })
}

/// Any message, with any ids and texts.
pub fn message() -> BoxedStrategy<Message> {
    message_of((1..=MAX_ID).boxed(), dict().boxed(), ".{0,40}".boxed())
}

/// Any message whose ids, dictionaries and texts are some of these.
pub fn message_of(
    id: BoxedStrategy<Id>,
    dict: BoxedStrategy<Dict>,
    text: BoxedStrategy<String>,
) -> BoxedStrategy<Message> {
    let ids = || (id.clone(), id.clone());
    let named = || (id.clone(), dict.clone(), text.clone());
    prop_oneof![
        opening(&id, &dict, &text),
        (id.clone(), named(), payload()).prop_map(|(kind, (request, details, error), payload)| {
            Message::Error { kind, request, details, error, payload }
        }),
        (named(), payload()).prop_map(|((request, options, topic), payload)| Message::Publish {
            request,
            options,
            topic,
            payload
        }),
        ids().prop_map(|(request, publication)| Message::Published { request, publication }),
        named().prop_map(|(request, options, topic)| Message::Subscribe { request, options, topic }),
        ids().prop_map(|(request, subscription)| Message::Subscribed { request, subscription }),
        ids().prop_map(|(request, subscription)| Message::Unsubscribe { request, subscription }),
        id.clone().prop_map(|request| Message::Unsubscribed { request }),
        (ids(), dict.clone(), payload()).prop_map(|((subscription, publication), details, payload)| {
            Message::Event { subscription, publication, details, payload }
        }),
        calling(&id, &dict, &text),
    ]
    .boxed()
}

fn opening(
    id: &BoxedStrategy<Id>,
    dict: &BoxedStrategy<Dict>,
    text: &BoxedStrategy<String>,
) -> BoxedStrategy<Message> {
    let pair = || (text.clone(), dict.clone());
    prop_oneof![
        pair().prop_map(|(realm, details)| Message::Hello { realm, details }),
        (id.clone(), dict.clone()).prop_map(|(session, details)| Message::Welcome { session, details }),
        pair().prop_map(|(reason, details)| Message::Abort { reason, details }),
        pair().prop_map(|(method, extra)| Message::Challenge { method, extra }),
        pair().prop_map(|(signature, extra)| Message::Authenticate { signature, extra }),
        pair().prop_map(|(reason, details)| Message::Goodbye { reason, details }),
    ]
    .boxed()
}

fn calling(
    id: &BoxedStrategy<Id>,
    dict: &BoxedStrategy<Dict>,
    text: &BoxedStrategy<String>,
) -> BoxedStrategy<Message> {
    let ids = || (id.clone(), id.clone());
    let with = || (id.clone(), dict.clone());
    prop_oneof![
        (with(), text.clone(), payload()).prop_map(|((request, options), procedure, payload)| {
            Message::Call { request, options, procedure, payload }
        }),
        with().prop_map(|(request, options)| Message::Cancel { request, options }),
        (with(), payload()).prop_map(|((request, details), payload)| Message::Result {
            request,
            details,
            payload
        }),
        (with(), text.clone()).prop_map(|((request, options), procedure)| Message::Register {
            request,
            options,
            procedure
        }),
        ids().prop_map(|(request, registration)| Message::Registered { request, registration }),
        ids().prop_map(|(request, registration)| Message::Unregister { request, registration }),
        id.clone().prop_map(|request| Message::Unregistered { request }),
        (ids(), dict.clone(), payload()).prop_map(|((request, registration), details, payload)| {
            Message::Invocation { request, registration, details, payload }
        }),
        with().prop_map(|(request, options)| Message::Interrupt { request, options }),
        (with(), payload()).prop_map(|((request, options), payload)| Message::Yield {
            request,
            options,
            payload
        }),
    ]
    .boxed()
}
