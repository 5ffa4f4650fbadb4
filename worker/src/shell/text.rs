//! The header texts of a command, as people who read Buildbot logs know them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;

use crate::launch::os_text;

/// Everything the header in front of a command's output tells.
pub(crate) struct Header<'a> {
    /// The command as a user would type it, secrets replaced.
    pub command_line: &'a str,
    /// The arguments in Python's notation, secrets replaced.
    pub argv: &'a str,
    /// Absolute working directory.
    pub workdir: &'a str,
    /// Seconds without output.
    pub timeout: Option<f64>,
    /// Seconds in all.
    pub max_time: Option<f64>,
    /// The watched log files in Python's notation.
    pub logfiles: &'a str,
    /// Set if the environment shall be shown.
    pub environment: Option<&'a BTreeMap<OsString, OsString>>,
    /// Bytes written to standard input, if any were given.
    pub stdin_bytes: Option<usize>,
    /// Whether the command runs on a terminal.
    pub pty: bool,
}

impl Header<'_> {
    pub(crate) fn render(&self) -> String {
        let mut text = format!("{}\n in dir {}", self.command_line, self.workdir);
        for (name, value) in [("timeout", self.timeout), ("maxTime", self.max_time)] {
            if let Some(seconds) = value {
                let unit = if seconds == 1.0 { "sec" } else { "secs" };
                push(&mut text, format_args!(" ({name} {} {unit})", number(seconds)));
            }
        }
        push(&mut text, format_args!("\n watching logfiles {}\n argv: {}\n", self.logfiles, self.argv));
        if let Some(environment) = self.environment {
            text.push_str(" environment:\n");
            for (name, value) in environment {
                push(&mut text, format_args!("  {}={}\n", name.display(), value.display()));
            }
        }
        if let Some(bytes) = self.stdin_bytes {
            push(&mut text, format_args!(" writing {bytes} bytes to stdin\n"));
        }
        push(&mut text, format_args!(" using PTY: {}\n", if self.pty { "True" } else { "False" }));
        text
    }
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string can't fail.
    let _ = text.write_fmt(arguments);
}

/// A number of seconds without needless decimals.
pub(crate) fn number(seconds: f64) -> String {
    format!("{seconds}")
}

/// One line that a shell would read as these words.
pub(crate) fn command_line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    match word {
        "" => "\"\"".to_owned(),
        _ if word.chars().all(plain) => word.to_owned(),
        _ => format!("'{}'", word.replace('\'', "'\"'\"'")),
    }
}

/// A list of byte strings in Python's notation: `[b'sh', b'-c']`.
pub(crate) fn python_bytes_list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(python_bytes).collect();
    format!("[{}]", words.join(", "))
}

/// A byte string in Python's notation: `b'echo hi'`.
pub(crate) fn python_bytes(text: &str) -> String {
    let quote = python_quote(text);
    let mut shown = format!("b{quote}");
    for byte in text.bytes() {
        match byte {
            b'\\' => shown.push_str("\\\\"),
            b'\n' => shown.push_str("\\n"),
            b'\r' => shown.push_str("\\r"),
            b'\t' => shown.push_str("\\t"),
            _ if char::from(byte) == quote => push(&mut shown, format_args!("\\{quote}")),
            0x20..0x7f => shown.push(char::from(byte)),
            _ => push(&mut shown, format_args!("\\x{byte:02x}")),
        }
    }
    shown.push(quote);
    shown
}

/// Text in Python's notation: `'lf.log'`.
pub(crate) fn python_text(text: &str) -> String {
    let quote = python_quote(text);
    let mut shown = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            _ if c == quote => push(&mut shown, format_args!("\\{quote}")),
            _ if c.is_control() => push(&mut shown, format_args!("\\x{:02x}", u32::from(c))),
            _ => shown.push(c),
        }
    }
    shown.push(quote);
    shown
}

/// Python prefers single quotes unless only they occur in the text.
fn python_quote(text: &str) -> char {
    if text.contains('\'') && !text.contains('"') { '"' } else { '\'' }
}

/// `${NAME}` replaced by what `lookup` knows, by nothing otherwise; anything else stays as it is.
pub(crate) fn substitute(text: &str, lookup: impl Fn(&str) -> Option<OsString>) -> OsString {
    let mut result = OsString::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, reference) = rest.split_at(start);
        result.push(os_text(before));
        let name_length = reference[2..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        match name_length {
            Some(length) if reference[2 + length..].starts_with('}') => {
                result.push(lookup(&reference[2..2 + length]).unwrap_or_default());
                rest = &reference[2 + length + 1..];
            }
            _ => {
                result.push("${");
                rest = &reference[2..];
            }
        }
    }
    result.push(os_text(rest));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_a_shell_needs_them() {
        assert_eq!(command_line(["sh", "-c", "echo $A; b"]), "sh -c 'echo $A; b'");
        assert_eq!(command_line(["a", "", "it's"]), "a \"\" 'it'\"'\"'s'");
    }

    #[test]
    fn python_notation_chooses_its_quotes() {
        assert_eq!(python_bytes("echo hi"), "b'echo hi'");
        assert_eq!(python_bytes("printf 'a\\r'"), "b\"printf 'a\\\\r'\"");
        assert_eq!(python_bytes("'\"é\n"), "b'\\'\"\\xc3\\xa9\\n'");
        assert_eq!(python_text("it's é"), "\"it's é\"");
        assert_eq!(python_bytes_list(["a", "b"]), "[b'a', b'b']");
    }

    #[test]
    fn references_are_replaced_and_everything_else_kept() {
        let lookup = |name: &str| (name == "A_1").then(|| OsString::from("x"));
        assert_eq!(substitute("<${A_1}|${NOPE}|$A_1|${A-1}|${", lookup), "<x||$A_1|${A-1}|${");
    }

    #[test]
    fn a_header_reads_like_the_recorded_one() {
        let environment = BTreeMap::from([("A".into(), "b".into()), ("PWD".into(), "/w".into())]);
        let header = Header {
            command_line: "echo x",
            argv: "b'echo x'",
            workdir: "/w",
            timeout: Some(60.0),
            max_time: Some(1.0),
            logfiles: "{}",
            environment: Some(&environment),
            stdin_bytes: Some(8),
            pty: false,
        };
        assert_eq!(
            header.render(),
            "echo x\n in dir /w (timeout 60 secs) (maxTime 1 sec)\n watching logfiles {}\n argv: b'echo x'\n \
             environment:\n  A=b\n  PWD=/w\n writing 8 bytes to stdin\n using PTY: False\n"
        );
    }
}
