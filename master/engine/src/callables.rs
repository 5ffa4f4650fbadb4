//! The one place that asks the Python host.

use std::sync::Arc;

use muster_core::{
    Properties, Results,
    render::{Callable, Renderable, Request},
};
use serde_json::Value;

use crate::run::Facts;

/// Placeholder.
pub struct Host;

/// The callables of the configuration in force, if it has any.
#[derive(Clone)]
pub(crate) struct Callables(pub(crate) Option<Arc<Host>>);

/// What a callable about a step may want to know.
pub(crate) struct StepQuestion<'a> {
    pub(crate) name: &'a str,
    pub(crate) properties: &'a Properties,
    pub(crate) facts: &'a Facts,
}

impl Callables {
    pub(crate) async fn ask(
        &self,
        _request: &Request,
        _properties: &Properties,
        _facts: &Facts,
    ) -> Result<Renderable, String> {
        Err("no host".to_owned())
    }

    pub(crate) async fn ask_about_step(
        &self,
        _callable: &Callable,
        _results: Option<Results>,
        _about: &StepQuestion<'_>,
    ) -> Result<Value, String> {
        Err("no host".to_owned())
    }
}
