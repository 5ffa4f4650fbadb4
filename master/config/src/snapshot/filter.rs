//! Change filters as data (`docs/compat/behaviour-3-changes-schedulers.md` 3.8).

use muster_core::render::Callable;
use serde::{Deserialize, Serialize};

/// Selects changes: all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChangeFilter {
    /// Called with the change.
    pub filter_fn: Option<Callable>,
    /// Conditions on single attributes.
    pub checks: Vec<ChangeFilterCheck>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeFilterCheck {
    /// On what.
    pub attribute: ChangeAttribute,
    /// What must hold.
    pub test: ChangeTest,
}

/// An attribute of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ChangeAttribute {
    Project,
    Repository,
    Branch,
    Category,
    Codebase,
    /// A property by name; absent counts as an empty text.
    Property(String),
}

/// What must hold. Patterns are Python's regular expressions, matched at the start; no value never matches one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeTest {
    /// One of these; `None` is "no branch".
    Eq(Vec<Option<String>>),
    /// None of these.
    NotEq(Vec<Option<String>>),
    /// One of these patterns matches.
    Re(Vec<String>),
    /// None of these patterns matches.
    NotRe(Vec<String>),
    /// A Python function of the value says yes.
    Fn(Callable),
}
