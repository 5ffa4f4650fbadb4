//! Names on the router: as Buildbot's masters write them (`docs/compat/message-bus.md`, "Names").

use muster_core::Topic;

/// Stands before every routing key.
pub const EVERYTHING: &str = "org.buildbot.mq.";

/// What a master tells the others when it could not tell them everything: Muster's own, nothing of Buildbot listens to it.
pub const MISSED: &str = "org.buildbot.mq.muster.missed";

/// The URI of a topic.
pub fn topic_uri(topic: &Topic) -> String {
    format!("{EVERYTHING}{}", topic.0.join("."))
}

/// The topic of a URI; `None` for one that is no event of a master.
pub fn topic_of(uri: &str) -> Option<Topic> {
    let key = uri.strip_prefix(EVERYTHING)?;
    Some(Topic(key.split('.').map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_come_back_as_they_went() {
        let topic = Topic::parse("builds/12/steps/3/new");
        assert_eq!(topic_uri(&topic), "org.buildbot.mq.builds.12.steps.3.new");
        assert_eq!(topic_of(&topic_uri(&topic)), Some(topic));
        assert_eq!(topic_of("org.buildbot.2.connected"), None);
    }
}
