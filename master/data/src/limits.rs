//! What Buildbot's columns can hold. What does not fit would be tried again for ever, by a run or a poller, so it has to be
//! found out before.

use muster_core::{Properties, Property, properties};
use muster_store::{Dialect, changes::ChangeRow, json_text, sourcestamps::NewSourceStamp};
use serde_json::{Map, Value};

use crate::Data;

/// Bytes in a column of type TEXT on MySQL. SQLite and PostgreSQL have no such bound.
const MYSQL_TEXT: usize = 65_535;

/// Characters in the reason of a buildset, and in the id that others give it.
const REASON: usize = 256;
/// Characters in columns about changes.
const AUTHOR: usize = 255;
const BRANCH: usize = 255;
const REVISION: usize = 255;
const CATEGORY: usize = 255;
const REVLINK: usize = 256;
const CODEBASE: usize = 256;
const REPOSITORY: usize = 512;
const PROJECT: usize = 512;
const FILE: usize = 1024;

/// Longest line about the state of a build or step, in bytes: more than anybody reads, and it fits everywhere. The rest is
/// left out.
pub const MAX_STATE: usize = 16 * 1024;

/// Characters of a long text that a message shows.
const SHOWN: usize = 40;

impl Data {
    /// Why a property can't be stored, if it can't.
    pub fn refuses_property(&self, name: &str, property: &Property) -> Option<String> {
        refused_property(name, property, self.db().dialect())
    }

    /// What can be stored of the properties of a new build.
    pub fn storable(&self, properties: &Properties) -> Properties {
        storable(properties, self.db().dialect())
    }
}

/// Why a change that somebody sends can't be stored, if it can't. SQLite holds texts of any length, and Buildbot takes them
/// there.
pub(crate) fn refused_sent(
    stamp: &NewSourceStamp,
    properties: &Map<String, Value>,
    dialect: Dialect,
) -> Option<String> {
    let place = if dialect == Dialect::Sqlite { None } else { refused(stamp) };
    let property = |(name, value): (&String, &Value)| {
        refused_property(name, &Property(value.clone(), "Change".to_owned()), dialect)
    };
    place.or_else(|| properties.iter().find_map(property))
}

fn refused_property(name: &str, property: &Property, dialect: Dialect) -> Option<String> {
    let shown = beginning(name, SHOWN);
    for (what, text) in [("name", name), ("source", property.source())] {
        if is_longer(text, properties::MAX_NAME) {
            let max = properties::MAX_NAME;
            return Some(format!("the {what} of property '{shown}' is longer than {max} characters"));
        }
    }
    let written = match json_text(property.value()) {
        Ok(written) => written,
        Err(error) => return Some(format!("property '{shown}': {error}")),
    };
    (dialect == Dialect::MySql && written.len() > MYSQL_TEXT).then(|| {
        let len = written.len();
        format!("the value of property '{shown}' takes {len} bytes, and MySQL keeps at most {MYSQL_TEXT}")
    })
}

/// The properties without those that can't be stored; why, the log says. With one of them, nothing that has it could begin,
/// and whatever is begun together with it could not either.
pub(crate) fn storable(properties: &Properties, dialect: Dialect) -> Properties {
    let mut kept = Properties::new();
    for (name, property) in properties.iter() {
        match refused_property(name, property, dialect) {
            Some(reason) => tracing::error!(reason, "a property can't be stored and is left out"),
            None => kept.set(name, property.value().clone(), property.source()),
        }
    }
    kept
}

/// A reason for people, or an id that others give, as far as it has room.
pub(crate) fn reason(text: &str) -> String {
    beginning(text, REASON)
}

/// Why a change can't be stored, if it can't: what says where it is can't be shortened.
pub(crate) fn refused(stamp: &NewSourceStamp) -> Option<String> {
    let bounded = [
        ("branch", stamp.branch.as_deref(), BRANCH),
        ("revision", stamp.revision.as_deref(), REVISION),
        ("repository", Some(stamp.repository.as_str()), REPOSITORY),
        ("project", Some(stamp.project.as_str()), PROJECT),
        ("codebase", Some(stamp.codebase.as_str()), CODEBASE),
    ];
    bounded.into_iter().find_map(|(what, text, max)| {
        let text = text.filter(|text| is_longer(text, max))?;
        Some(format!("the {what} '{}\u{2026}' is longer than {max} characters", beginning(text, SHOWN)))
    })
}

