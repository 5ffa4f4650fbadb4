//! JSON as Buildbot writes it: sorted keys; compact for programs, indented for people.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use muster_core::python_json;
use serde::Serialize;
use serde_json::{Map, Value, ser::Formatter};

/// How much white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `,` and `:`.
    Compact,
    /// Two spaces of indentation, `", "` at line ends, `": "`.
    Indented,
    /// `", "` and `": "` on one line.
    Spaced,
}

/// The text of `value`, its keys sorted on every level. Lone surrogates and long integers are as Python writes them.
pub(crate) fn text(value: Value, layout: Layout) -> String {
    let text = written(value, layout);
    match python_json::restored(&text) {
        Cow::Owned(escaped) => escaped,
        Cow::Borrowed(_) => text,
    }
}

fn written(value: Value, layout: Layout) -> String {
    let value = sorted(value);
    if layout == Layout::Compact {
        return value.to_string();
    }
    let mut bytes = Vec::new();
    let indented = layout == Layout::Indented;
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut bytes, Python { indented, depth: 0, filled: false });
    let written = value.serialize(&mut serializer);
    written.expect("a JSON value is written to memory without errors");
    String::from_utf8(bytes).expect("the serializer writes UTF-8")
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Object(members) => {
            let mut members: Vec<(String, Value)> =
                members.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(members.into_iter().collect::<Map<_, _>>())
        }
        simple => simple,
    }
}

/// White space as Python's `json.dumps` puts it.
struct Python {
    indented: bool,
    depth: usize,
    filled: bool,
}

impl Python {
    fn break_line(&self, writer: &mut (impl Write + ?Sized)) -> io::Result<()> {
        if !self.indented {
            return Ok(());
        }
        writer.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| writer.write_all(b"  "))
    }

    fn begin(&mut self, writer: &mut (impl Write + ?Sized), bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        writer.write_all(bracket)
    }

    fn next(&mut self, writer: &mut (impl Write + ?Sized), first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(b", ")?;
        }
        self.break_line(writer)
    }

    fn end(&mut self, writer: &mut (impl Write + ?Sized), bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.filled {
            self.break_line(writer)?;
        }
        self.filled = true;
        writer.write_all(bracket)
    }
}

impl Formatter for Python {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.next(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.next(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn layouts_are_pythons() {
        let value = || json!({"b": [1, {}], "a": {"d": [], "c": null}});
        assert_eq!(text(value(), Layout::Compact), r#"{"a":{"c":null,"d":[]},"b":[1,{}]}"#);
        assert_eq!(text(value(), Layout::Spaced), r#"{"a": {"c": null, "d": []}, "b": [1, {}]}"#);
        let indented =
            "{\n  \"a\": {\n    \"c\": null, \n    \"d\": []\n  }, \n  \"b\": [\n    1, \n    {}\n  ]\n}";
        assert_eq!(text(value(), Layout::Indented), indented);
        assert_eq!(text(json!("caf\u{10dce9}"), Layout::Compact), r#""caf\udce9""#);
    }
}
