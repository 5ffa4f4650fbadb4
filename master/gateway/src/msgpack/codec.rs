//! msgpack values. The encoder writes what the stock peers write, byte for byte.

use muster_core::surrogates;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};

use super::MESSAGE_LIMIT;
use crate::value::Value;

/// Deepest nesting that is decoded; real messages need about eight.
const MAX_DEPTH: usize = 64;

/// Elements of one message. A byte on the wire becomes dozens in memory.
const MAX_ELEMENTS: usize = 1 << 18;

/// Why bytes are no message, or a value can't be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Longer than a message may be.
    #[error("a message of {0} bytes is over the limit of {MESSAGE_LIMIT}")]
    TooLong(usize),
    /// Over [`MAX_ELEMENTS`].
    #[error("a message has more than {MAX_ELEMENTS} elements")]
    TooMany,
    /// Not msgpack, or too deep.
    #[error("{0}")]
    Malformed(String),
}

/// The bytes of a value.
///
/// # Errors
/// When it holds a reference to an object, which msgpack does not have.
pub fn encode(value: &Value) -> Result<Vec<u8>, CodecError> {
    rmp_serde::to_vec(&Wired(value)).map_err(|error| CodecError::Malformed(error.to_string()))
}

/// The value in one message.
///
/// # Errors
/// When it is none, too long or too deep, or bytes follow.
pub fn decode(bytes: &[u8]) -> Result<Value, CodecError> {
    if bytes.len() > MESSAGE_LIMIT {
        return Err(CodecError::TooLong(bytes.len()));
    }
    // Every element has a first byte of its own outside of strings, so this count is never too low.
    if bytes.len() > MAX_ELEMENTS && elements(bytes).is_none_or(|count| count > MAX_ELEMENTS) {
        return Err(CodecError::TooMany);
    }
    let mut reader = rmp_serde::Deserializer::new(std::io::Cursor::new(bytes));
    reader.set_max_depth(MAX_DEPTH);
    let Unwired(value) =
        Unwired::deserialize(&mut reader).map_err(|error| CodecError::Malformed(error.to_string()))?;
    match reader.position() as usize {
        end if end == bytes.len() => Ok(value),
        end => Err(CodecError::Malformed(format!("{} bytes follow the message", bytes.len() - end))),
    }
}

/// Counts the elements by walking over their headers; `None` when the bytes end too early or mean nothing.
fn elements(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut count) = (0, 0_usize);
    while at < bytes.len() {
        let head = bytes[at];
        let long = |width: usize| {
            let digits = bytes.get(at + 1..at + 1 + width)?;
            Some(digits.iter().fold(0_usize, |number, digit| number << 8 | usize::from(*digit)))
        };
        let payload = match head {
            0x00..=0x9f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => 0,
            0xa0..=0xbf => usize::from(head & 0x1f),
            0xc4 | 0xd9 => 1 + long(1)?,
            0xc5 | 0xda => 2 + long(2)?,
            0xc6 | 0xdb => 4 + long(4)?,
            0xca | 0xce | 0xd2 | 0xdd | 0xdf => 4,
            0xcb | 0xcf | 0xd3 => 8,
            0xcc | 0xd0 => 1,
            0xcd | 0xd1 | 0xdc | 0xde => 2,
            _ => return None,
        };
        at = at.checked_add(1 + payload)?;
        count += 1;
    }
    Some(count)
}

struct Wired<'a>(&'a Value);

impl Serialize for Wired<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::None => to.serialize_unit(),
            Value::Bool(yes) => to.serialize_bool(*yes),
            Value::Int(number) => match (u64::try_from(*number), i64::try_from(*number)) {
                (Ok(number), _) => to.serialize_u64(number),
                (_, Ok(number)) => to.serialize_i64(number),
                _ => Err(S::Error::custom("an integer of more than 64 bits")),
            },
            Value::Float(number) => to.serialize_f64(*number),
            Value::Bytes(bytes) => to.serialize_bytes(bytes),
            // A file name that is no UTF-8: workers take bytes where they take texts.
            Value::Text(text) if surrogates::has_any(text) => to.serialize_bytes(&surrogates::to_bytes(text)),
            Value::Text(text) => to.serialize_str(text),
            Value::List(values) | Value::Tuple(values) => {
                let mut list = to.serialize_seq(Some(values.len()))?;
                values.iter().try_for_each(|value| list.serialize_element(&Wired(value)))?;
                list.end()
            }
            Value::Dict(pairs) => {
                let mut map = to.serialize_map(Some(pairs.len()))?;
                pairs.iter().try_for_each(|(key, value)| map.serialize_entry(&Wired(key), &Wired(value)))?;
                map.end()
            }
            Value::Theirs(_) | Value::Ours(_) | Value::Instance { .. } => {
                Err(S::Error::custom("msgpack has no objects"))
            }
        }
    }
}

struct Unwired(Value);

impl<'de> Deserialize<'de> for Unwired {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Unwired, D::Error> {
        from.deserialize_any(Reader).map(Unwired)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("nil, a boolean, a number, text, bytes, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::None)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Value, E> {
        Ok(Value::Bool(yes))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Int(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        // Without the announced length: a few bytes may announce billions.
        let mut values = Vec::new();
        while let Some(Unwired(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((Unwired(key), Unwired(value))) = map.next_entry()? {
            pairs.push((key, value));
        }
        Ok(Value::Dict(pairs))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, _: D) -> Result<Value, D::Error> {
        Err(D::Error::custom("an extension type"))
    }
}
