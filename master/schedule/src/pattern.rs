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
    Regex::new(&format!("^(?:{})", with_our_end(pattern))).map_err(|error| {
        // The first lines only repeat the pattern and point at a column.
        let reason = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
        PatternError { pattern: pattern.to_owned(), reason }
    })
}

/// Python's `\Z`, the end of the text, has a small letter here.
fn with_our_end(pattern: &str) -> String {
    let mut ours = String::with_capacity(pattern.len());
    let mut escaped = false;
    for letter in pattern.chars() {
        ours.push(if escaped && letter == 'Z' { 'z' } else { letter });
        escaped = !escaped && letter == '\\';
    }
    ours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_text_is_the_end() {
        let pattern = match_at_start(r"a+\Z").unwrap();
        assert!(pattern.is_match("aa") && !pattern.is_match("aab") && !pattern.is_match("aa\n"));
        assert!(match_at_start(r"a\\Z").unwrap().is_match(r"a\Z"));
    }
}
