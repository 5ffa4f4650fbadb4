//! Names of events: routing keys and the filters that select them (`docs/compat/message-bus.md`, "Names").

/// The name of one event: parts without dots, such as `builds`, `12`, `new`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic(pub Vec<String>);

impl Topic {
    /// A topic from a path such as `builds/12/new`.
    pub fn parse(path: &str) -> Topic {
        Topic(path.split('/').map(str::to_owned).collect())
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

/// Selects topics of the same number of parts; `None` matches any one part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicFilter(pub Vec<Option<String>>);

impl TopicFilter {
    /// A filter from a path such as `builds/*/new`, where `*` stands for any one part.
    pub fn parse(path: &str) -> TopicFilter {
        TopicFilter(path.split('/').map(|part| (part != "*").then(|| part.to_owned())).collect())
    }

    /// Whether `topic` is selected.
    pub fn matches(&self, topic: &Topic) -> bool {
        self.0.len() == topic.0.len()
            && self.0.iter().zip(&topic.0).all(|(want, part)| want.as_ref().is_none_or(|want| want == part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_matches_topics_of_its_own_length() {
        let filter = TopicFilter::parse("builds/*/new");
        assert!(filter.matches(&Topic::parse("builds/12/new")));
        assert!(!filter.matches(&Topic::parse("builds/12/finished")));
        assert!(!filter.matches(&Topic::parse("builds/12/steps/new")));
    }
}
