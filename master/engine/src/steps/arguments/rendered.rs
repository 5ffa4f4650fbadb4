//! An argument that may depend on the build: its type is checked at once where it is a literal, and when it is rendered.

use std::marker::PhantomData;

use muster_core::render::{RenderContext, Renderable, py_repr, render};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::effects::{StepContext, StepEnd};

/// The struct by which a [`Rendered`] asks its deserializer for the argument as it is, and the fields of it.
pub(super) const RENDERED: &str = "$rendered";
pub(super) const NAME: &str = "name";
pub(super) const VALUE: &str = "value";
pub(super) const GIVEN: &str = "given";
pub(super) const IS_CHECKED: &str = "is_checked";
pub(super) const FIELDS: &[&str] = &[NAME, VALUE, GIVEN, IS_CHECKED];

/// Why a value is not what an argument must be: what follows the name of the argument in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::steps) struct Misfit(String);

impl Misfit {
    /// It is something else than `wanted`.
    pub(in crate::steps) fn not(wanted: &str, value: &Value) -> Misfit {
        Misfit::must_be(&format!("{wanted}, not {}", py_repr(value)))
    }

    /// It must be so.
    pub(in crate::steps) fn must_be(wanted: &str) -> Misfit {
        Misfit(format!(" must be {wanted}"))
    }

    /// It can't be used for this reason.
    pub(in crate::steps) fn because(reason: impl std::fmt::Display) -> Misfit {
        Misfit(format!(": {reason}"))
    }
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A type that a rendered argument may have.
pub(in crate::steps) trait Argument: Sized {
    /// Reads a rendered value.
    ///
    /// # Errors
    /// When it is something else.
    fn read(value: Value) -> Result<Self, Misfit>;
}

/// An argument that renders to a `T`.
#[derive(Debug)]
pub(in crate::steps) struct Rendered<T> {
    name: String,
    value: Renderable,
    /// Whether the configuration gives it at all; `None` is a value, too.
    given: bool,
    is: PhantomData<fn() -> T>,
}

impl<T: Argument> Rendered<T> {
    /// The value for the running build.
    ///
    /// # Errors
    /// When it can't be rendered, or renders to something else than a `T`.
    pub(in crate::steps) async fn get(&self, context: &mut StepContext<'_>) -> Result<T, StepEnd> {
        let value = context.render(&self.value).await?;
        T::read(value).map_err(|misfit| self.unfit(context, &misfit))
    }

    /// The same; `default` where the configuration doesn't give the argument.
    ///
    /// # Errors
    /// As [`get`](Rendered::get).
    pub(in crate::steps) async fn get_or(
        &self,
        context: &mut StepContext<'_>,
        default: T,
    ) -> Result<T, StepEnd> {
        if self.given { self.get(context).await } else { Ok(default) }
    }

    /// The end of a step that can't go on with the value.
    pub(in crate::steps) fn unfit(&self, context: &StepContext<'_>, misfit: &Misfit) -> StepEnd {
        StepEnd::Exception(format!("{} argument {}{misfit}", context.config().kind, self.name))
    }

    /// The value, where the configuration gives one that depends on nothing.
    pub(in crate::steps) fn constant(&self) -> Option<T> {
        constant(&self.value).and_then(|value| T::read(value).ok())
    }

    /// As it is configured.
    pub(in crate::steps) fn renderable(&self) -> &Renderable {
        &self.value
    }
}

/// A world of which a value that depends on nothing asks nothing.
struct Nowhere;

impl RenderContext for Nowhere {
    fn property(&self, _name: &str) -> Option<&Value> {
        None
    }
}

/// The value, if it is the same for every build.
fn constant(value: &Renderable) -> Option<Value> {
    fn is_constant(value: &Renderable) -> bool {
        match value {
            Renderable::Literal(_) => true,
            Renderable::List(items) => items.iter().all(is_constant),
            Renderable::Dict(items) => items.iter().all(|(key, item)| is_constant(key) && is_constant(item)),
            _ => false,
        }
    }
    match value {
        Renderable::Literal(value) => Some(value.clone()),
        // What can't be rendered at all says so in the build, as in Buildbot.
        value if is_constant(value) => render(value, &Nowhere).ok(),
        _ => None,
    }
}

impl<'de, T: Argument> Deserialize<'de> for Rendered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rendered<T>, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "$rendered")]
        struct Parts {
            name: String,
            value: Renderable,
            given: bool,
            is_checked: bool,
        }
        let Parts { name, value, given, is_checked } = Parts::deserialize(deserializer)?;
        if is_checked
            && let Some(constant) = constant(&value)
            && let Err(misfit) = T::read(constant)
        {
            return Err(de::Error::custom(misfit));
        }
        Ok(Rendered { name, value, given, is: PhantomData })
    }
}
