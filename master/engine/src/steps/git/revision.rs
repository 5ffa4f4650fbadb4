//! What was checked out, as properties.

use muster_core::git::Words;
use serde_json::{Map, Value};

use super::checkout::Checkout;
use crate::effects::StepEnd;

/// Characters of a commit's name.
const HASH_LENGTH: usize = 40;

impl Checkout<'_, '_> {
    /// Sets `got_revision`.
    pub(super) async fn tell_revision(&mut self) -> Result<(), StepEnd> {
        let revision = self.repository.git_output(Words::new("rev-parse").option("HEAD")).await?;
        if revision.len() != HASH_LENGTH {
            return Err(StepEnd::Failed);
        }
        self.set_source_property("got_revision", revision)
    }

    /// Sets `commit-description`, if there is one.
    pub(super) async fn tell_description(&mut self) -> Result<(), StepEnd> {
        let Some(words) = self.arguments.describe.clone() else { return Ok(()) };
        match self.repository.git_output(words).await {
            Ok(description) => self.set_source_property("commit-description", description),
            Err(StepEnd::Failed) => Ok(()),
            Err(end) => Err(end),
        }
    }

    /// Sets a property; where the step has a codebase, it is a dictionary by codebases.
    fn set_source_property(&mut self, name: &str, value: String) -> Result<(), StepEnd> {
        let source = self.repository.context.config().kind.clone();
        let codebase = self.arguments.codebase.clone();
        let before = self.repository.context.properties().get(name);
        let conflict = |reason: &str| Err(StepEnd::Exception(format!("property {name}: {reason}")));
        let value = match before {
            Some(Value::Object(_)) if codebase.is_empty() => {
                return conflict("this step has no codebase, other source steps do");
            }
            _ if codebase.is_empty() => Value::from(value),
            Some(Value::String(_)) => return conflict("this step has a codebase, other source steps don't"),
            before => {
                let mut all: Map<String, Value> =
                    before.and_then(Value::as_object).cloned().unwrap_or_default();
                all.insert(codebase, value.into());
                Value::Object(all)
            }
        };
        self.repository.context.set_property(name, value, &source)
    }
}
