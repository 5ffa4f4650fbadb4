//! The values of a form: read, checked, and turned into properties and sourcestamps. Pure. The texts are Buildbot's.

use std::{collections::BTreeMap, sync::LazyLock};

use muster_config::snapshot::{FieldKind, ForceField, ValidationConfig};
use muster_core::{
    integers,
    render::{py_repr, py_str},
};
use regex::Regex;
use serde_json::{Map, Value, json};

use muster_core::pattern::{Pattern, PatternError};

/// The choice of a WorkerChoiceParameter that leaves the worker open.
const ANY_WORKER: &str = "-any-";

/// Something with a mail address in it.
static MAIL_ADDRESS: LazyLock<Regex> =
    LazyLock::new(|| constant(r"\S+@[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)+\.?"));
/// Names and values of properties that a person may make up, where `c['validation']` doesn't say it.
const FREE_PROPERTY: &str = r"^[\w\.\-/~:]*$";

fn constant(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern is well-formed")
}

/// What a filled form says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) owner: Value,
    pub(super) reason: Value,
    pub(super) priority: i64,
    pub(super) properties: Map<String, Value>,
    /// Values of the groups of codebases.
    pub(super) codebases: BTreeMap<String, Map<String, Value>>,
}

/// `c['validation']`, ready to use. Branches and revisions are as free as the form makes them unless it says something.
#[derive(Debug)]
pub(super) struct Validation {
    branch: Option<Pattern>,
    revision: Option<Pattern>,
    property_name: Pattern,
    property_value: Pattern,
}

impl Validation {
    /// Prepares the patterns.
    pub(super) fn new(config: &ValidationConfig) -> Result<Validation, PatternError> {
        let given = |pattern: &Option<String>| pattern.as_deref().map(Pattern::at_start).transpose();
        let free = |pattern: &Option<String>| Pattern::at_start(pattern.as_deref().unwrap_or(FREE_PROPERTY));
        Ok(Validation {
            branch: given(&config.branch)?,
            revision: given(&config.revision)?,
            property_name: free(&config.property_name)?,
            property_value: free(&config.property_value)?,
        })
    }
}

/// Values as they came in, and what is wrong with them.
pub(super) struct Form<'a> {
    validation: &'a Validation,
    values: BTreeMap<String, Vec<Value>>,
    codebases: BTreeMap<String, Map<String, Value>>,
    errors: BTreeMap<String, String>,
}

