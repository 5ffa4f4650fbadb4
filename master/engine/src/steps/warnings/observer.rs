//! Finds warnings while a command runs.

use muster_core::pattern::{Captures, Pattern};
use muster_session::command::Stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::suppression::{Suppression, Warning};
use crate::effects::LineObserver;

/// Longer lines are not looked at; as in Buildbot.
const MAX_LINE: usize = 16 * 1024;
/// Bytes of warnings that are kept for their log; further ones are only counted. They are journalled with each commit,
/// and who has more wants to see the first ones.
const MAX_KEPT: usize = 128 * 1024;
/// Directories that may be entered in each other; deeper ones are not followed.
const MAX_DEPTH: usize = 128;

/// What to look for.
pub(super) struct Patterns {
    /// Anchored at the line's start.
    pub(super) warning: Pattern,
    pub(super) enter: Option<Pattern>,
    pub(super) leave: Option<Pattern>,
    pub(super) extraction: Extraction,
}

/// How file, line number and text are taken out of a warning. It matters to suppressions only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extraction {
    WholeLine,
    /// The pattern's groups: file, line number, text.
    Groups,
    /// A function of the configuration.
    Function,
}

/// Counts warnings.
pub(super) struct WarningObserver {
    patterns: Patterns,
    suppressions: Vec<Suppression>,
    found: Found,
    told: Told,
}

/// What of the fold is stored already.
#[derive(Default)]
struct Told {
    count: u64,
    /// Bytes.
    text: usize,
    directories: Vec<String>,
}

impl Told {
    fn of(found: &Found) -> Told {
        Told { count: found.count, text: found.text.len(), directories: found.directories.clone() }
    }
}

/// What has become of the fold since.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct News {
    /// Further warnings.
    more: u64,
    /// Their lines.
    text: String,
    /// Directories that were left, the innermost ones.
    left: usize,
    /// Directories that were entered then.
    entered: Vec<String>,
}

/// The fold over the lines so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Found {
    count: u64,
    /// Whole lines, each with its newline.
    text: String,
    directories: Vec<String>,
}

impl WarningObserver {
    pub(super) fn new(patterns: Patterns, suppressions: Vec<Suppression>) -> WarningObserver {
        WarningObserver { patterns, suppressions, found: Found::default(), told: Told::default() }
    }

    /// Warnings so far.
    pub(super) fn count(&self) -> u64 {
        self.found.count
    }

    /// Their lines.
    pub(super) fn text(&self) -> String {
        let kept = self.found.text.lines().count() as u64;
        match self.found.count - kept {
            0 => self.found.text.clone(),
            more => format!("{}… and {more} more, which are only counted\n", self.found.text),
        }
    }

    fn look_at(&mut self, line: &str) {
        let Patterns { warning, enter, leave, extraction } = &self.patterns;
        if let Some(entered) = enter.as_ref().and_then(|enter| enter.captures(line)) {
            if self.found.directories.len() < MAX_DEPTH {
                let directory = entered.get(1).map_or("", |group| group.as_str());
                self.found.directories.push(directory.to_owned());
            }
            return;
        }
        if !self.found.directories.is_empty() && leave.as_ref().is_some_and(|leave| leave.is_match(line)) {
            self.found.directories.pop();
            return;
        }
        let Some(captures) = warning.captures(line) else { return };
        let found = taken_apart(*extraction, line, &captures, &self.found.directories);
        if !self.suppressions.iter().any(|suppression| suppression.covers(&found)) {
            self.found.count += 1;
            if self.found.text.len() + line.len() < MAX_KEPT {
                self.found.text.push_str(line);
                self.found.text.push('\n');
            }
        }
    }
}

fn taken_apart(
    extraction: Extraction,
    line: &str,
    captures: &Captures<'_>,
    directories: &[String],
) -> Warning {
    let group = |number: usize| captures.get(number).map(|group| group.as_str().to_owned());
    if extraction != Extraction::Groups {
        return Warning { file: None, line: None, text: line.to_owned() };
    }
    let file = group(1).map(|file| match directories {
        _ if file.is_empty() => file,
        [] => file,
        directories => format!("{}/{file}", directories.join("/")),
    });
    Warning {
        file,
        line: group(2).and_then(|number| number.parse().ok()),
        text: group(3).unwrap_or_default(),
    }
}

impl LineObserver for WarningObserver {
    fn line(&mut self, stream: &Stream, line: &str) {
        if matches!(stream, Stream::Stdout | Stream::Stderr) && line.len() <= MAX_LINE {
            self.look_at(line);
        }
    }

    fn state(&self) -> Value {
        json!(self.found)
    }

    fn restore(&mut self, state: Value) {
        // Such a state was made here; another version's is as good as none.
        self.found = serde_json::from_value(state).unwrap_or_default();
        self.told = Told::of(&self.found);
    }

