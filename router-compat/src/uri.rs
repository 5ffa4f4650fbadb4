//! URIs of topics and procedures, and the patterns that select them.

use serde::{Deserialize, Serialize};

/// Longest URI that is taken, in bytes. Buildbot's stay below 100; a longer one is refused as invalid.
pub const MAX_URI_BYTES: usize = 1024;

/// How a pattern selects URIs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Match {
    /// The URI itself.
    #[default]
    Exact,
    /// Every URI that begins with these characters; a component may be cut.
    Prefix,
    /// Every URI of as many components, where an empty component stands for any one; also the last may be empty.
    Wildcard,
}

impl Match {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Match::Exact => "exact",
            Match::Prefix => "prefix",
            Match::Wildcard => "wildcard",
        }
    }

    /// From the name on the wire.
    pub fn from_wire(name: &str) -> Option<Match> {
        [Match::Exact, Match::Prefix, Match::Wildcard].into_iter().find(|each| each.as_str() == name)
    }

    /// Whether `pattern`, read this way, selects `uri`.
    pub fn selects(self, pattern: &str, uri: &str) -> bool {
        match self {
            Match::Exact => pattern == uri,
            Match::Prefix => uri.starts_with(pattern),
            Match::Wildcard => {
                let mut parts = uri.split('.');
                let fits = pattern
                    .split('.')
                    .all(|want| parts.next().is_some_and(|part| want.is_empty() || want == part));
                fits && parts.next().is_none()
            }
        }
    }

    /// Whether `pattern` may be used this way.
    pub fn permits(self, pattern: &str) -> bool {
        match self {
            Match::Exact => is_valid(pattern),
            Match::Prefix | Match::Wildcard => {
                pattern.len() <= MAX_URI_BYTES && pattern.chars().all(is_allowed)
            }
        }
    }
}

/// Whether `uri` can name a topic or a procedure: WAMP's loose rule, that is, components without white space or `#`.
pub fn is_valid(uri: &str) -> bool {
    uri.len() <= MAX_URI_BYTES && uri.split('.').all(|part| !part.is_empty() && part.chars().all(is_allowed))
}

fn is_allowed(c: char) -> bool {
    !c.is_whitespace() && c != '#'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_components_stand_for_any_one() {
        let selects = |pattern, uri| Match::Wildcard.selects(pattern, uri);
        assert!(selects("a..c", "a.b.c"));
        assert!(selects("control.worker.3.", "control.worker.3.stop"));
        assert!(selects(".", "a.b"));
        assert!(!selects("a..c", "a.b.d"));
        assert!(!selects("a.", "a.b.c"));
        assert!(!selects("a.", "a"));
    }

    #[test]
    fn a_prefix_may_cut_a_component() {
        assert!(Match::Prefix.selects("org.build", "org.buildbot.mq"));
        assert!(!Match::Prefix.selects("org.buildbot.", "org.buildbot"));
        assert!(!Match::Exact.selects("org.build", "org.buildbot"));
    }

    #[test]
    fn topics_have_no_empty_components_but_patterns_may() {
        assert!(is_valid("org.buildbot.mq.builds.1.new"));
        for bad in ["", "a..b", "a.", "a b", "a.#", &"a".repeat(MAX_URI_BYTES + 1)] {
            assert!(!is_valid(bad), "{bad}");
        }
        assert!(Match::Wildcard.permits("a..b.") && Match::Prefix.permits(""));
        assert!(!Match::Wildcard.permits("a .b") && !Match::Exact.permits("a..b"));
    }
}