impl<'a> Form<'a> {
    /// Single values count as lists of one.
    pub(super) fn new(params: Map<String, Value>, validation: &'a Validation) -> Form<'a> {
        let list = |value| match value {
            Value::Array(items) => items,
            single => vec![single],
        };
        let values = params.into_iter().map(|(name, value)| (name, list(value))).collect();
        Form { validation, values, codebases: BTreeMap::new(), errors: BTreeMap::new() }
    }

    /// Reads all fields: first the group of user name, reason and priority, then the others.
    pub(super) fn read(
        mut self,
        fields: &[ForceField],
        owner: Option<&str>,
    ) -> Result<Outcome, BTreeMap<String, String>> {
        let (common, others) = match fields {
            [common, others @ ..] => (common.fields.as_slice(), others),
            [] => (&[][..], &[][..]),
        };
        let reason = self.checked(common.get(1)).unwrap_or_else(|| "".into());
        let owner = match owner.filter(|owner| *owner != "anonymous") {
            Some(owner) => owner.into(),
            None => self.checked(common.first()).unwrap_or_else(|| "".into()),
        };
        let priority = self.checked(common.get(2)).and_then(|priority| priority.as_i64()).unwrap_or_default();
        if i32::try_from(priority).is_err() {
            // Whatever database holds it, its column holds no more.
            self.errors.insert("priority".to_owned(), "priority is out of range".to_owned());
        }
        let mut properties = Map::new();
        for field in others {
            self.update(field, &mut properties);
        }
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        Ok(Outcome { owner, reason, priority, properties, codebases: self.codebases })
    }

    /// Adds what a field says to `properties`.
    fn update(&mut self, field: &ForceField, properties: &mut Map<String, Value>) {
        match field.kind {
            FieldKind::Nested | FieldKind::Patch => {
                let values = self.group(field);
                if field.name.is_empty() {
                    properties.extend(values);
                } else if let Some(Value::Object(known)) = properties.get_mut(&field.name) {
                    known.extend(values);
                } else {
                    properties.insert(field.name.clone(), values.into());
                }
            }
            FieldKind::Codebase => {
                let values = self.group(field);
                self.check_codebase(field, &values);
                self.codebases.insert(field.codebase.clone().unwrap_or_default(), values);
            }
            FieldKind::AnyProperty => self.free_property(field, properties),
            FieldKind::WorkerChoice => {
                if let Some(worker) = self.checked(Some(field)).filter(|worker| worker != ANY_WORKER) {
                    properties.insert(field.name.clone(), worker);
                }
            }
            _ => {
                if let Some(value) = self.checked(Some(field)) {
                    properties.insert(field.name.clone(), value);
                }
            }
        }
    }

    /// Branches and revisions get into command lines.
    fn check_codebase(&mut self, field: &ForceField, values: &Map<String, Value>) {
        let patterns = [("branch", &self.validation.branch), ("revision", &self.validation.revision)];
        for (name, pattern) in patterns {
            let (Some(pattern), Some(value)) = (pattern, values.get(name)) else { continue };
            let text = py_str(value);
            if !value.is_null() && !pattern.is_match(&text) {
                let inner = field.fields.iter().find(|inner| inner.name == name).unwrap_or(field);
                self.refuse(inner, format!("bad {name} '{text}'"));
            }
        }
    }

    fn group(&mut self, group: &ForceField) -> Map<String, Value> {
        let mut values = Map::new();
        for field in &group.fields {
            self.update(field, &mut values);
        }
        values
    }

    /// A property whose name is a field, too.
    fn free_property(&mut self, field: &ForceField, properties: &mut Map<String, Value>) {
        let values = self.group(field);
        let text = |name: &str| values.get(name).map(py_str).unwrap_or_default();
        let (name, value) = (text("name"), text("value"));
        if name.is_empty() {
            return;
        }
        let Validation { property_name, property_value, .. } = self.validation;
        if property_name.is_match(&name) && property_value.is_match(&value) {
            properties.insert(name, value.into());
        } else {
            self.refuse(field, format!("bad property name='{name}', value='{value}'"));
        }
    }

    /// The checked value of a field; `None` after an error, which is noted, or without a field.
    fn checked(&mut self, field: Option<&ForceField>) -> Option<Value> {
        let field = field?;
        let given = self.values.get(full_name(field)).cloned();
        match value_of(field, given) {
            Ok(value) => Some(value),
            Err(text) => {
                self.refuse(field, text);
                None
            }
        }
    }

    fn refuse(&mut self, field: &ForceField, text: String) {
        self.errors.insert(full_name(field).to_owned(), text);
    }
}

fn full_name(field: &ForceField) -> &str {
    field.full_name.as_deref().unwrap_or(&field.name)
}

/// The value that was given, or the default; checked and converted.
fn value_of(field: &ForceField, given: Option<Vec<Value>>) -> Result<Value, String> {
    if field.kind == FieldKind::Bool {
        // True only for exactly one `true`, which Python takes 1 for as well.
        let given = given.unwrap_or_else(|| vec![field.default.clone()]);
        return Ok(Value::Bool(given == [json!(true)] || given == [json!(1)]));
    }
    let mut values = given.unwrap_or_default();
    values.retain(|value| value.as_str().is_none_or(|text| !text.trim().is_empty()));
    if values.is_empty() {
        if field.required {
            return Err(format!("'{}' needs to be specified", field.label));
        }
        values = match &field.default {
            Value::Array(defaults) if field.multiple => defaults.clone(),
            _ if field.multiple => Vec::new(),
            default => vec![default.clone()],
        };
    }
    check_pattern(field, &values)?;
    check_size(field, &values)?;
    if field.kind == FieldKind::Fixed {
        return Ok(field.default.clone());
    }
    let mut converted =
        values.into_iter().map(|value| convert(field, value)).collect::<Result<Vec<_>, _>>()?;
    if field.multiple {
        return Ok(converted.into());
    }
    match converted.drain(..).next() {
        Some(Value::Null) | None => Err(format!("need {}: no default provided by config", full_name(field))),
        Some(value) => Ok(value),
    }
}

fn check_pattern(field: &ForceField, values: &[Value]) -> Result<(), String> {
    let Some(pattern) = &field.regex else {
        return Ok(());
    };
    let told = |error| format!("{}: {error}", field.label);
    let compiled = Pattern::at_start(pattern).map_err(told)?;
    for value in values.iter().map(py_str) {
        if !compiled.matches(&value).map_err(told)? {
            return Err(format!("{}:'{value}' does not match pattern '{pattern}'", field.label));
        }
    }
    Ok(())
}

fn check_size(field: &ForceField, values: &[Value]) -> Result<(), String> {
    let Some(limit) = field.maxsize else {
        return Ok(());
    };
    match values.iter().map(|value| py_str(value).chars().count() as u64).find(|size| *size > limit) {
        Some(size) => Err(format!("{}: is too large {size} > {limit}", field.label)),
        None => Ok(()),
    }
}

fn convert(field: &ForceField, value: Value) -> Result<Value, String> {
    match field.kind {
        FieldKind::Int => integer(&value),
        FieldKind::UserName => user_name(field, value),
        FieldKind::Choice | FieldKind::WorkerChoice => {
            let known =
                value.as_str().is_some_and(|value| field.choices.iter().any(|choice| choice == value));
            if field.strict && !known {
                let choices = py_repr(&json!(field.choices));
                return Err(format!(
                    "'{}' does not belong to list of available choices '{choices}'",
                    py_str(&value)
                ));
            }
            Ok(value)
        }
        _ => Ok(value),
    }
}

/// Python's `int()`.
fn integer(value: &Value) -> Result<Value, String> {
    let number = match value {
        // All digits of the float, as Python gives them.
        Value::Number(number) if number.is_f64() => {
            number.as_f64().and_then(|number| integers::parse(&format!("{:.0}", number.trunc())))
        }
        Value::Number(_) => Some(value.clone()),
        Value::Bool(value) => Some(i64::from(*value).into()),
        Value::String(text) if integers::digits(text).is_some() => Some(value.clone()),
        Value::String(text) => integers::parse(text.trim()),
        _ => None,
    };
    number.ok_or_else(|| format!("invalid literal for int() with base 10: {}", py_repr(value)))
}

fn user_name(field: &ForceField, value: Value) -> Result<Value, String> {
    let text = py_str(&value);
    if text.is_empty() && !field.required {
        return Ok(value);
    }
    if field.need_email && !MAIL_ADDRESS.is_match(&text) {
        let name = &field.name;
        return Err(format!("{name}: please fill in email address in the form 'User <email@email.com>'"));
    }
    Ok(value)
}