    fn news(&mut self) -> Value {
        let Found { count, text, directories } = &self.found;
        let left =
            self.told.directories.iter().zip(directories).take_while(|(told, now)| told == now).count();
        let news = News {
            more: count - self.told.count,
            text: text[self.told.text..].to_owned(),
            left: self.told.directories.len() - left,
            entered: directories[left..].to_vec(),
        };
        if news == News::default() {
            return Value::Null;
        }
        self.told = Told::of(&self.found);
        json!(news)
    }

    fn add(&mut self, news: Value) {
        let News { more, text, left, entered } = serde_json::from_value(news).unwrap_or_default();
        let Found { count, text: kept, directories } = &mut self.found;
        *count += more;
        kept.push_str(&text);
        directories.truncate(directories.len().saturating_sub(left));
        directories.extend(entered);
        self.told = Told::of(&self.found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observer(pattern: &str, extraction: Extraction, suppressions: &[Value]) -> WarningObserver {
        let patterns = Patterns {
            warning: Pattern::at_start(pattern).unwrap(),
            enter: Some(Pattern::search(super::super::patterns::ENTER).unwrap()),
            leave: Some(Pattern::search(super::super::patterns::LEAVE).unwrap()),
            extraction,
        };
        let suppressions = suppressions.iter().map(|item| Suppression::read(item).unwrap()).collect();
        WarningObserver::new(patterns, suppressions)
    }

    fn feed(observer: &mut WarningObserver, text: &str) {
        text.lines().for_each(|line| observer.line(&Stream::Stdout, line));
    }

    #[test]
    fn warnings_are_counted_and_kept() {
        let mut observer = observer(super::super::patterns::WARNING, Extraction::WholeLine, &[]);
        feed(&mut observer, "cc -c a.c\na.c:1: Warning: odd\nfine\nb.c:2: warning: odder\n");
        observer.line(&Stream::Header, "warning: a header");
        observer.line(&Stream::Stderr, "warning: from stderr");
        assert_eq!(observer.count(), 3);
        assert_eq!(observer.text(), "a.c:1: Warning: odd\nb.c:2: warning: odder\nwarning: from stderr\n");
    }

    #[test]
    fn suppressions_see_the_directory_that_make_is_in() {
        let list = [json!(["src/sub/a\\.c$", ".*unused.*", null, null]), json!([null, null, 10, 20])];
        let mut observer = observer(r"(.*?):(\d+): (warning: .*)", Extraction::Groups, &list);
        feed(&mut observer, "make[1]: Entering directory 'src'\nmake[2]: Entering directory 'sub'\n");
        feed(&mut observer, "a.c:1: warning: unused x\na.c:1: warning: other\nb.c:15: warning: y\n");
        feed(&mut observer, "make[2]: Leaving directory 'sub'\na.c:1: warning: unused x\n");
        assert_eq!(observer.text(), "a.c:1: warning: other\na.c:1: warning: unused x\n");
    }

    #[test]
    fn it_goes_on_from_its_state() {
        let lines =
            "make: Entering directory 'd'\nwarning: 1\nwarning: 2\nmake: Leaving directory 'd'\nwarning: 3\n";
        let mut whole = observer(super::super::patterns::WARNING, Extraction::WholeLine, &[]);
        feed(&mut whole, lines);
        for cut in 0..5 {
            let mut first = observer(super::super::patterns::WARNING, Extraction::WholeLine, &[]);
            lines.lines().take(cut).for_each(|line| first.line(&Stream::Stdout, line));
            let mut second = observer(super::super::patterns::WARNING, Extraction::WholeLine, &[]);
            second.restore(first.state());
            lines.lines().skip(cut).for_each(|line| second.line(&Stream::Stdout, line));
            assert_eq!(second.found, whole.found, "cut after {cut} lines");
        }
    }

    #[test]
    fn it_goes_on_from_its_news() {
        let lines = "make: Entering directory 'd'\nwarning: 1\nfine\nmake: Entering directory 'e'\nwarning: 2\n\
                     make: Leaving directory 'e'\nmake: Leaving directory 'd'\nwarning: 3\n";
        let mut first = observer(super::super::patterns::WARNING, Extraction::WholeLine, &[]);
        let mut second = observer(super::super::patterns::WARNING, Extraction::WholeLine, &[]);
        for line in lines.lines() {
            first.line(&Stream::Stdout, line);
            match first.news() {
                Value::Null => assert_eq!(line, "fine"),
                news => second.add(news),
            }
            assert_eq!(second.found, first.found, "{line}");
            assert_eq!(first.news(), Value::Null);
        }
    }

    #[test]
    fn what_is_too_much_is_only_counted() {
        let mut observer = observer(super::super::patterns::WARNING, Extraction::WholeLine, &[]);
        let line = format!("warning: {}", "x".repeat(1000));
        (0..200).for_each(|_| observer.line(&Stream::Stdout, &line));
        assert_eq!(observer.count(), 200);
        assert!(observer.text().len() < MAX_KEPT + 100);
        assert!(observer.text().ends_with(" more, which are only counted\n"));
    }
}
