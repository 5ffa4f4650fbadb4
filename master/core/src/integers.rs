//! Integers beyond 64 bits: Python has them, and the numbers of our JSON values don't.
//!
//! Here such an integer is a text: U+10D7FF (a private character, next to those of [`surrogates`](crate::surrogates)), then its
//! decimal digits. So it can be kept, compared and sent like all values, and where it leaves it is a number again.

use std::{borrow::Cow, cmp::Ordering};

use serde_json::Value;

/// What such a text begins with.
const MARK: char = '\u{10d7ff}';
/// Digits of the longest integer that is taken: what Python itself takes from a text.
pub const MAX_DIGITS: usize = 4300;
/// Integers with fewer digits fit 64 bits.
const SHORTEST: usize = 19;

/// The decimal digits, with the sign of a negative one, of an integer beyond 64 bits.
pub fn digits(text: &str) -> Option<&str> {
    let digits = text.strip_prefix(MARK)?;
    is_integer(digits).then_some(digits)
}

/// The digits of a value that is such an integer.
pub fn of_value(value: &Value) -> Option<&str> {
    value.as_str().and_then(digits)
}

/// The value of an integer in decimal digits, of any size that is taken. Zeros in front and a plus are taken, too.
pub fn parse(text: &str) -> Option<Value> {
    let (sign, magnitude) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if magnitude.is_empty() || !magnitude.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let magnitude = magnitude.trim_start_matches('0');
    let canonical = if magnitude.is_empty() { "0".to_owned() } else { format!("{sign}{magnitude}") };
    if let Ok(number) = canonical.parse::<i64>() {
        return Some(number.into());
    }
    if let Ok(number) = canonical.parse::<u64>() {
        return Some(number.into());
    }
    (magnitude.len() <= MAX_DIGITS).then(|| Value::String(format!("{MARK}{canonical}")))
}

/// How two of them are ordered, by their digits.
pub fn compare(left: &str, right: &str) -> Ordering {
    let magnitudes = |left: &str, right: &str| left.len().cmp(&right.len()).then_with(|| left.cmp(right));
    match (left.strip_prefix('-'), right.strip_prefix('-')) {
        (Some(left), Some(right)) => magnitudes(right, left),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => magnitudes(left, right),
    }
}

/// JSON text as a JSON parser takes it: integers beyond 64 bits are the texts that stand for them.
pub fn carried(json: &str) -> Cow<'_, str> {
    if !has_long_number(json.as_bytes()) {
        return Cow::Borrowed(json);
    }
    let (bytes, mut out, mut copied, mut at) = (json.as_bytes(), String::new(), 0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_text(bytes, at + 1),
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let end = at + bytes[at..].iter().take_while(|byte| is_part(byte)).count();
                let token = &json[at..end];
                if is_integer(token)
                    && let Some(Value::String(text)) = parse(token)
                {
                    out.push_str(&json[copied..at]);
                    out.extend(['"', MARK]);
                    out.push_str(&text[MARK.len_utf8()..]);
                    out.push('"');
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    out.push_str(&json[copied..]);
    Cow::Owned(out)
}

/// JSON text as Python reads and writes it: texts that stand for integers are numbers.
pub fn numbers(json: &str) -> Cow<'_, str> {
    replaced(json, "\"\u{10d7ff}")
}

/// The same of JSON text with ASCII alone, where the mark is two escapes.
pub fn numbers_in_ascii(json: &str) -> Cow<'_, str> {
    replaced(json, "\"\\udbf5\\udfff")
}

fn replaced<'a>(json: &'a str, opening: &str) -> Cow<'a, str> {
    let mut out = String::new();
    let mut copied = 0;
    for (at, _) in json.match_indices(opening) {
        let rest = &json[at + opening.len()..];
        let Some(end) = rest.find('"').filter(|end| is_integer(&rest[..*end])) else { continue };
        // Inside a text, the quotes are escaped; and a key stays a text.
        let is_inside = json[..at].ends_with('\\');
        let is_key = rest[end + 1..].trim_start().starts_with(':');
        if is_inside || is_key {
            continue;
        }
        out.push_str(&json[copied..at]);
        out.push_str(&rest[..end]);
        copied = at + opening.len() + end + 1;
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(&json[copied..]);
    Cow::Owned(out)
}

