//! Python's regular expressions, with Python's meaning.
//!
//! Configurations write patterns for Python's `re`. They are translated into the syntax of `fancy-regex`, which has
//! look-around and back references; what has no counterpart is refused by name.

mod translate;

use fancy_regex::{Regex, RegexBuilder};

/// What the groups of a pattern matched.
pub type Captures<'t> = fancy_regex::Captures<'t, str>;

/// How often a search may step back before it gives up: some hundred milliseconds. Python would go on for hours.
const MAX_STEPS_BACK: usize = 1_000_000;

/// A pattern that can't be used, or that gave up on a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {pattern:?} {reason}")]
pub struct PatternError {
    pattern: String,
    reason: String,
}

/// A pattern that is ready to be used.
#[derive(Clone, Debug)]
pub struct Pattern {
    written: String,
    regex: Regex,
}

impl Pattern {
    /// A pattern that is searched for, as by Python's `re.search`.
    ///
    /// # Errors
    /// When it is no pattern, or has a meaning that only Python's `re` knows.
    pub fn search(pattern: &str) -> Result<Pattern, PatternError> {
        Pattern::compile(pattern, |translated| translated)
    }

    /// A pattern that has to match at the start, as for Python's `re.match`.
    ///
    /// # Errors
    /// As [`Pattern::search`].
    pub fn at_start(pattern: &str) -> Result<Pattern, PatternError> {
        Pattern::compile(pattern, |translated| format!(r"\A(?:{translated})"))
    }

    fn compile(pattern: &str, place: impl FnOnce(String) -> String) -> Result<Pattern, PatternError> {
        let refuse = |reason: String| PatternError {
            pattern: pattern.to_owned(),
            reason: format!("can't be used: {reason}"),
        };
        let translated = translate::translate(pattern).map_err(refuse)?;
        let built = RegexBuilder::new(&place(translated)).backtrack_limit(MAX_STEPS_BACK).build();
        // The first lines only repeat the translated pattern and point at a column.
        let last_line = |error: fancy_regex::Error| {
            error.to_string().lines().last().unwrap_or_default().trim().to_owned()
        };
        let regex = built.map_err(|error| refuse(last_line(error)))?;
        Ok(Pattern { written: pattern.to_owned(), regex })
    }

    /// Whether it matches.
    ///
    /// # Errors
    /// When it gave up.
    pub fn matches(&self, text: &str) -> Result<bool, PatternError> {
        self.regex.is_match(text).map_err(|error| PatternError {
            pattern: self.written.clone(),
            reason: format!("gave up on a text of {} bytes: {error}", text.len()),
        })
    }

    /// Whether it matches; a search that gives up has found nothing.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text).unwrap_or(false)
    }

    /// What its groups matched; a search that gives up has found nothing.
    pub fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        self.regex.captures(text).ok().flatten()
    }

    /// The names of its groups that have one.
    pub fn group_names(&self) -> Vec<String> {
        self.regex.capture_names().flatten().map(str::to_owned).collect()
    }

    /// The pattern as it was written.
    pub fn written(&self) -> &str {
        &self.written
    }
}

#[cfg(test)]
mod tests;
