//! Renderables: values of a configuration that are known only when a build (or a scheduler) asks for them
//! (`docs/compat/behaviour-4-properties.md` 4.2 and 4.3).
//!
//! Rendering is pure. What only somebody else can answer (a Python callable, a secret) is not asked for here:
//! [`render`] gives [`RenderError::Pending`] with everything that is missing, the caller fetches the answers, puts
//! them into its [`RenderContext`] and renders again.

mod evaluate;
mod interpolate;
mod operators;
mod percent;
mod pretty;
mod pystr;
mod value;

pub use evaluate::{MAX_DEPTH, render, render_all};
pub use interpolate::{Interpolation, InterpolationError};
pub use pretty::pretty;
pub use pystr::{is_true, py_repr, py_str};
pub use value::{Callable, CallableSource, DecodeError, Operator, Renderable};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What renderables are rendered against: a build's view of the world, or a scheduler's.
/// Whoever has nothing of a kind leaves its method out.
pub trait RenderContext {
    /// The value of a property; `None` when it isn't set.
    fn property(&self, name: &str) -> Option<&Value>;

    /// An attribute (`branch`, `revision`, `repository`, `project`, `codebase`, `patch_…`) of the sourcestamp of
    /// `codebase`. `None` when there is no such codebase or attribute; `Some(Value::Null)` when it is not set.
    fn source_stamp(&self, _codebase: &str, _attribute: &str) -> Option<Value> {
        None
    }

    /// An item of the worker's info (`admin`, `host`, `version`, `system`, `basedir`, …).
    fn worker_info(&self, _key: &str) -> Option<Value> {
        None
    }

    /// The address of the build's page, if there is a build.
    fn build_url(&self) -> Option<String> {
        None
    }

    /// The answer to a request that an earlier rendering listed as pending; `None` when nobody has asked it yet.
    fn answer(&self, _request: &Request) -> Option<Answer> {
        None
    }
}

/// Something that only somebody else can answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Request {
    /// The value of a secret.
    Secret {
        /// Its name in the providers.
        name: String,
    },
    /// A renderer: a Python function called with the properties and the rendered arguments.
    Renderer {
        /// The function.
        callable: Callable,
        /// Rendered positional arguments after the properties.
        args: Vec<Value>,
        /// Rendered keyword arguments.
        kwargs: Map<String, Value>,
    },
    /// The function of a `Transform`: called with the rendered arguments only.
    Function {
        /// The function.
        callable: Callable,
        /// Rendered positional arguments.
        args: Vec<Value>,
        /// Rendered keyword arguments.
        kwargs: Map<String, Value>,
    },
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The value; what a renderer returns may be a renderable itself and is rendered again.
    Value(Renderable),
    /// Asked, and it failed; the text says why.
    Failed(String),
}

/// Why something could not be rendered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RenderError {
    /// These must be answered first. Never empty; without duplicates, in the order of discovery.
    #[error("{} answers are pending", .0.len())]
    Pending(Vec<Request>),
    /// It can't be rendered; the text is for the user.
    #[error("{0}")]
    Failed(String),
}

#[cfg(test)]
mod tests;