/// Whether this is an integer as JSON writes it, of a length that is taken.
fn is_integer(text: &str) -> bool {
    let magnitude = text.strip_prefix('-').unwrap_or(text);
    (1..=MAX_DIGITS).contains(&magnitude.len())
        && magnitude.bytes().all(|byte| byte.is_ascii_digit())
        && (magnitude.len() == 1 || !magnitude.starts_with('0'))
}

/// Whether there are so many digits in a row that they could be such an integer. Most of the text is not looked at.
fn has_long_number(bytes: &[u8]) -> bool {
    let mut end = SHORTEST - 1;
    while end < bytes.len() {
        let run = bytes[..=end].iter().rev().take(SHORTEST).take_while(|byte| byte.is_ascii_digit()).count();
        if run == SHORTEST {
            return true;
        }
        end += SHORTEST - run;
    }
    false
}

/// Behind the quote that ends a text.
fn end_of_text(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn there_and_back(python: &str) -> String {
        let value: Value = serde_json::from_str(&carried(python)).unwrap();
        let again = numbers(&value.to_string()).into_owned();
        let ascii = value.to_string().replace(MARK, "\\udbf5\\udfff");
        assert_eq!(numbers_in_ascii(&ascii), again);
        again
    }

    #[test]
    fn integers_of_any_size_are_carried_there_and_back() {
        let long = format!("-{}", "123456789".repeat(400));
        for json in [
            "1180591620717411303424",
            "-9223372036854775809",
            "[18446744073709551615,18446744073709551616,-9223372036854775808,0]",
            r#"{"a":[{"b":1180591620717411303424}],"18446744073709551616":"18446744073709551616"}"#,
            r#"["\"118059162071741130342400000","1.5","\\",99999999999999999999]"#,
            "123456789012345678901234567890.5",
            &long,
        ] {
            let exact = if json.ends_with(".5") { "1.2345678901234568e+29" } else { json };
            assert_eq!(there_and_back(json), exact);
        }
    }

    #[test]
    fn what_is_no_such_integer_stays_as_it_is() {
        for json in ["12", "1e30", "1234567890123456789", "\"12345678901234567890123\"", ""] {
            assert!(matches!(carried(json), Cow::Borrowed(_)) || carried(json) == json, "{json}");
        }
        let too_long = "9".repeat(MAX_DIGITS + 1);
        assert_eq!(carried(&too_long), too_long, "the parser refuses it");
        assert!(serde_json::from_str::<Value>(&carried(&too_long)).is_err());
        assert!(serde_json::from_str::<Value>(&carried("000012345678901234567890")).is_err());
        let quoted = json!(format!("say \"{MARK}18446744073709551616\"")).to_string();
        assert_eq!(numbers(&quoted), quoted);
        let key = json!({format!("{MARK}18446744073709551616"): 1}).to_string();
        assert_eq!(numbers(&key), key);
        assert_eq!(digits("\u{10d7ff}12x"), None);
    }

    #[test]
    fn digits_are_read_and_ordered() {
        assert_eq!(parse("+007"), Some(json!(7)));
        assert_eq!(parse("18446744073709551615"), Some(json!(u64::MAX)));
        let big = parse("-018446744073709551616").unwrap();
        assert_eq!(of_value(&big), Some("-18446744073709551616"));
        assert_eq!((parse(""), parse("-"), parse("1.0"), parse("0x1")), (None, None, None, None));
        let ordered = [
            "-100000000000000000000",
            "-99999999999999999999",
            "99999999999999999999",
            "100000000000000000000",
        ];
        assert!(ordered.windows(2).all(|pair| compare(pair[0], pair[1]).is_lt()));
    }
}
