//! Cutting a stream of text into lines (`docs/compat/worker-protocol.md` 3.3, `docs/compat/behaviour-5-steps.md` 5.1).
//!
//! Terminal control counts as a line end: CR LF, a lone CR, `ESC [ u`, `ESC [ row ; column H`
//! (or `f`), `ESC [ 2 J`, and a run of backspaces. Everything else is kept, `ESC [ K` too. A line that grows over the
//! limit is cut into lines of exactly that length, wherever the text came in pieces; no character is lost.
//!
//! The result never depends on how the text was cut into pieces, so a splitter can be stored between any two of them.

use serde::{Deserialize, Serialize};

/// Characters after which a line is cut, as Buildbot does.
pub const MAX_LINE: usize = 4096;

/// Longest terminal sequence that is waited for; one with more digits is kept as text. Real ones have at most ten.
const MAX_SEQUENCE: usize = 24;

const ESCAPE: char = '\x1b';
const BACKSPACE: char = '\x08';

/// Bytes or text in, whole lines out, each ended by a newline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineSplitter {
    max_line: usize,
    /// The start of a UTF-8 sequence whose rest has not come; at most three bytes.
    undecoded: Vec<u8>,
    control: Control,
    /// The unfinished line, as far as it was not taken.
    tail: String,
    /// Characters of the unfinished line, taken ones included.
    width: usize,
}

/// What the last characters may turn out to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Control {
    #[default]
    None,
    /// A CR: what follows decides.
    Return,
    /// Backspaces that already ended a line.
    Backspaces,
    /// The beginning of a sequence, from its ESC on.
    Sequence(String),
}

/// What a sequence with one more character is.
enum Sequence {
    Unfinished,
    LineEnd,
    Text,
}

impl Default for LineSplitter {
    fn default() -> LineSplitter {
        LineSplitter::new(MAX_LINE)
    }
}

impl LineSplitter {
    /// A splitter that cuts lines after `max_line` characters, at least one.
    pub fn new(max_line: usize) -> LineSplitter {
        LineSplitter {
            max_line: max_line.max(1),
            undecoded: Vec::new(),
            control: Control::None,
            tail: String::new(),
            width: 0,
        }
    }

