//! What strangers may send: every decoder ends with a value or an error, in bounded memory, and never panics.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use muster_gateway::banana::{self, BananaError, Decoder, Item, MAX_STRING};
use muster_gateway::broker::{Broker, BrokerError};
use muster_gateway::value::Value;
use muster_gateway::{jelly, msgpack};
use proptest::prelude::*;

const LIMIT: usize = 64 * 1024;

/// Decodes all; answers how many expressions came.
fn drain(decoder: &mut Decoder) -> Result<usize, BananaError> {
    let mut count = 0;
    while decoder.next()?.is_some() {
        count += 1;
    }
    Ok(count)
}

fn item() -> impl Strategy<Value = Item> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|number| Item::Int(number.into())),
        any::<i128>().prop_map(|number| Item::Int(number.max(i128::MIN + 1))),
        any::<f64>().prop_filter("equal to itself", |number| !number.is_nan()).prop_map(Item::Float),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Item::Bytes),
        prop_oneof![
            "None",
            "list",
            "remote",
            "unicode",
            "dereference",
            "message",
            "answer",
            "decref",
            "version"
        ]
        .prop_map(|word| Item::Bytes(word.as_bytes().to_vec())),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| proptest::collection::vec(inner, 0..8).prop_map(Item::List))
}

/// Bytes that are often almost banana.
fn almost_banana() -> impl Strategy<Value = Vec<u8>> {
    let written = item().prop_map(|item| {
        let mut bytes = Vec::new();
        banana::encode(&item, true, &mut bytes).unwrap();
        bytes
    });
    let mutated = (written, proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4));
    let mutated = mutated.prop_map(|(mut bytes, changes)| {
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes
    });
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..300), mutated]
}

proptest! {
    #[test]
    fn banana_comes_back(item in item(), vocabulary: bool) {
        let mut bytes = Vec::new();
        banana::encode(&item, vocabulary, &mut bytes).unwrap();
        let mut decoder = Decoder::new(LIMIT);
        for piece in bytes.chunks(3) {
            prop_assert_eq!(decoder.next().unwrap(), None);
            decoder.push(piece);
        }
        prop_assert_eq!(decoder.next().unwrap(), Some(item));
    }

    #[test]
    fn banana_does_not_depend_on_pieces(bytes in almost_banana(), size in 1_usize..20) {
        let mut whole = Decoder::new(LIMIT);
        whole.push(&bytes);
        let mut pieces = Decoder::new(LIMIT);
        let (mut count, mut failed) = (0, None);
        for piece in bytes.chunks(size) {
            pieces.push(piece);
            match drain(&mut pieces) {
                Ok(more) => count += more,
                Err(error) => { failed = Some(error); break }
            }
        }
        match (drain(&mut whole), failed) {
            (Ok(all), None) => prop_assert_eq!(all, count),
            (Err(one), Some(other)) => prop_assert_eq!(one, other),
            (one, other) => prop_assert!(false, "{:?} {:?}", one, other),
        }
    }

    #[test]
    fn jelly_ends(item in item()) {
        if let Ok(value) = jelly::decode(item) {
            let again = jelly::decode(jelly::encode(&value));
            prop_assert!(again.is_ok(), "{:?}", again);
        }
    }

    #[test]
    fn a_broker_ends(pieces in proptest::collection::vec(almost_banana(), 0..20)) {
        let mut broker: Broker<()> = Broker::new(LIMIT);
        broker.push(&[2, 0x82, b'p', b'b', 2, 0x80, 0x13, 0x87, 6, 0x81]);
        for piece in pieces {
            broker.push(&piece);
            let ended = loop {
                match broker.next_message() {
                    Ok(Some(_)) => {}
                    Ok(None) => break false,
                    Err(_) => break true,
                }
            };
            if ended { break }
        }
    }

    #[test]
    fn msgpack_ends(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(value) = msgpack::decode(&bytes) {
            let again = msgpack::decode(&msgpack::encode(&value).unwrap()).unwrap();
            // NaN is not equal to itself.
            prop_assert_eq!(format!("{:?}", again), format!("{:?}", value));
        }
    }
}

#[test]
fn numbers_are_written_as_the_stock_peers_write_them() {
    let cases: [(i128, &[u8]); 8] = [
        (0, &[0, 0x81]),
        (127, &[0x7f, 0x81]),
        (128, &[0, 1, 0x81]),
        (0x7fff_ffff, &[0x7f, 0x7f, 0x7f, 0x7f, 7, 0x81]),
        (0x8000_0000, &[0, 0, 0, 0, 8, 0x85]),
        (-1, &[1, 0x83]),
        (-0x8000_0000, &[0, 0, 0, 0, 8, 0x83]),
        (-0x8000_0001, &[1, 0, 0, 0, 8, 0x86]),
    ];
    for (number, expected) in cases {
        let mut bytes = Vec::new();
        banana::encode(&Item::Int(number), true, &mut bytes).unwrap();
        assert_eq!(bytes, expected, "{number}");
    }
}

