//! Properties: named JSON values with the text that says where they came from
//! (`docs/compat/behaviour-4-properties.md` 4.1).

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest name of a property; the column's length in Buildbot's tables.
pub const MAX_NAME: usize = 256;

/// One value and its source, written `[value, source]` wherever Buildbot writes it as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Property(pub Value, pub String);

impl Property {
    /// The value.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// Where it came from: `Scheduler`, `Build`, the name of a step, …
    pub fn source(&self) -> &str {
        &self.1
    }
}

/// A set of properties, in the order in which they were first set, as Buildbot lists them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Properties(IndexMap<String, Property>);

impl Properties {
    /// An empty set.
    pub fn new() -> Properties {
        Properties::default()
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).map(Property::value)
    }

    /// Value and source of `name`.
    pub fn get_with_source(&self, name: &str) -> Option<&Property> {
        self.0.get(name)
    }

    /// Whether `name` is there.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Sets `name`; a later value wins.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>, source: impl Into<String>) {
        self.0.insert(name.into(), Property(value.into(), source.into()));
    }

    /// Sets `name` only where it is absent.
    pub fn set_default(&mut self, name: &str, value: impl Into<Value>, source: &str) {
        if !self.contains(name) {
            self.set(name, value, source);
        }
    }

    /// Puts everything of `other` over this set.
    pub fn update(&mut self, other: &Properties) {
        self.0.extend(other.0.iter().map(|(name, property)| (name.clone(), property.clone())));
    }

    /// In the order in which they were first set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Property)> {
        self.0.iter().map(|(name, property)| (name.as_str(), property))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(String, Property)> for Properties {
    fn from_iter<I: IntoIterator<Item = (String, Property)>>(iter: I) -> Properties {
        Properties(iter.into_iter().collect())
    }
}

impl IntoIterator for Properties {
    type Item = (String, Property);
    type IntoIter = indexmap::map::IntoIter<String, Property>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
