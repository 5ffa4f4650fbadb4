//! Logs of a running step: text in, whole lines out, each stream's unfinished line kept until it is whole.

use std::collections::BTreeMap;

use muster_core::{LogKind, lines::MAX_LINE};
use muster_session::command::Stream;
use serde::{Deserialize, Serialize};

use super::secrets::Secrets;

/// A log of the running step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRef {
    pub(crate) slug: String,
    pub(crate) kind: LogKind,
}

/// The letter before each line of a log of stdio.
pub(crate) fn marker(stream: &Stream) -> char {
    match stream {
        Stream::Stdout | Stream::Log(_) => 'o',
        Stream::Stderr => 'e',
        Stream::Header => 'h',
    }
}

/// Whole lines of `text`, marked where the log's kind wants it. A last line without a newline gets one.
pub(crate) fn marked(kind: LogKind, marker: char, text: &str) -> String {
    let mut lines = String::with_capacity(text.len() + text.len() / 16 + 2);
    for line in text.split_terminator('\n') {
        if kind == LogKind::Stdio {
            lines.push(marker);
        }
        lines.push_str(line);
        lines.push('\n');
    }
    lines
}

/// The unfinished last line of each stream of a command.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tails(BTreeMap<String, (Stream, String)>);

impl Tails {
    /// Adds text of a stream; answers the lines that are whole now, without secrets. A line without an end is cut as Buildbot
    /// cuts it, but not where a secret may go on.
    pub(crate) fn push(&mut self, stream: &Stream, text: &str, secrets: &Secrets) -> String {
        let key = key(stream);
        let mut line = self.0.remove(&key).map(|(_, tail)| tail).unwrap_or_default();
        let mut whole = String::with_capacity(line.len() + text.len());
        let (ended, open) = text.split_at(text.rfind('\n').map_or(0, |newline| newline + 1));
        if !ended.is_empty() {
            line.push_str(ended);
            secrets.conceal(&mut line);
            line.split_terminator('\n').for_each(|line| cut(line, &mut whole));
            line.clear();
        }
        line.push_str(open);
        if !line.is_empty() {
            secrets.conceal(&mut line);
            let tail = line.split_off(whole_pieces(&line, secrets.longest(), &mut whole));
            if !tail.is_empty() {
                self.0.insert(key, (stream.clone(), tail));
            }
        }
        whole
    }

    /// What is left at the end of the command.
    pub(crate) fn finish(&mut self) -> Vec<(Stream, String)> {
        std::mem::take(&mut self.0).into_values().collect()
    }
}

/// A whole line, in lines that are not too long.
fn cut(line: &str, lines: &mut String) {
    let mut rest = line;
    while let Some((end, _)) = rest.char_indices().nth(MAX_LINE) {
        lines.push_str(&rest[..end]);
        lines.push('\n');
        rest = &rest[end..];
    }
    lines.push_str(rest);
    lines.push('\n');
}

/// Takes what is too long off an unfinished line, as lines of their own; answers how many bytes that are. So many bytes
/// behind each cut have come already that no secret is cut.
fn whole_pieces(line: &str, behind: usize, lines: &mut String) -> usize {
    let mut begin = 0;
    while let Some((length, _)) = line[begin..].char_indices().nth(MAX_LINE)
        && line.len() - begin - length >= behind
    {
        lines.push_str(&line[begin..begin + length]);
        lines.push('\n');
        begin += length;
    }
    begin
}

fn key(stream: &Stream) -> String {
    match stream {
        Stream::Stdout => "o".to_owned(),
        Stream::Stderr => "e".to_owned(),
        Stream::Header => "h".to_owned(),
        Stream::Log(name) => format!("l{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(tails: &mut Tails, stream: Stream, text: &str) -> String {
        tails.push(&stream, text, &Secrets::default())
    }

    #[test]
    fn streams_keep_their_own_tails() {
        let mut tails = Tails::default();
        assert_eq!(push(&mut tails, Stream::Stdout, "a\nb"), "a\n");
        assert_eq!(push(&mut tails, Stream::Stderr, "x"), "");
        assert_eq!(push(&mut tails, Stream::Stdout, "c\n"), "bc\n");
        assert_eq!(tails.finish(), [(Stream::Stderr, "x".to_owned())]);
        assert!(tails.finish().is_empty());
    }

    #[test]
    fn a_line_without_an_end_is_cut_wherever_it_came_in_pieces_and_is_not_kept_whole() {
        let text = "é".repeat(3 * MAX_LINE + 5);
        for piece in [1, 7, 4096, 5000, 100_000] {
            let mut tails = Tails::default();
            let mut lines = String::new();
            for part in text.chars().collect::<Vec<_>>().chunks(piece) {
                lines += &push(&mut tails, Stream::Stdout, &part.iter().collect::<String>());
                assert!(tails.0.values().all(|(_, tail)| tail.chars().count() <= MAX_LINE), "{piece}");
            }
            lines += &push(&mut tails, Stream::Stdout, "\n");
            let lengths: Vec<usize> = lines.lines().map(|line| line.chars().count()).collect();
            assert_eq!(lengths, [MAX_LINE, MAX_LINE, MAX_LINE, 5], "{piece}");
        }
    }

    #[test]
    fn a_secret_is_concealed_wherever_its_text_came_in_pieces() {
        let mut secrets = Secrets::default();
        secrets.add("tok-4711-tok", "token");
        for before in [0, 3, MAX_LINE - 12, MAX_LINE - 5, MAX_LINE, MAX_LINE + 1, 2 * MAX_LINE - 3] {
            let text = format!("{}tok-4711-tok{}\n", "x".repeat(before), "y".repeat(20));
            for piece in [1, 5, 11, 4090, 4096, 100_000] {
                let mut tails = Tails::default();
                let mut lines = String::new();
                for part in text.as_bytes().chunks(piece) {
                    lines += &tails.push(&Stream::Stdout, std::str::from_utf8(part).unwrap(), &secrets);
                }
                let joined = lines.replace('\n', "");
                assert_eq!(joined, text.trim_end().replace("tok-4711-tok", "<token>"), "{before} {piece}");
            }
        }
    }

    #[test]
    fn lines_of_stdio_are_marked() {
        assert_eq!(marked(LogKind::Stdio, 'e', "a\n\nb"), "ea\ne\neb\n");
        assert_eq!(marked(LogKind::Text, 'o', "a\nb\n"), "a\nb\n");
    }
}
