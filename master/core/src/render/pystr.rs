//! Values as Python's `str()`, `repr()` and `ascii()` write them.

use std::fmt::Write;

use base64::Engine;
use serde_json::{Number, Value};

use crate::integers;

/// `str(value)`.
pub fn py_str(value: &Value) -> String {
    match value {
        Value::String(text) => integers::digits(text).unwrap_or(text).to_owned(),
        other => py_repr(other),
    }
}

/// `repr(value)`.
pub fn py_repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(&mut out, value, false);
    out
}

/// `ascii(value)`.
pub(super) fn py_ascii(value: &Value) -> String {
    let mut out = String::new();
    write_repr(&mut out, value, true);
    out
}

/// Truth as Python sees it.
pub fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(items) => !items.is_empty(),
    }
}

/// The text, where the value is one.
pub(super) fn text_of(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| integers::digits(text).is_none())
}

/// An integer or a boolean as a number. One of more than 128 bits is none here.
pub(super) fn int_of(value: &Value) -> Option<i128> {
    match value {
        Value::Bool(flag) => Some(i128::from(*flag)),
        Value::Number(n) => n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from)),
        Value::String(_) => integers::of_value(value)?.parse().ok(),
        _ => None,
    }
}

/// A number, an integer of any size or a boolean as a float.
pub(super) fn float_of(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::Number(number) => number.as_f64(),
        Value::String(_) => integers::of_value(value)?.parse().ok(),
        _ => None,
    }
}

/// Python's name of the type.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(text) if integers::digits(text).is_some() => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(object) if bytes_of(object).is_some() => "bytes",
        Value::Object(_) => "dict",
    }
}

fn bytes_of(object: &serde_json::Map<String, Value>) -> Option<Vec<u8>> {
    if object.get("$r")?.as_str()? != "bytes" {
        return None;
    }
    base64::engine::general_purpose::STANDARD.decode(object.get("b64")?.as_str()?).ok()
}

fn write_repr(out: &mut String, value: &Value, ascii: bool) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::String(text) => match integers::digits(text) {
            Some(digits) => out.push_str(digits),
            None => write_quoted(out, text, ascii),
        },
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write_repr(out, item, ascii);
            }
            out.push(']');
        }
        Value::Object(object) => match bytes_of(object) {
            Some(bytes) => write_bytes(out, &bytes),
            None => write_dict(out, object, ascii),
        },
    }
}

fn write_dict(out: &mut String, object: &serde_json::Map<String, Value>, ascii: bool) {
    out.push('{');
    for (i, (key, item)) in object.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write_quoted(out, key, ascii);
        out.push_str(": ");
        write_repr(out, item, ascii);
    }
    out.push('}');
}

/// Python takes single quotes unless that needs more escaping.
fn quote_for(has_single: bool, has_double: bool) -> char {
    if has_single && !has_double { '"' } else { '\'' }
}

fn write_quoted(out: &mut String, text: &str, ascii: bool) {
    let quote = quote_for(text.contains('\''), text.contains('"'));
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() || (ascii && !c.is_ascii()) => write_escape(out, c),
            c => out.push(c),
        }
    }
    out.push(quote);
}

fn write_escape(out: &mut String, c: char) {
    let code = u32::from(c);
    let written = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
    written.expect("writing to a String never fails");
}

fn write_bytes(out: &mut String, bytes: &[u8]) {
    let quote = quote_for(bytes.contains(&b'\''), bytes.contains(&b'"'));
    out.push('b');
    out.push(quote);
    for &byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b if char::from(b) == quote => out.extend(['\\', quote]),
            0x20..=0x7e => out.push(char::from(byte)),
            _ => write_escape(out, char::from(byte)),
        }
    }
    out.push(quote);
}

/// A number as Python writes it: floats always show that they are floats.
fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float_text(float),
        _ => number.to_string(),
    }
}

/// Shortest text that gives the same float; exponents from 1e16 on and below 1e-4.
fn float_text(float: f64) -> String {
    let magnitude = float.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let text = format!("{float:e}");
        return match text.split_once('e') {
            Some((mantissa, exponent)) => match exponent.strip_prefix('-') {
                Some(digits) => format!("{mantissa}e-{digits:0>2}"),
                None => format!("{mantissa}e+{exponent:0>2}"),
            },
            None => text,
        };
    }
    let text = float.to_string();
    if text.contains('.') { text } else { text + ".0" }
}
