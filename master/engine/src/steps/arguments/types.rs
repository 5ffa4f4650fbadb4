//! The types of arguments that many kinds have.

use muster_core::render::{Callable, Renderable};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use super::rendered::{Argument, Misfit};
use crate::effects::truth;

/// Whatever it is.
impl Argument for Value {
    fn read(value: Value) -> Result<Value, Misfit> {
        Ok(value)
    }
}

impl Argument for String {
    fn read(value: Value) -> Result<String, Misfit> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(Misfit::not("a text", &other)),
        }
    }
}

impl Argument for bool {
    fn read(value: Value) -> Result<bool, Misfit> {
        value.as_bool().ok_or_else(|| Misfit::not("a boolean", &value))
    }
}

impl Argument for u64 {
    fn read(value: Value) -> Result<u64, Misfit> {
        value.as_u64().ok_or_else(|| Misfit::not("a number", &value))
    }
}

impl Argument for u32 {
    fn read(value: Value) -> Result<u32, Misfit> {
        let number = value.as_u64().and_then(|number| number.try_into().ok());
        number.ok_or_else(|| Misfit::not("an integer", &value))
    }
}

/// What may be left out.
impl<T: Argument> Argument for Option<T> {
    fn read(value: Value) -> Result<Option<T>, Misfit> {
        if value.is_null() { Ok(None) } else { T::read(value).map(Some) }
    }
}

/// A condition, by Python's idea of truth; `None` is `DEFAULT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::steps) struct Flag<const DEFAULT: bool>(pub(in crate::steps) bool);

impl<const DEFAULT: bool> Argument for Flag<DEFAULT> {
    fn read(value: Value) -> Result<Flag<DEFAULT>, Misfit> {
        Ok(Flag(if value.is_null() { DEFAULT } else { truth(&value) }))
    }
}

/// Seconds, or a number of something else. `None` and zero mean no limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::steps) struct Limit(pub(in crate::steps) Option<f64>);

impl Argument for Limit {
    fn read(value: Value) -> Result<Limit, Misfit> {
        match value {
            Value::Null => Ok(Limit(None)),
            Value::Number(number) => Ok(Limit(number.as_f64().filter(|limit| *limit > 0.0))),
            other => Err(Misfit::not("a number or None", &other)),
        }
    }
}

/// A text, or a list of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::steps) struct Texts(pub(in crate::steps) Vec<String>);

impl Argument for Texts {
    fn read(value: Value) -> Result<Texts, Misfit> {
        let text = |item: &Value| item.as_str().map(str::to_owned);
        let texts = match &value {
            Value::Null => Some(Vec::new()),
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(items) => items.iter().map(text).collect(),
            _ => None,
        };
        texts.map(Texts).ok_or_else(|| Misfit::not("a text or a list of texts", &value))
    }
}

/// A dictionary of anything; `None` is an empty one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::steps) struct Dictionary(pub(in crate::steps) Map<String, Value>);

impl Argument for Dictionary {
    fn read(value: Value) -> Result<Dictionary, Misfit> {
        match value {
            Value::Null => Ok(Dictionary::default()),
            Value::Object(entries) => Ok(Dictionary(entries)),
            other => Err(Misfit::not("a dictionary", &other)),
        }
    }
}

/// A Python function that is called with what the argument documents, not rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::steps) struct Function(pub(in crate::steps) Callable);

impl<'de> Deserialize<'de> for Function {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Function, D::Error> {
        match Renderable::deserialize(deserializer)? {
            Renderable::Callable { callable, .. } => Ok(Function(callable)),
            Renderable::Literal(other) => Err(de::Error::custom(Misfit::not("a function", &other))),
            _ => Err(de::Error::custom(Misfit::must_be("a function"))),
        }
    }
}
