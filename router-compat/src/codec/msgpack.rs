//! MessagePack, as far as values of JSON go. Binary data becomes the text that WAMP prescribes for JSON: a NUL
//! character and base64.

use base64::Engine as _;
use muster_core::integers;
use serde_json::{Map, Number, Value};
use thiserror::Error;

use super::MAX_DEPTH;

/// Why bytes are no MessagePack.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReadError {
    /// The bytes end within a value.
    #[error("it ends within a value")]
    Truncated,
    /// Bytes are left over.
    #[error("there are bytes after the value")]
    TrailingBytes,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// A key of a map is no text.
    #[error("a key is no text")]
    KeyIsNoText,
    /// An extension, or the one byte that is never used.
    #[error("0x{0:02x} begins no value that WAMP knows")]
    Unsupported(u8),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("it is nested too deep")]
    TooDeep,
}

/// The one value in `bytes`.
pub fn read(bytes: &[u8]) -> Result<Value, ReadError> {
    let mut reader = Reader { rest: bytes };
    let value = reader.value(MAX_DEPTH)?;
    if reader.rest.is_empty() { Ok(value) } else { Err(ReadError::TrailingBytes) }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, ReadError> {
        let [marker] = self.array()?;
        Ok(match marker {
            0x00..=0x7f => marker.into(),
            0x80..=0x8f => self.map(usize::from(marker & 0x0f), depth)?,
            0x90..=0x9f => self.list(usize::from(marker & 0x0f), depth)?,
            0xa0..=0xbf => self.text(usize::from(marker & 0x1f))?.into(),
            0xc0 => Value::Null,
            0xc2 => false.into(),
            0xc3 => true.into(),
            0xc4..=0xc6 => {
                let length = self.length(marker - 0xc4)?;
                self.binary(length)?
            }
            0xca => number(f32::from_be_bytes(self.array()?).into()),
            0xcb => number(f64::from_be_bytes(self.array()?)),
            0xcc => u8::from_be_bytes(self.array()?).into(),
            0xcd => u16::from_be_bytes(self.array()?).into(),
            0xce => u32::from_be_bytes(self.array()?).into(),
            0xcf => u64::from_be_bytes(self.array()?).into(),
            0xd0 => i8::from_be_bytes(self.array()?).into(),
            0xd1 => i16::from_be_bytes(self.array()?).into(),
            0xd2 => i32::from_be_bytes(self.array()?).into(),
            0xd3 => i64::from_be_bytes(self.array()?).into(),
            0xd9..=0xdb => {
                let length = self.length(marker - 0xd9)?;
                self.text(length)?.into()
            }
            0xdc | 0xdd => {
                let length = self.length(marker - 0xdb)?;
                self.list(length, depth)?
            }
            0xde | 0xdf => {
                let length = self.length(marker - 0xdd)?;
                self.map(length, depth)?
            }
            0xe0..=0xff => i8::from_be_bytes([marker]).into(),
            0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => return Err(ReadError::Unsupported(marker)),
        })
    }

    /// A length of 1, 2 or 4 bytes, for a `size` of 0, 1 or 2.
    fn length(&mut self, size: u8) -> Result<usize, ReadError> {
        Ok(match size {
            0 => usize::from(u8::from_be_bytes(self.array()?)),
            1 => usize::from(u16::from_be_bytes(self.array()?)),
            _ => u32::from_be_bytes(self.array()?) as usize,
        })
    }

    fn list(&mut self, length: usize, depth: usize) -> Result<Value, ReadError> {
        let depth = depth.checked_sub(1).ok_or(ReadError::TooDeep)?;
        // Every element takes a byte, so a length that lies reserves no more than the frame has.
        let mut list = Vec::with_capacity(length.min(self.rest.len()));
        for _ in 0..length {
            list.push(self.value(depth)?);
        }
        Ok(Value::Array(list))
    }

    fn map(&mut self, length: usize, depth: usize) -> Result<Value, ReadError> {
        let depth = depth.checked_sub(1).ok_or(ReadError::TooDeep)?;
        let mut map = Map::with_capacity(length.min(self.rest.len() / 2));
        for _ in 0..length {
            let Value::String(key) = self.value(0).map_err(|_| ReadError::KeyIsNoText)? else {
                return Err(ReadError::KeyIsNoText);
            };
            map.insert(key, self.value(depth)?);
        }
        Ok(Value::Object(map))
    }

    fn text(&mut self, length: usize) -> Result<String, ReadError> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| ReadError::NotUtf8)?;
        Ok(text.to_owned())
    }

    fn binary(&mut self, length: usize) -> Result<Value, ReadError> {
        let mut text = String::from("\0");
        base64::engine::general_purpose::STANDARD.encode_string(self.take(length)?, &mut text);
        Ok(text.into())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ReadError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ReadError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(ReadError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// What JSON can't hold becomes null, as Buildbot does.
fn number(float: f64) -> Value {
    Number::from_f64(float).map_or(Value::Null, Value::Number)
}

/// Writes any value.
fn write(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => bytes.push(0xc0),
        Value::Bool(truth) => bytes.push(0xc2 + u8::from(*truth)),
        Value::Number(number) => write_number(bytes, number),
        // It has no longer integers: their digits are exact as a text, and as a float they would not be.
        Value::String(text) => write_text(bytes, integers::digits(text).unwrap_or(text)),
        Value::Array(list) => write_list(bytes, list),
        Value::Object(dict) => write_dict(bytes, dict),
    }
}

/// Writes an integer that is not negative.
pub fn write_unsigned(bytes: &mut Vec<u8>, number: u64) {
    if let Ok(small) = u8::try_from(number) {
        if small >= 0x80 {
            bytes.push(0xcc);
        }
        bytes.push(small);
    } else if let Ok(number) = u16::try_from(number) {
        bytes.push(0xcd);
        bytes.extend(number.to_be_bytes());
    } else if let Ok(number) = u32::try_from(number) {
        bytes.push(0xce);
        bytes.extend(number.to_be_bytes());
    } else {
        bytes.push(0xcf);
        bytes.extend(number.to_be_bytes());
    }
}

fn write_number(bytes: &mut Vec<u8>, number: &Number) {
    if let Some(number) = number.as_u64() {
        write_unsigned(bytes, number);
    } else if let Some(number) = number.as_i64() {
        match i8::try_from(number) {
            Ok(small @ -32..) => bytes.extend(small.to_be_bytes()),
            _ => {
                bytes.push(0xd3);
                bytes.extend(number.to_be_bytes());
            }
        }
    } else {
        bytes.push(0xcb);
        bytes.extend(number.as_f64().unwrap_or(f64::NAN).to_be_bytes());
    }
}

/// Writes a text.
pub fn write_text(bytes: &mut Vec<u8>, text: &str) {
    match text.len() {
        length @ 0..=31 => bytes.push(0xa0 | length as u8),
        length @ 32..=255 => bytes.extend([0xd9, length as u8]),
        length => write_length(bytes, 0xda, length),
    }
    bytes.extend_from_slice(text.as_bytes());
}

/// Writes a list.
pub fn write_list(bytes: &mut Vec<u8>, list: &[Value]) {
    match list.len() {
        length @ 0..=15 => bytes.push(0x90 | length as u8),
        length => write_length(bytes, 0xdc, length),
    }
    for value in list {
        write(bytes, value);
    }
}

/// Writes a map.
pub fn write_dict(bytes: &mut Vec<u8>, dict: &Map<String, Value>) {
    match dict.len() {
        length @ 0..=15 => bytes.push(0x80 | length as u8),
        length => write_length(bytes, 0xde, length),
    }
    for (key, value) in dict {
        write_text(bytes, key);
        write(bytes, value);
    }
}

/// A length of two bytes after `marker`, or of four after the marker that follows it.
fn write_length(bytes: &mut Vec<u8>, marker: u8, length: usize) {
    match u16::try_from(length) {
        Ok(length) => {
            bytes.push(marker);
            bytes.extend(length.to_be_bytes());
        }
        Err(_) => {
            let length = u32::try_from(length).expect("frames are far smaller than 4 GiB");
            bytes.push(marker + 1);
            bytes.extend(length.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_about_lengths_reserve_nothing() {
        assert_eq!(read(&[0xdd, 0xff, 0xff, 0xff, 0xff]), Err(ReadError::Truncated));
        assert_eq!(read(&[0xdf, 0xff, 0xff, 0xff, 0xff]), Err(ReadError::KeyIsNoText));
        assert_eq!(read(&[0xdb, 0xff, 0xff, 0xff, 0xff]), Err(ReadError::Truncated));
    }

    #[test]
    fn nesting_is_bounded() {
        assert_eq!(read(&[0x91; 100_000]), Err(ReadError::TooDeep));
        assert_eq!(read(&[0x81, 0x81]), Err(ReadError::KeyIsNoText));
    }

    #[test]
    fn binary_data_is_base64_after_a_nul() {
        assert_eq!(read(&[0xc4, 3, 1, 2, 3]).unwrap(), Value::from("\0AQID"));
    }

    #[test]
    fn the_rest_of_a_frame_is_refused() {
        assert_eq!(read(&[0xc0, 0xc0]), Err(ReadError::TrailingBytes));
        assert_eq!(read(&[0xc1]), Err(ReadError::Unsupported(0xc1)));
        assert_eq!(read(&[0xa1, 0xff]), Err(ReadError::NotUtf8));
    }
}