    /// Takes UTF-8 that may end within a character; what can't be decoded becomes U+FFFD. Returns the lines that are
    /// whole now.
    #[must_use]
    pub fn push_bytes(&mut self, bytes: &[u8]) -> String {
        let joined;
        let bytes = if self.undecoded.is_empty() {
            bytes
        } else {
            let mut start = std::mem::take(&mut self.undecoded);
            start.extend_from_slice(bytes);
            joined = start;
            &joined
        };
        let mut lines = String::with_capacity(bytes.len());
        let mut rest = bytes;
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.take_text(text, &mut lines);
                    return lines;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    self.take_text(&String::from_utf8_lossy(valid), &mut lines);
                    let Some(invalid) = error.error_len() else {
                        self.undecoded = after.to_vec();
                        return lines;
                    };
                    self.take_char(char::REPLACEMENT_CHARACTER, &mut lines);
                    rest = &after[invalid..];
                }
            }
        }
    }

    /// Takes text. Returns the lines that are whole now.
    #[must_use]
    pub fn push(&mut self, text: &str) -> String {
        let mut lines = String::with_capacity(text.len());
        self.end_undecoded(&mut lines);
        self.take_text(text, &mut lines);
        lines
    }

    /// Ends the last line with a newline, if there is one, and begins anew.
    #[must_use]
    pub fn finish(&mut self) -> String {
        let mut lines = String::new();
        self.end_undecoded(&mut lines);
        match std::mem::take(&mut self.control) {
            Control::Return => self.end_line(&mut lines),
            Control::Sequence(text) => self.put_all(&text, &mut lines),
            Control::None | Control::Backspaces => {}
        }
        if self.width > 0 {
            self.end_line(&mut lines);
        }
        lines
    }

    /// The unfinished line, without a character that may still turn out to be terminal control.
    pub fn tail(&self) -> &str {
        &self.tail
    }

    /// Takes the unfinished line away, to send it before it is finished. Its length goes on counting.
    #[must_use]
    pub fn take_tail(&mut self) -> String {
        std::mem::take(&mut self.tail)
    }

    /// Whether nothing waits: no unfinished line, taken or not, and no unfinished character.
    pub fn is_empty(&self) -> bool {
        self.width == 0
            && self.undecoded.is_empty()
            && matches!(self.control, Control::None | Control::Backspaces)
    }

    fn end_undecoded(&mut self, lines: &mut String) {
        if !self.undecoded.is_empty() {
            self.undecoded.clear();
            self.take_char(char::REPLACEMENT_CHARACTER, lines);
        }
    }

    fn take_text(&mut self, text: &str, lines: &mut String) {
        let mut rest = text;
        while !rest.is_empty() {
            if self.control == Control::None {
                let plain = rest.find(['\n', '\r', ESCAPE, BACKSPACE]).unwrap_or(rest.len());
                self.put_all(&rest[..plain], lines);
                rest = &rest[plain..];
            }
            let mut chars = rest.chars();
            if let Some(next) = chars.next() {
                self.take_char(next, lines);
            }
            rest = chars.as_str();
        }
    }

    fn take_char(&mut self, next: char, lines: &mut String) {
        match std::mem::take(&mut self.control) {
            Control::Return => {
                self.end_line(lines);
                if next == '\n' {
                    return;
                }
            }
            Control::Backspaces if next == BACKSPACE => {
                self.control = Control::Backspaces;
                return;
            }
            Control::Sequence(mut text) => match classify(&text, next) {
                Sequence::Unfinished => {
                    text.push(next);
                    self.control = Control::Sequence(text);
                    return;
                }
                Sequence::LineEnd => return self.end_line(lines),
                Sequence::Text => self.put_all(&text, lines),
            },
            Control::Backspaces | Control::None => {}
        }
        match next {
            '\n' => self.end_line(lines),
            '\r' => self.control = Control::Return,
            ESCAPE => self.control = Control::Sequence(ESCAPE.to_string()),
            BACKSPACE => {
                self.control = Control::Backspaces;
                self.end_line(lines);
            }
            plain => self.put(plain, lines),
        }
    }

    fn put(&mut self, plain: char, lines: &mut String) {
        self.put_all(plain.encode_utf8(&mut [0; 4]), lines);
    }

    /// Adds text without any control to the unfinished line; a full line ends when one more character comes.
    fn put_all(&mut self, mut plain: &str, lines: &mut String) {
        while !plain.is_empty() {
            if self.width == self.max_line {
                self.end_line(lines);
            }
            let room = self.max_line - self.width;
            let (cut, taken) = match plain.char_indices().nth(room) {
                Some((cut, _)) => (cut, room),
                None => (plain.len(), plain.chars().count()),
            };
            self.tail.push_str(&plain[..cut]);
            self.width += taken;
            plain = &plain[cut..];
        }
    }

    fn end_line(&mut self, lines: &mut String) {
        lines.push_str(&self.tail);
        lines.push('\n');
        self.tail.clear();
        self.width = 0;
    }
}