#[test]
fn strings_have_the_limit_of_the_stock_peers() {
    let string = |length| Item::Bytes(vec![b'x'; length]);
    let mut bytes = Vec::new();
    banana::encode(&string(MAX_STRING), true, &mut bytes).unwrap();
    let mut decoder = Decoder::new(1 << 22);
    decoder.push(&bytes);
    assert_eq!(decoder.next().unwrap(), Some(string(MAX_STRING)));
    assert!(banana::encode(&Item::List(vec![string(MAX_STRING + 1)]), true, &mut bytes).is_err());
    // 655361 in digits, then a string.
    decoder.push(&[1, 0, 0x28, 0x82]);
    assert_eq!(decoder.next(), Err(BananaError::TooLong(MAX_STRING as u128 + 1)));
}

#[test]
fn nothing_announced_is_allocated() {
    // Lists of 655360 elements in lists, without a single element.
    let mut decoder = Decoder::new(LIMIT);
    decoder.push(&[0, 0, 0x28, 0x80].repeat(100));
    assert_eq!(drain(&mut decoder), Ok(0));
    decoder.push(&[0, 0, 0x28, 0x80]);
    assert_eq!(drain(&mut decoder), Err(BananaError::TooDeep));
    // More bytes than an expression may have.
    let mut decoder = Decoder::new(LIMIT);
    decoder.push(&[0, 0, 0x20, 0x82]);
    assert_eq!(drain(&mut decoder), Err(BananaError::TooLarge(LIMIT)));
    // A number that never ends.
    let mut decoder = Decoder::new(LIMIT);
    decoder.push(&[0x7f; 65]);
    assert_eq!(drain(&mut decoder), Err(BananaError::LongPrefix));
    // Arrays of billions in msgpack, and deep ones.
    assert!(msgpack::decode(&[0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
    assert!(msgpack::decode(&[0xdf, 0xff, 0xff, 0xff, 0xff, 0xc0, 0xc0]).is_err());
    assert!(msgpack::decode(&[0xc6, 0xff, 0xff, 0xff, 0xff, 0]).is_err());
    assert!(msgpack::decode(&[0x91; 100_000]).is_err());
    let many = [&[0xdd, 0, 0x3f, 0xff, 0xff][..], &vec![0xc0; 0x3f_ffff]].concat();
    assert!(msgpack::decode(&many).is_err(), "a byte each becomes dozens in memory");
}

#[test]
fn shared_parts_do_not_multiply() {
    let bytes = |text: &str| Item::Bytes(text.as_bytes().to_vec());
    let list = |items: Vec<Item>| Item::List(items);
    // Each part holds the one before ten times: ten to the power of ten elements.
    let mut outer = vec![bytes("list")];
    for number in 0..10 {
        let inner = match number {
            0 => vec![Item::Int(1); 10],
            _ => vec![list(vec![bytes("dereference"), Item::Int(number - 1)]); 10],
        };
        let part = list([vec![bytes("list")], inner].concat());
        outer.push(list(vec![bytes("reference"), Item::Int(number), part]));
    }
    assert_eq!(jelly::decode(list(outer)), Err(jelly::JellyError::TooLarge));
    let unknown = list(vec![bytes("dereference"), Item::Int(7)]);
    assert_eq!(jelly::decode(unknown), Err(jelly::JellyError::UnknownPart(7)));
}

#[test]
fn an_unknown_dialect_version_or_message_ends_the_connection() {
    let ends = |bytes: &[u8]| {
        let mut broker: Broker<()> = Broker::new(LIMIT);
        broker.push(bytes);
        broker.next_message().unwrap_err()
    };
    assert_eq!(ends(&[3, 0x82, b'f', b'o', b'o']), BrokerError::UnknownDialect);
    assert_eq!(ends(&[2, 0x82, b'p', b'b', 2, 0x80, 0x13, 0x87, 5, 0x81]), BrokerError::WrongVersion);
    let http = ends(
        b"GET / HTTP/1.1\r\nHost: example.org\r\nUser-Agent: somebody with a browser, and much to say\r\n",
    );
    assert!(matches!(http, BrokerError::Banana(BananaError::LongPrefix)), "{http}");
    let unknown =
        [&[2, 0x82, b'p', b'b', 2, 0x80, 0x13, 0x87, 6, 0x81][..], &[1, 0x80, 3, 0x82, b'f', b'o', b'o']]
            .concat();
    assert_eq!(ends(&unknown), BrokerError::Malformed("foo".into()));
}

#[test]
fn references_are_counted() {
    let mut broker: Broker<()> = Broker::new(LIMIT);
    while broker.output().is_some() {}
    broker.push(&[2, 0x82, b'p', b'b', 2, 0x80, 0x13, 0x87, 6, 0x81]);
    assert!(broker.next_message().unwrap().is_none());
    let object = broker.export();
    broker.answer(Some(1), &Value::Tuple(vec![Value::Ours(object), Value::Ours(object)])).unwrap();
    let mut decref = Vec::new();
    let message = Item::List(vec![Item::Bytes(b"decref".to_vec()), Item::Int(object.into())]);
    banana::encode(&message, true, &mut decref).unwrap();
    broker.push(&decref);
    assert!(broker.next_message().unwrap().is_none(), "one of two");
    broker.push(&decref);
    let released = broker.next_message().unwrap();
    assert!(
        matches!(released, Some(muster_gateway::broker::Message::Released(released)) if released == object)
    );
    broker.push(&decref);
    assert!(broker.next_message().unwrap().is_none(), "one too many is no harm");
}
