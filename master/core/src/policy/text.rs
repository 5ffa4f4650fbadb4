//! How names are compared with the patterns of rules: `stringsMatcher`.

use serde::{Deserialize, Serialize};

use crate::pattern::{Pattern, PatternError};

/// Buildbot's two ways to compare names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StringsMatcher {
    /// As Python's `fnmatch`: `*`, `?`, `[abc]`, `[!abc]`.
    #[default]
    Glob,
    /// As Python's `re.match`: at the start.
    Regex,
}

/// A pattern that is ready to be used.
#[derive(Clone, Debug)]
pub(super) enum Text {
    Glob(Vec<char>),
    Regex(Pattern),
}

impl Text {
    pub(super) fn new(how: StringsMatcher, pattern: &str) -> Result<Text, PatternError> {
        Ok(match how {
            StringsMatcher::Glob => Text::Glob(pattern.chars().collect()),
            StringsMatcher::Regex => Text::Regex(Pattern::at_start(pattern)?),
        })
    }

    /// Whether it matches; `otherwise` where that takes too long to find out.
    pub(super) fn matches(&self, text: &str, otherwise: bool) -> bool {
        match self {
            Text::Glob(pattern) => glob(pattern, &text.chars().collect::<Vec<_>>()),
            Text::Regex(pattern) => pattern.matches(text).unwrap_or(otherwise),
        }
    }
}

/// In time proportional to the product of both lengths at worst: only the last star is gone back to.
fn glob(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let one = match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('[') => match class(&pattern[p..]) {
                Some((length, class)) => has(class, text[t]).then_some(length),
                // Without an end it is only itself.
                None => (text[t] == '[').then_some(1),
            },
            Some(character) => (*character == text[t]).then_some(1),
            None => None,
        };
        match (one, star) {
            (Some(length), _) => (p, t) = (p + length, t + 1),
            (None, Some((after, from))) => {
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

/// The length of the class that `pattern` begins with, and what stands between its brackets.
fn class(pattern: &[char]) -> Option<(usize, &[char])> {
    // A bracket right at the start of the class is one of its characters.
    let first = if pattern.get(1) == Some(&'!') { 3 } else { 2 };
    let end = (first..pattern.len()).find(|at| pattern[*at] == ']')?;
    Some((end + 1, &pattern[1..end]))
}

fn has(class: &[char], character: char) -> bool {
    let (negated, mut class) = match class {
        ['!', rest @ ..] => (true, rest),
        all => (false, all),
    };
    let mut found = false;
    while let Some((first, rest)) = class.split_first() {
        match rest {
            ['-', last, after @ ..] => {
                found |= (*first..=*last).contains(&character);
                class = after;
            }
            _ => {
                found |= *first == character;
                class = rest;
            }
        }
    }
    found != negated
}
