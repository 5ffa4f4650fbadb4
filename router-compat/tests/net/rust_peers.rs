//! Two other implementations in Rust against our router: `wampire` as a client, `wampproto` as codec and session.

use std::sync::mpsc;

use futures_util::{SinkExt, StreamExt};
use muster_router_compat::auth::Secret;
use muster_router_compat::router::{Proof, RouterConfig};
use muster_router_compat::{Match, Serialisation};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use wampproto::authenticators::wampcra::WAMPCRAAuthenticator;
use wampproto::joiner::Joiner;
use wampproto::messages::message::Message as TheirMessage;
use wampproto::messages::{event::Event, publish::Publish, subscribe::Subscribe, types::Value};
use wampproto::serializers::{json::JSONSerializer, msgpack::MsgPackSerializer, serializer::Serializer};

use crate::support::{PATIENCE, REALM, TestClient, TestRouter};

/// `wampire` loses payloads with null, so there is none here.
#[tokio::test(flavor = "multi_thread")]
async fn wampire_publishes_and_subscribes() {
    let router = TestRouter::start(RouterConfig::open(REALM)).await;
    let mut ours = TestClient::open(&router.options()).await;
    ours.subscribe(Match::Prefix, "org.").await;
    let (url, (heard, events)) = (router.url().to_string(), mpsc::channel());
    let connection = wampire::Connection::new(&url, REALM);
    let mut client = tokio::task::spawn_blocking(move || connection.connect().unwrap()).await.unwrap();
    let tell =
        Box::new(move |args: wampire::List, _: wampire::Dict| heard.send(format!("{args:?}")).unwrap());
    let pattern = wampire::URI::new("org..new");
    client.subscribe_with_pattern(pattern, tell, wampire::MatchingPolicy::Wildcard).await.unwrap();

    let args = vec![wampire::Value::Integer(7), wampire::Value::String("ä".to_owned())];
    client.publish(wampire::URI::new("org.wampire.said"), Some(args), None).unwrap();
    assert_eq!(ours.event().await, ("org.wampire.said".to_owned(), 7.into()));
    ours.publish("org.builds.new", serde_json::json!({"a": 1})).await;
    let event = tokio::task::spawn_blocking(move || events.recv_timeout(PATIENCE).unwrap()).await.unwrap();
    assert!(event.contains('1'), "{event}");
    client.shutdown().await.unwrap();
    router.stop().await;
}

#[tokio::test]
async fn wampproto_authenticates_and_talks_in_both_serialisations() {
    let proof = Proof::WampCra { secret: Secret::new("s3cret"), salting: None };
    let router = TestRouter::start(RouterConfig::closed(REALM, "m1", proof)).await;
    talk(&router, Serialisation::Json, Box::new(JSONSerializer {})).await;
    talk(&router, Serialisation::MessagePack, Box::new(MsgPackSerializer {})).await;
    router.stop().await;
}

async fn talk(router: &TestRouter, serialisation: Serialisation, theirs: Box<dyn Serializer>) {
    let mut request = router.url().to_string().into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", serialisation.subprotocol().parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let frame = |bytes: Vec<u8>| match serialisation {
        Serialisation::Json => Message::text(String::from_utf8(bytes).unwrap()),
        Serialisation::MessagePack => Message::binary(bytes),
    };
    let authenticator = WAMPCRAAuthenticator::new("m1", "s3cret", Default::default());
    let mut joiner = Joiner::new(REALM, theirs.clone(), Box::new(authenticator));
    let hello = joiner.send_hello().unwrap();
    socket.send(frame(hello)).await.unwrap();
    while joiner.session_details().is_err() {
        let bytes = socket.next().await.unwrap().unwrap().into_data().to_vec();
        if let Some(answer) = joiner.receive(bytes).unwrap() {
            socket.send(frame(answer)).await.unwrap();
        }
    }

    let match_wildcard = [("match".to_owned(), Value::str("wildcard"))].into();
    let subscribe = Subscribe { request_id: 1, options: match_wildcard, topic: "org..new".to_owned() };
    let publish = Publish {
        request_id: 2,
        options: [("exclude_me".to_owned(), Value::Bool(false))].into(),
        topic: "org.builds.new".to_owned(),
        args: Some(vec![Value::Null, Value::Int(1 << 53), Value::str("ä")]),
        kwargs: None,
    };
    for message in [&subscribe as &dyn TheirMessage, &publish] {
        socket.send(frame(theirs.serialize(message).unwrap())).await.unwrap();
    }
    socket.next().await.unwrap().unwrap();
    let bytes = socket.next().await.unwrap().unwrap().into_data().to_vec();
    let message = theirs.deserialize(bytes).unwrap();
    let event = message.as_any().downcast_ref::<Event>().unwrap();
    assert_eq!(event.args, publish.args);
    assert_eq!(event.details["topic"], Value::str("org.builds.new"));
}
