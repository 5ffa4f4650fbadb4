//! Reading a step's arguments: rendered, then read into their types. What is wrong names the argument.

use std::path::PathBuf;

use muster_core::render::py_repr;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::effects::{StepContext, StepEnd, truth};

impl StepContext<'_> {
    /// A text that may be left out.
    pub(super) async fn text(&mut self, name: &str) -> Result<Option<String>, StepEnd> {
        match self.arg(name).await? {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text)),
            other => Err(self.unfit(name, &other, "a text")),
        }
    }

    /// A text that must be there.
    pub(super) async fn required_text(&mut self, name: &str) -> Result<String, StepEnd> {
        match self.text(name).await? {
            Some(text) => Ok(text),
            None => Err(self.unfit(name, &Value::Null, "a text")),
        }
    }

    /// A condition, by Python's idea of truth.
    pub(super) async fn flag(&mut self, name: &str, default: bool) -> Result<bool, StepEnd> {
        match self.arg(name).await? {
            Value::Null => Ok(default),
            value => Ok(truth(&value)),
        }
    }

    /// Seconds. An explicit `None` and zero mean no limit; `default` is for steps that don't say anything.
    pub(super) async fn limit(&mut self, name: &str, default: Option<f64>) -> Result<Option<f64>, StepEnd> {
        if !self.config().args.contains_key(name) {
            return Ok(default);
        }
        match self.arg(name).await? {
            Value::Null => Ok(None),
            Value::Number(number) => Ok(number.as_f64().filter(|seconds| *seconds > 0.0)),
            other => Err(self.unfit(name, &other, "a number or None")),
        }
    }

    /// A value of a type that JSON has; `what` says which, for people.
    pub(super) async fn typed<T: DeserializeOwned>(
        &mut self,
        name: &str,
        what: &str,
    ) -> Result<Option<T>, StepEnd> {
        match self.arg(name).await? {
            Value::Null => Ok(None),
            value => match serde_json::from_value(value.clone()) {
                Ok(read) => Ok(Some(read)),
                Err(_) => Err(self.unfit(name, &value, what)),
            },
        }
    }

    /// A text, or a list of texts.
    pub(super) async fn texts(&mut self, name: &str) -> Result<Vec<String>, StepEnd> {
        match self.arg(name).await? {
            Value::Null => Ok(Vec::new()),
            Value::String(text) => Ok(vec![text]),
            value => match serde_json::from_value(value.clone()) {
                Ok(texts) => Ok(texts),
                Err(_) => Err(self.unfit(name, &value, "a text or a list of texts")),
            },
        }
    }

    /// The end of a step whose argument is something else than it must be.
    pub(super) fn unfit(&self, name: &str, value: &Value, wanted: &str) -> StepEnd {
        let kind = &self.config().kind;
        StepEnd::Exception(format!("{kind} argument {name} must be {wanted}, not {}", py_repr(value)))
    }

    /// A path of the master: relative ones are relative to its base directory, `~` is its user's home.
    pub(super) fn master_path(&self, path: &str) -> PathBuf {
        let home = || std::env::home_dir().filter(|home| home.is_absolute());
        let expanded = match path.strip_prefix('~') {
            Some("") => home(),
            Some(rest) => rest.strip_prefix('/').and_then(|rest| Some(home()?.join(rest))),
            None => None,
        };
        self.basedir().join(expanded.unwrap_or_else(|| PathBuf::from(path)))
    }
}

/// The last part of a path, for people and for names of files beside each other.
pub(super) fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// `name` below `dir`, as the worker writes paths.
pub(super) fn join(dir: &str, name: &str) -> String {
    match dir {
        _ if name.starts_with('/') => name.to_owned(),
        "" => name.to_owned(),
        dir => format!("{}/{name}", dir.trim_end_matches('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_and_cut_as_workers_do() {
        assert_eq!(join("build", "x"), "build/x");
        assert_eq!(join("build/", "/x"), "/x");
        assert_eq!(join("", "x"), "x");
        assert_eq!(base_name("a/b/"), "b");
        assert_eq!(base_name("/"), "");
    }
}
