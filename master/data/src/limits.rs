//! What Buildbot's columns can hold. A run whose data does not fit could never be written about, so it has to be found out
//! before.

use muster_core::{Property, properties};
use muster_store::{Dialect, json_text};

use crate::Data;

/// Bytes in a column of type TEXT on MySQL. SQLite and PostgreSQL have no such bound.
const MYSQL_TEXT: usize = 65_535;

/// Longest line about the state of a build or step, in bytes: more than anybody reads, and it fits everywhere. The rest is
/// left out.
pub const MAX_STATE: usize = 16 * 1024;

impl Data {
    /// Why a property can't be stored, if it can't.
    pub fn refuses_property(&self, name: &str, property: &Property) -> Option<String> {
        let shown: String = name.chars().take(40).collect();
        for (what, text) in [("name", name), ("source", property.source())] {
            if text.chars().count() > properties::MAX_NAME {
                let max = properties::MAX_NAME;
                return Some(format!("the {what} of property '{shown}' is longer than {max} characters"));
            }
        }
        let written = match json_text(property.value()) {
            Ok(written) => written,
            Err(error) => return Some(format!("property '{shown}': {error}")),
        };
        (self.db().dialect() == Dialect::MySql && written.len() > MYSQL_TEXT).then(|| {
            let len = written.len();
            format!("the value of property '{shown}' takes {len} bytes, and MySQL keeps at most {MYSQL_TEXT}")
        })
    }
}

/// A line about a state, with an ellipsis where it is longer than [`MAX_STATE`].
pub fn shortened(mut state: String) -> String {
    const ELLIPSIS: &str = "\u{2026}";
    if state.len() > MAX_STATE {
        let end = (0..=MAX_STATE - ELLIPSIS.len()).rev().find(|end| state.is_char_boundary(*end));
        state.truncate(end.unwrap_or(0));
        state.push_str(ELLIPSIS);
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_states_are_shortened_between_characters() {
        assert_eq!(shortened("short".to_owned()), "short");
        let long = shortened("\u{e4}".repeat(MAX_STATE));
        assert!(long.len() <= MAX_STATE && long.ends_with("\u{e4}\u{2026}"), "{}", long.len());
    }
}
