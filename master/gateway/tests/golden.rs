//! Recorded sessions between a stock master and stock workers: every byte is understood, and written again as it was.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use muster_gateway::banana::{self, Decoder, Item};
use muster_gateway::{jelly, msgpack};
use serde_json::Value as Json;

const PB: [&str; 7] =
    ["pb-build", "pb-steps", "pb-sendchange", "pb-try", "pb-try-list", "pb-duplicate", "pb-badauth"];
const MSGPACK: [&str; 4] = ["msgpack-build", "msgpack-steps", "msgpack-duplicate", "msgpack-badauth"];

/// All bytes of each direction of each connection.
fn streams(name: &str) -> BTreeMap<(u64, String), Vec<u8>> {
    let path = muster_golden::recorded(&format!("worker/{name}.raw.jsonl"));
    let text = std::fs::read_to_string(path).unwrap();
    let mut streams = BTreeMap::new();
    for line in text.lines() {
        let line: Json = serde_json::from_str(line).unwrap();
        let Some(bytes) = line["b64"].as_str() else { continue };
        let key = (line["conn"].as_u64().unwrap(), line["dir"].as_str().unwrap().to_owned());
        streams.entry(key).or_insert_with(Vec::new).extend(BASE64.decode(bytes).unwrap());
    }
    assert!(!streams.is_empty(), "{name}");
    streams
}

fn values(item: &Item) -> &[Item] {
    let Item::List(parts) = item else { return &[] };
    match parts.first() {
        Some(Item::Bytes(name)) if name == b"message" => &parts[5..],
        Some(Item::Bytes(name)) if name == b"answer" || name == b"error" => &parts[2..],
        _ => &[],
    }
}

#[test]
fn pb_sessions_are_decoded_and_encoded_byte_for_byte() {
    for name in PB {
        for (stream, bytes) in streams(name) {
            let mut decoder = Decoder::new(1 << 22);
            let (mut again, mut count) = (Vec::new(), 0);
            // As small as pieces can be: nothing may depend on how the bytes come.
            for piece in bytes.chunks(1) {
                decoder.push(piece);
                while let Some(item) = decoder.next().unwrap() {
                    // The list of dialects is no message yet, but its words are in no vocabulary.
                    banana::encode(&item, true, &mut again).unwrap();
                    count += 1;
                    for value in values(&item) {
                        jelly::decode(value.clone())
                            .unwrap_or_else(|error| panic!("{name}: {error}: {value:?}"));
                    }
                }
            }
            assert!(again == bytes, "{name} {stream:?}");
            assert!(count >= 2, "{name} {stream:?}");
        }
    }
}

#[test]
fn values_are_encoded_as_they_came() {
    for (stream, bytes) in streams("pb-steps") {
        let mut decoder = Decoder::new(1 << 22);
        decoder.push(&bytes);
        while let Some(item) = decoder.next().unwrap() {
            for value in values(&item) {
                let decoded = jelly::decode(value.clone()).unwrap();
                // From the other side's view, an object changes hands; failures share parts, which are written out.
                let there_and_back = jelly::decode(jelly::encode(&decoded)).unwrap();
                let again = jelly::decode(jelly::encode(&there_and_back)).unwrap();
                assert_eq!(again, decoded, "{stream:?}");
            }
        }
    }
}

/// The payloads of the binary frames after the HTTP header.
fn messages(bytes: &[u8]) -> Vec<Vec<u8>> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut rest = &bytes[end..];
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let (opcode, masked) = (rest[0] & 0x0f, rest[1] & 0x80 != 0);
        let (length, head) = match rest[1] & 0x7f {
            126 => (usize::from(u16::from_be_bytes([rest[2], rest[3]])), 4),
            127 => (usize::try_from(u64::from_be_bytes(rest[2..10].try_into().unwrap())).unwrap(), 10),
            short => (usize::from(short), 2),
        };
        let (mask, head) =
            if masked { (rest[head..head + 4].to_vec(), head + 4) } else { (vec![0; 4], head) };
        let payload = rest[head..head + length].iter().zip(mask.iter().cycle());
        if opcode == 2 {
            messages.push(payload.map(|(byte, mask)| byte ^ mask).collect());
        }
        rest = &rest[head + length..];
    }
    messages
}

#[test]
fn msgpack_sessions_are_decoded_and_encoded_byte_for_byte() {
    let mut count = 0;
    for name in MSGPACK {
        for (stream, bytes) in streams(name) {
            for message in messages(&bytes) {
                let value = msgpack::decode(&message).unwrap();
                assert!(value.get("op").is_some(), "{value:?}");
                assert!(msgpack::encode(&value).unwrap() == message, "{name} {stream:?}: {value:?}");
                count += 1;
            }
        }
    }
    assert!(count > 100, "{count} messages");
}