/// What `text`, which begins with ESC, is with `next` behind it: `ESC [ u`, `ESC [ 2 J`, `ESC [ digits ; digits H`
/// (or `f`) are line ends.
fn classify(text: &str, next: char) -> Sequence {
    let Some(body) = text[1..].strip_prefix('[') else {
        return if next == '[' { Sequence::Unfinished } else { Sequence::Text };
    };
    let (row, column) = match body.split_once(';') {
        Some((row, column)) => (row, Some(column)),
        None => (body, None),
    };
    match (next, column) {
        ('u', None) if row.is_empty() => Sequence::LineEnd,
        ('J', None) if row == "2" => Sequence::LineEnd,
        ('H' | 'f', Some(column)) if !column.is_empty() => Sequence::LineEnd,
        (';', None) if !row.is_empty() => Sequence::Unfinished,
        ('0'..='9', _) if text.len() < MAX_SEQUENCE => Sequence::Unfinished,
        _ => Sequence::Text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str) -> String {
        let mut splitter = LineSplitter::default();
        splitter.push(text) + &splitter.finish()
    }

    #[test]
    fn terminal_control_ends_lines() {
        for (text, lines) in [
            ("a\r\nb\n", "a\nb\n"),
            ("10%\r20%", "10%\n20%\n"),
            ("a\r\r\nb", "a\n\nb\n"),
            ("a\r", "a\n"),
            ("a\x08\x08\x08b", "a\nb\n"),
            ("a\x1b[ub", "a\nb\n"),
            ("a\x1b[12;34Hb\x1b[1;1fc", "a\nb\nc\n"),
            ("a\x1b[2Jb", "a\nb\n"),
            ("a\x1b[Kb", "a\x1b[Kb\n"),
            ("a\x1b[;5Hb", "a\x1b[;5Hb\n"),
            ("a\x1b[22Jb", "a\x1b[22Jb\n"),
            ("a\x1b[1\x1b[2Jb", "a\x1b[1\nb\n"),
            ("a\x1b[31mred\x1b[0m\n", "a\x1b[31mred\x1b[0m\n"),
            ("", ""),
            ("\n", "\n"),
        ] {
            assert_eq!(split(text), lines, "{text:?}");
        }
    }

    #[test]
    fn an_endless_sequence_is_text() {
        let text = format!("\x1b[{}", "1".repeat(1000));
        assert_eq!(split(&text), text + "\n");
    }

    #[test]
    fn long_lines_are_cut_without_losing_a_character() {
        let mut splitter = LineSplitter::new(4);
        assert_eq!(splitter.push("abcd"), "");
        assert_eq!(splitter.push("e"), "abcd\n");
        assert_eq!(splitter.push("fgh\n"), "efgh\n");
        assert_eq!(splitter.push("ääääö"), "ääää\n");
        assert_eq!(splitter.finish(), "ö\n");
        assert!(splitter.is_empty());
    }

    #[test]
    fn a_tail_can_be_taken_early() {
        let mut splitter = LineSplitter::new(4);
        assert_eq!(splitter.push("x\nab\r"), "x\n");
        assert_eq!(splitter.tail(), "ab");
        assert_eq!(splitter.take_tail(), "ab");
        assert_eq!(splitter.take_tail(), "");
        assert_eq!(splitter.push("\n"), "\n");
        assert_eq!(splitter.push("abc"), "");
        assert_eq!(splitter.take_tail(), "abc");
        assert_eq!(splitter.push("de"), "d\n");
        assert_eq!(splitter.finish(), "e\n");
    }

    #[test]
    fn a_taken_tail_is_finished_with_a_newline() {
        let mut splitter = LineSplitter::default();
        assert_eq!(splitter.push("abc"), "");
        assert_eq!(splitter.take_tail(), "abc");
        assert!(!splitter.is_empty());
        assert_eq!(splitter.finish(), "\n");
    }

    #[test]
    fn characters_may_be_cut_and_broken() {
        let mut splitter = LineSplitter::default();
        assert_eq!(splitter.push_bytes(b"\xe2\x82"), "");
        assert_eq!(splitter.push_bytes(b"\xac\n\xff\xe2\x82\n\xe2"), "€\n\u{fffd}\u{fffd}\n");
        assert_eq!(splitter.finish(), "\u{fffd}\n");
    }

    /// Bytes with more control in them than chance would give.
    fn noisy() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            "[a-zä€;0-9]{0,6}".prop_map(String::into_bytes),
            Just(b"\r".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\x08".to_vec()),
            Just(b"\x1b[".to_vec()),
            Just(b"\x1b[2J".to_vec()),
            Just(b"\x1b[1;2H".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..3),
        ];
        proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes in noisy(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8), max in 1usize..9) {
            let mut whole = LineSplitter::new(max);
            let expected = whole.push_bytes(&bytes) + &whole.finish();

            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort();
            let mut splitter = LineSplitter::new(max);
            let mut lines = String::new();
            for pair in cuts.windows(2) {
                lines += &splitter.push_bytes(&bytes[pair[0]..pair[1]]);
                let stored = serde_json::to_string(&splitter).unwrap();
                splitter = serde_json::from_str(&stored).unwrap();
            }
            lines += &splitter.finish();
            prop_assert_eq!(lines, expected);
        }

        #[test]
        fn a_second_splitter_behind_taken_tails_changes_nothing(pieces in proptest::collection::vec(noisy(), 0..6)) {
            let mut whole = LineSplitter::default();
            let expected = whole.push_bytes(&pieces.concat()) + &whole.finish();

            let mut worker = LineSplitter::default();
            let mut master = LineSplitter::default();
            let mut lines = String::new();
            for piece in &pieces {
                let sent = worker.push_bytes(piece) + &worker.take_tail();
                lines += &master.push(&sent);
            }
            lines += &master.push(&worker.finish());
            lines += &master.finish();
            prop_assert_eq!(lines, expected);
        }

        #[test]
        fn plain_text_is_kept(text in "[^\r\x08\x1b]{0,200}") {
            let mut expected = text.clone();
            if !text.is_empty() && !text.ends_with('\n') {
                expected.push('\n');
            }
            prop_assert_eq!(split(&text), expected);
        }
    }
}
