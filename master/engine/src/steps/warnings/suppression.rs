//! Warnings that don't count, by file, text and line numbers.

use std::{ops::RangeInclusive, sync::LazyLock};

use muster_core::pattern::{Pattern, PatternError};
use muster_core::render::py_repr;
use regex::Regex;
use serde_json::Value;

/// A line of a suppression file: `file : text`, then maybe `: first` or `: first-last`.
static LINE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\s*(.+?)\s*:\s*(.+?)\s*(?::\s*([0-9]+)(?:-([0-9]+))?\s*)?$").expect("the pattern is fixed")
});

/// A warning, taken apart.
pub(super) struct Warning {
    pub(super) file: Option<String>,
    pub(super) line: Option<i64>,
    pub(super) text: String,
}

/// One rule. What it doesn't name is all the same to it.
pub(super) struct Suppression {
    /// Anchored at the start.
    file: Option<Pattern>,
    text: Option<Pattern>,
    lines: Option<RangeInclusive<i64>>,
}

impl Suppression {
    /// Reads `[file, text, first, last]`; an error says what is wrong.
    pub(super) fn read(item: &Value) -> Result<Suppression, String> {
        let wrong = || format!("{} is not a list of file, text, first and last line", py_repr(item));
        let Some([file, text, first, last]) = item.as_array().map(Vec::as_slice) else { return Err(wrong()) };
        let pattern = |value: &Value| match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            _ => Err(wrong()),
        };
        let lines = first.as_i64().zip(last.as_i64()).map(|(first, last)| first..=last);
        Suppression::new(pattern(file)?.as_deref(), pattern(text)?.as_deref(), lines)
    }

    /// Reads a line of a suppression file: `None` for comments, and for lines that don't look like rules.
    pub(super) fn of_line(line: &str) -> Result<Option<Suppression>, String> {
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            return Ok(None);
        }
        let Some(parts) = LINE.captures(line) else { return Ok(None) };
        let part = |number: usize| parts.get(number).map(|part| part.as_str());
        let number = |text: Option<&str>| text.and_then(|digits| digits.parse::<i64>().ok());
        let first = number(part(3));
        let lines = first.map(|first| first..=number(part(4)).unwrap_or(first));
        Suppression::new(part(1), part(2), lines).map(Some)
    }

    fn new(
        file: Option<&str>,
        text: Option<&str>,
        lines: Option<RangeInclusive<i64>>,
    ) -> Result<Suppression, String> {
        let told = |error: PatternError| error.to_string();
        Ok(Suppression {
            file: file.map(Pattern::at_start).transpose().map_err(told)?,
            text: text.map(Pattern::search).transpose().map_err(told)?,
            lines,
        })
    }

    /// Whether the warning doesn't count.
    pub(super) fn covers(&self, warning: &Warning) -> bool {
        let in_file = match (&self.file, &warning.file) {
            (Some(pattern), Some(file)) => pattern.is_match(file),
            _ => true,
        };
        let says_so = self.text.as_ref().is_none_or(|pattern| pattern.is_match(&warning.text));
        let in_lines = match (&self.lines, warning.line) {
            (Some(lines), Some(line)) => lines.contains(&line),
            (Some(_), None) => false,
            (None, _) => true,
        };
        in_file && says_so && in_lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn warning(file: &str, line: i64, text: &str) -> Warning {
        Warning { file: Some(file.to_owned()), line: Some(line), text: text.to_owned() }
    }

    #[test]
    fn lines_of_files_are_rules() {
        let rule = Suppression::of_line(r"  foo\.c : unused .* : 12-23").unwrap().unwrap();
        assert!(rule.covers(&warning("foo.c", 12, "unused variable")));
        assert!(!rule.covers(&warning("foo.c", 24, "unused variable")));
        assert!(!rule.covers(&warning("a/foo.c", 12, "unused variable")));
        let one = Suppression::of_line("x:y:7").unwrap().unwrap();
        assert!(one.covers(&warning("x", 7, "y")) && !one.covers(&warning("x", 8, "y")));
        for nothing in ["", "  # comment", "no colon"] {
            assert!(Suppression::of_line(nothing).unwrap().is_none(), "{nothing}");
        }
        assert!(Suppression::of_line("a(:b").is_err());
    }

    #[test]
    fn rules_of_lists_leave_out_what_they_like() {
        let any = Suppression::read(&json!([null, "odd", null, null])).unwrap();
        assert!(any.covers(&Warning { file: None, line: None, text: "very odd".into() }));
        assert!(!any.covers(&warning("f", 1, "fine")));
        assert!(Suppression::read(&json!(["f"])).is_err());
        assert!(Suppression::read(&json!([1, null, null, null])).is_err());
    }
}