/// What is only read by people, as far as it has room: a commit may have an author or a message of any length, and is to be
/// built all the same.
pub(crate) fn fitting(row: ChangeRow, dialect: Dialect) -> ChangeRow {
    let most = if dialect == Dialect::MySql { MYSQL_TEXT } else { usize::MAX };
    ChangeRow {
        author: beginning(&row.author, AUTHOR),
        committer: row.committer.map(|committer| beginning(&committer, AUTHOR)),
        comments: cut(row.comments, most),
        revlink: row.revlink.filter(|revlink| !is_longer(revlink, REVLINK)),
        category: row.category.map(|category| beginning(&category, CATEGORY)),
        files: row.files.iter().map(|file| beginning(file, FILE)).collect(),
        ..row
    }
}

/// A line about a state, as far as it has room.
pub fn shortened(state: String) -> String {
    cut(state, MAX_STATE)
}

/// Text with an ellipsis for what is beyond so many bytes.
fn cut(mut text: String, most: usize) -> String {
    const ELLIPSIS: &str = "\u{2026}";
    if text.len() > most {
        let end = (0..=most - ELLIPSIS.len()).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.push_str(ELLIPSIS);
    }
    text
}

fn beginning(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

fn is_longer(text: &str, characters: usize) -> bool {
    text.len() > characters && text.chars().count() > characters
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

    #[test]
    fn properties_that_cannot_be_stored_are_left_out() {
        let mut properties = Properties::new();
        properties.set("good", "x", "Test");
        properties.set("n".repeat(300), 1, "Test");
        properties.set("large", "v".repeat(70_000), "Test");
        let names = |dialect| {
            let kept = storable(&properties, dialect);
            kept.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(Dialect::MySql), ["good"]);
        assert_eq!(names(Dialect::Postgres).len(), 2);
    }

    #[test]
    fn a_change_is_shortened_where_only_people_read() {
        let row = ChangeRow {
            author: "\u{e4}".repeat(300),
            comments: "c".repeat(70_000),
            revlink: Some("l".repeat(300)),
            files: vec!["f".repeat(2000), "short".to_owned()],
            ..ChangeRow::default()
        };
        let fitted = fitting(row.clone(), Dialect::MySql);
        assert_eq!(
            (fitted.author.chars().count(), fitted.comments.len(), fitted.revlink),
            (255, 65_535, None)
        );
        assert_eq!((fitted.files[0].len(), fitted.files[1].as_str()), (1024, "short"));
        assert_eq!(fitting(row.clone(), Dialect::Postgres).comments, row.comments);
        let stamp = NewSourceStamp { branch: Some("b".repeat(256)), ..NewSourceStamp::default() };
        assert!(refused(&stamp).is_some_and(|reason| reason.contains("255 characters")));
        assert_eq!(refused(&NewSourceStamp { branch: Some("b".repeat(255)), ..stamp }), None);
    }

    #[test]
    fn a_sent_change_is_refused_for_what_the_engine_cannot_hold() {
        let refused = |stamp: &NewSourceStamp, properties: &Map<String, Value>| {
            [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql]
                .map(|dialect| refused_sent(stamp, properties, dialect).unwrap_or_default())
        };
        let (stamp, none) = (NewSourceStamp::default(), Map::new());
        assert_eq!(refused(&stamp, &none), ["", "", ""]);
        let long = NewSourceStamp { project: "p".repeat(600), ..stamp.clone() };
        let why = format!("the project '{}\u{2026}' is longer than 512 characters", "p".repeat(SHOWN));
        assert_eq!(refused(&long, &none), ["", &why, &why]);
        let named = Map::from_iter([("n".repeat(300), Value::Null)]);
        let why = format!("the name of property '{}' is longer than 256 characters", "n".repeat(SHOWN));
        assert_eq!(refused(&stamp, &named), [why.as_str(); 3]);
    }
}
