//! Values as Python's `pprint.pformat()` writes them: in lines of at most [`WIDTH`] characters where that is possible,
//! dictionaries ordered by key.

use serde_json::Value;

use super::pystr::py_repr;
use crate::integers;

/// Characters in a line.
const WIDTH: usize = 80;

/// `pprint.pformat(value)`.
pub fn pretty(value: &Value) -> String {
    let mut out = String::new();
    let value = sorted(value);
    write(&mut out, &value, Place { indent: 0, after: 0, depth: 1 });
    out
}

/// Where a value begins.
#[derive(Clone, Copy)]
struct Place {
    /// Characters before it in its line, which its further lines are indented by.
    indent: usize,
    /// Characters that follow in its last line.
    after: usize,
    /// 1 for the outermost value.
    depth: usize,
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(items) => {
            let mut items: Vec<(&String, Value)> =
                items.iter().map(|(key, item)| (key, sorted(item))).collect();
            items.sort_by_key(|(key, _)| *key);
            items.into_iter().map(|(key, item)| (key.clone(), item)).collect()
        }
        plain => plain.clone(),
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn write(out: &mut String, value: &Value, place: Place) {
    let line = py_repr(value);
    if place.indent + length(&line) + place.after <= WIDTH {
        return out.push_str(&line);
    }
    match value {
        Value::Array(items) if !items.is_empty() => {
            write_items(out, ['[', ']'], items.iter().map(|item| ("", item)), place)
        }
        Value::Object(items) if !items.is_empty() && !items.contains_key("$r") => {
            let items: Vec<(String, &Value)> =
                items.iter().map(|(key, item)| (py_repr(&key.as_str().into()) + ": ", item)).collect();
            write_items(out, ['{', '}'], items.iter().map(|(key, item)| (key.as_str(), *item)), place);
        }
        Value::String(text) if integers::digits(text).is_none() => write_text(out, text, place),
        _ => out.push_str(&line),
    }
}

/// Each item in a line of its own, with what stands before it.
fn write_items<'a>(
    out: &mut String,
    [open, close]: [char; 2],
    items: impl ExactSizeIterator<Item = (&'a str, &'a Value)>,
    place: Place,
) {
    let (indent, last) = (place.indent + 1, items.len() - 1);
    out.push(open);
    for (index, (before, item)) in items.enumerate() {
        if index > 0 {
            new_line(out, indent);
        }
        out.push_str(before);
        // A comma follows, or the bracket and what follows that.
        let after = if index == last { place.after + 1 } else { 1 };
        write(out, item, Place { indent: indent + length(before), after, depth: place.depth + 1 });
        if index < last {
            out.push(',');
        }
    }
    out.push(close);
}

/// A text in pieces: one for each of its lines, and for as many words of a longer one as have room. The outermost one
/// stands in parentheses.
fn write_text(out: &mut String, text: &str, place: Place) {
    let outermost = usize::from(place.depth == 1);
    let (indent, after) = (place.indent + outermost, place.after + outermost);
    let room = WIDTH.saturating_sub(indent);
    let quoted = |text: &str| py_repr(&text.into());
    let mut pieces = Vec::new();
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let room_at_end = if lines.peek().is_none() { room.saturating_sub(after) } else { room };
        let whole = quoted(line);
        if length(&whole) <= room_at_end {
            pieces.push(whole);
            continue;
        }
        let mut piece = String::new();
        let mut words = words(line).into_iter().peekable();
        while let Some(word) = words.next() {
            let room = if words.peek().is_none() { room_at_end } else { room };
            let longer = format!("{piece}{word}");
            if length(&quoted(&longer)) <= room {
                piece = longer;
                continue;
            }
            if !piece.is_empty() {
                pieces.push(quoted(&piece));
            }
            piece = word.to_owned();
        }
        pieces.push(quoted(&piece));
    }
    if pieces.len() == 1 {
        return out.push_str(&pieces[0]);
    }
    out.push_str(if place.depth == 1 { "(" } else { "" });
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            new_line(out, indent);
        }
        out.push_str(piece);
    }
    out.push_str(if place.depth == 1 { ")" } else { "" });
}

fn new_line(out: &mut String, indent: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Words with the space that follows each.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let word = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let space = rest[word..].find(|c: char| !c.is_whitespace()).unwrap_or(rest.len() - word);
        let (first, others) = rest.split_at(word + space);
        words.push(first);
        rest = others;
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::pretty;

    /// What Python 3.11 wrote for the same values.
    #[test]
    fn values_are_written_as_by_pprint() {
        assert_eq!(pretty(&json!({"b": [1, null], "a": "it's"})), r#"{'a': "it's", 'b': [1, None]}"#);
        let long = json!({
            "b": [1, 2, {"x": null}], "a": "text", "f": 1.5, "uni": "ä'q\"", "n\n": "two\nlines",
            "long": ["x".repeat(30), "y".repeat(30), "z".repeat(30)],
        });
        let (x, y, z) = ("x".repeat(30), "y".repeat(30), "z".repeat(30));
        let lines = [
            "{'a': 'text',",
            " 'b': [1, 2, {'x': None}],",
            " 'f': 1.5,",
            &format!(" 'long': ['{x}',"),
            &format!("          '{y}',"),
            &format!("          '{z}'],"),
            r" 'n\n': 'two\nlines',",
            r#" 'uni': 'ä\'q"'}"#,
        ];
        assert_eq!(pretty(&long), lines.join("\n"));
        let deep =
            json!({"deep": {"a": {"b": {"c": ["d".repeat(40), {"k": "v".repeat(50), "k2": [1, true]}]}}}});
        let (d, v) = ("d".repeat(40), "v".repeat(50));
        let lines = [
            format!("{{'deep': {{'a': {{'b': {{'c': ['{d}',"),
            format!("                            {{'k': '{v}',"),
            "                             'k2': [1, True]}]}}}}".to_owned(),
        ];
        assert_eq!(pretty(&deep), lines.join("\n"));
    }

    #[test]
    fn long_texts_are_broken_as_by_pprint() {
        let words = "long words ".repeat(20);
        let (six, seven) = ("long words ".repeat(6), "long words ".repeat(7));
        assert_eq!(pretty(&json!(words)), format!("('{seven}'\n '{seven}'\n '{six}')"));
        let lines = [
            &format!("{{'a': '{six}long '"),
            &format!("      'words {six}'"),
            &format!("      '{six}long '"),
            "      'words ',",
            &format!(" 'b': '{}',", "x".repeat(100)),
            r" 'c': 'line\n'",
            "      'line '",
            &format!("      '{}'}}", "y".repeat(70)),
        ];
        let text = format!("line\nline {}", "y".repeat(70));
        assert_eq!(pretty(&json!({"a": words, "b": "x".repeat(100), "c": text})), lines.join("\n"));
        let key = "k".repeat(80);
        assert_eq!(pretty(&json!({"a": [], &key: {}})), format!("{{'a': [],\n '{key}': {{}}}}"));
    }

    #[test]
    fn every_number_has_its_line_in_a_long_list() {
        let numbers: Vec<i64> = (0..60).collect();
        let lines: Vec<String> = numbers.iter().map(i64::to_string).collect();
        assert_eq!(pretty(&json!(numbers)), format!("[{}]", lines.join(",\n ")));
    }
}
