//! Logs of a running step: text in, whole lines out, each stream's unfinished line kept until it is whole.

use std::collections::BTreeMap;

use muster_core::LogKind;
use muster_session::command::Stream;
use serde::{Deserialize, Serialize};

/// A log of the running step.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Adds text of a stream; answers the lines that are whole now.
    pub(crate) fn push(&mut self, stream: &Stream, text: &str) -> String {
        let key = key(stream);
        let mut whole = self.0.remove(&key).map(|(_, tail)| tail).unwrap_or_default();
        whole.push_str(text);
        let end = whole.rfind('\n').map_or(0, |newline| newline + 1);
        let tail = whole.split_off(end);
        if !tail.is_empty() {
            self.0.insert(key, (stream.clone(), tail));
        }
        whole
    }

    /// What is left at the end of the command.
    pub(crate) fn finish(&mut self) -> Vec<(Stream, String)> {
        std::mem::take(&mut self.0).into_values().collect()
    }
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

    #[test]
    fn streams_keep_their_own_tails() {
        let mut tails = Tails::default();
        assert_eq!(tails.push(&Stream::Stdout, "a\nb"), "a\n");
        assert_eq!(tails.push(&Stream::Stderr, "x"), "");
        assert_eq!(tails.push(&Stream::Stdout, "c\n"), "bc\n");
        assert_eq!(tails.finish(), [(Stream::Stderr, "x".to_owned())]);
        assert!(tails.finish().is_empty());
    }

    #[test]
    fn lines_of_stdio_are_marked() {
        assert_eq!(marked(LogKind::Stdio, 'e', "a\n\nb"), "ea\ne\neb\n");
        assert_eq!(marked(LogKind::Text, 'o', "a\nb\n"), "a\nb\n");
    }
}
