//! Python's regular expressions, as far as ours can stand in for them.

use regex::Regex;

/// A pattern that can't be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the pattern {pattern:?} is not supported by Muster ({reason}); write it without look-around and back references"
)]
pub(crate) struct PatternError {
    pattern: String,
    reason: String,
}

/// A pattern with the meaning of Python's `re.match`: it has to match at the start.
pub(crate) fn match_at_start(pattern: &str) -> Result<Regex, PatternError> {
    Regex::new(&format!("^(?:{pattern})")).map_err(|error| {
        // The first lines only repeat the pattern and point at a column.
        let reason = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
        PatternError { pattern: pattern.to_owned(), reason }
    })
}
