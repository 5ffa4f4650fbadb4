//! What a kind of step is, and the registry of all of them.
//!
//! A kind is one type: its fields are the arguments, as [`arguments`](super::arguments) decodes them, and its
//! [`StepKind`] says what it does. Everything else that has to know the kinds asks the registry.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use muster_config::snapshot::StepConfig;
use muster_core::Results;
use serde::de::DeserializeOwned;
#[cfg(test)]
use serde_json::Value;

use super::{
    arguments::{Decoded, Rendered, decode},
    command_line::CommandText,
};
use crate::effects::{StepContext, StepEnd};

/// A kind of step.
pub(super) trait StepKind: DeserializeOwned + Send + Sync + 'static {
    /// The name that the Python class gives as its `kind`.
    const NAME: &'static str;

    /// How often the effects of the kind became others than before, or came in another order. Raise it then: a master of
    /// the version before gives up such a step instead of going on wrongly.
    const CHANGES: u32 = 0;

    /// The command that the step runs, where that is what its summary says.
    fn command(&self) -> Option<&Rendered<CommandText>> {
        None
    }

    /// What of the arguments can't be carried out although each of them has a good type.
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }

    /// Does what the step is for.
    fn run(&self, context: &mut StepContext<'_>) -> impl Future<Output = Result<Results, StepEnd>> + Send;

    /// Arguments that bring about as many effects as one run can have, for the tests of all kinds.
    #[cfg(test)]
    fn example() -> Value;
}

/// A step whose arguments are decoded.
pub(super) trait Step: Send + Sync {
    /// As [`StepKind::command`].
    fn command(&self) -> Option<&Rendered<CommandText>>;
    /// As [`StepKind::problems`].
    fn problems(&self) -> Vec<String>;
    /// As [`StepKind::run`].
    fn run<'a>(&'a self, context: &'a mut StepContext<'_>) -> BoxFuture<'a, Result<Results, StepEnd>>;
}

impl<K: StepKind> Step for K {
    fn command(&self) -> Option<&Rendered<CommandText>> {
        StepKind::command(self)
    }

    fn problems(&self) -> Vec<String> {
        StepKind::problems(self)
    }

    fn run<'a>(&'a self, context: &'a mut StepContext<'_>) -> BoxFuture<'a, Result<Results, StepEnd>> {
        Box::pin(StepKind::run(self, context))
    }
}

/// What the registry knows about a kind.
pub(super) struct Descriptor {
    decode: fn(&StepConfig) -> Decoded<Box<dyn Step>>,
    /// As [`StepKind::CHANGES`].
    pub(super) changes: u32,
    #[cfg(test)]
    pub(super) example: fn() -> Value,
}

impl Descriptor {
    /// Decodes the arguments of a step of this kind.
    pub(super) fn decode(&self, config: &StepConfig) -> Decoded<Box<dyn Step>> {
        (self.decode)(config)
    }
}

/// All kinds by their names.
#[derive(Default)]
pub(super) struct Registry(BTreeMap<&'static str, Descriptor>);

impl Registry {
    /// Adds a kind.
    pub(super) fn register<K: StepKind>(&mut self) {
        let decode = |config: &StepConfig| decode::<K>(config).map(|kind| Box::new(kind) as Box<dyn Step>);
        let descriptor = Descriptor {
            decode,
            changes: K::CHANGES,
            #[cfg(test)]
            example: K::example,
        };
        let before = self.0.insert(K::NAME, descriptor);
        assert!(before.is_none(), "the step {} is registered twice", K::NAME);
    }

    /// The kind of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Descriptor> {
        self.0.get(name)
    }

    /// All of them, by name.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Descriptor)> {
        self.0.iter().map(|(name, descriptor)| (*name, descriptor))
    }
}
