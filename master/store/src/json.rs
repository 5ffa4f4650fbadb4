//! JSON text in the form of Python's `json.dumps`: `", "` and `": "` between things, only ASCII.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use muster_core::{integers, surrogates::surrogate};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// The text of `value`.
pub(crate) fn python_text(value: &impl Serialize) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, PythonFormatter))?;
    let text = String::from_utf8(bytes).map_err(|_| serde::ser::Error::custom("JSON is always UTF-8"))?;
    Ok(match integers::numbers_in_ascii(&text) {
        Cow::Owned(numbers) => numbers,
        Cow::Borrowed(_) => text,
    })
}

struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for c in fragment.chars() {
            // Python escapes DEL-and-above outside ASCII only; characters beyond the BMP become two surrogates.
            if c.is_ascii() {
                writer.write_all(&[c as u8])?;
            } else if let Some(unit) = surrogate(c) {
                write!(writer, "\\u{unit:04x}")?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_surrogate_is_pythons_escape() {
        assert_eq!(python_text(&"caf\u{10dce9}").unwrap(), r#""caf\udce9""#);
    }

    #[test]
    fn an_integer_beyond_64_bits_is_a_number() {
        let value = serde_json::json!({"n": integers::parse("1180591620717411303424"), "t": "1180591620717411303424"});
        assert_eq!(
            python_text(&value).unwrap(),
            r#"{"n": 1180591620717411303424, "t": "1180591620717411303424"}"#
        );
    }

    #[test]
    fn text_is_pythons() {
        let value = serde_json::json!({"a": [1, "é😀\n", null], "b": {}});
        assert_eq!(python_text(&value).unwrap(), r#"{"a": [1, "\u00e9\ud83d\ude00\n", null], "b": {}}"#);
    }
}
