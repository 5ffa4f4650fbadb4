//! Lone surrogates: what Python's texts may hold and UTF-8 can't. Python shows a file name that is no UTF-8 with one for
//! each byte (`surrogateescape`), and writes them into JSON as `\udce9`.
//!
//! Here each of them is one character of the private plane 16, U+10D800 to U+10DFFF: U+100000 more than the surrogate. So
//! texts with them can be kept, compared and sent like all others, and where they leave, they become surrogates again.

use std::borrow::Cow;
use std::fmt::Write;

/// How far the character is from its surrogate.
const SHIFT: u32 = 0x10_0000;

/// The surrogate that this character stands for.
pub fn surrogate(character: char) -> Option<u16> {
    let code = u32::from(character).checked_sub(SHIFT)?;
    (0xd800..=0xdfff).contains(&code).then(|| u16::try_from(code).ok()).flatten()
}

/// Whether the text has any.
pub fn has_any(text: &str) -> bool {
    // All of them begin with these bytes; hardly a text has one.
    text.as_bytes().windows(2).any(|pair| pair == [0xf4, 0x8d])
        && text.chars().any(|c| surrogate(c).is_some())
}

/// JSON text as a JSON parser takes it: escapes of lone surrogates are those of the characters that stand for them.
pub fn carried(json: &str) -> Cow<'_, str> {
    if !json.contains("\\ud") && !json.contains("\\uD") {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = match (escaped(rest), rest.get(6..).and_then(escaped)) {
            // A pair is one character.
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(unit), _) if (0xd800..=0xdfff).contains(&unit) => {
                let mut pair = [0; 2];
                let character = char::from_u32(SHIFT + u32::from(unit)).expect("plane 16 has no surrogates");
                for unit in character.encode_utf16(&mut pair) {
                    write!(out, "\\u{unit:04x}").expect("a String takes everything");
                }
                rest = &rest[6..];
                continue;
            }
            (Some(_), _) => 6,
            // The backslash and what it escapes.
            (None, _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// JSON text as Python reads and writes it: characters that stand for surrogates are their escapes.
pub fn escapes(json: &str) -> Cow<'_, str> {
    if !has_any(json) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        match surrogate(character) {
            Some(unit) => write!(out, "\\u{unit:04x}").expect("a String takes everything"),
            None => out.push(character),
        }
    }
    Cow::Owned(out)
}

/// The bytes that Python's `os.fsencode` makes of a text: each surrogate of `surrogateescape` is its byte again; others
/// become question marks, as they have no byte.
pub fn to_bytes(text: &str) -> Cow<'_, [u8]> {
    if !has_any(text) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match surrogate(character) {
            Some(unit @ 0xdc80..=0xdcff) => bytes.push(u8::try_from(unit - 0xdc00).expect("it is below 256")),
            Some(_) => bytes.push(b'?'),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

/// The code unit of `\uXXXX` at the beginning of the text.
fn escaped(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits
        .bytes()
        .all(|digit| digit.is_ascii_hexdigit())
        .then(|| u16::from_str_radix(digits, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_ones_are_carried_there_and_back() {
        for (python, text) in [
            (r#""caf\udce9""#, "caf\u{10dce9}"),
            (r#""\ud800\ud800\udc00\udfff""#, "\u{10d800}\u{10000}\u{10dfff}"),
            (r#""\\udce9 \\\udce9""#, "\\udce9 \\\u{10dce9}"),
            (r#""\ud83d\ude00 \uD83D""#, "😀 \u{10d83d}"),
            (r#""\n\u00e9é""#, "\néé"),
        ] {
            let read: String = serde_json::from_str(&carried(python)).unwrap();
            assert_eq!(read, text);
            let written = serde_json::to_string(&read).unwrap();
            let again: String = serde_json::from_str(&carried(&escapes(&written))).unwrap();
            assert_eq!(again, text);
        }
        assert_eq!(escapes("\"caf\u{10dce9}\""), r#""caf\udce9""#);
        assert!(serde_json::from_str::<String>(&carried("\"\\ud8\"")).is_err());
        assert_eq!(carried("\"\\"), "\"\\");
    }

    #[test]
    fn bytes_are_those_of_the_file_name() {
        assert_eq!(*to_bytes("caf\u{10dce9}\u{10d800}é"), *b"caf\xe9?\xc3\xa9");
        assert_eq!(*to_bytes("plain"), *b"plain");
        assert!(!has_any("\u{10e000}\u{10d7ff}"));
    }
}
