//! The type of renderables and its JSON form, in which the Python host hands them over.
//!
//! Plain JSON is a literal; an object with the key `$r` is a renderable. A literal object that has such a key itself is
//! written as `{"$r": "dict", "items": [[key, value], …]}`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::interpolate::{Interpolation, InterpolationError};

/// The key that marks an object as a renderable.
const TAG: &str = "$r";

/// A value that may depend on properties, sourcestamps, secrets or Python code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Renderable {
    /// Renders to itself. Holds no renderable at any depth.
    Literal(Value),
    /// A list with renderables inside.
    List(Vec<Renderable>),
    /// A dictionary with renderables among its keys or values.
    Dict(Vec<(Renderable, Renderable)>),
    /// Bytes that are not text; they render to their own JSON form `{"$r": "bytes", "b64": …}`.
    Bytes(Vec<u8>),
    /// A property with a default.
    Property {
        /// Its name.
        name: String,
        /// The value where the property is missing (or falsy, see below).
        default: Option<Box<Renderable>>,
        /// Whether a falsy value counts as missing.
        default_when_false: bool,
    },
    /// `Interpolate` with selectors, or with positional arguments.
    Interpolate(Box<Interpolation>),
    /// The old form with parentheses around property names.
    WithProperties {
        /// `%`-format.
        format: String,
        /// Names of properties for the positional form.
        args: Vec<String>,
        /// Python functions called with the build, by name.
        kwargs: Vec<(String, Renderable)>,
    },
    /// The value of a secret.
    Secret(String),
    /// A Python function that is called with the properties.
    Callable {
        /// The function.
        callable: Callable,
        /// More positional arguments.
        args: Vec<Renderable>,
        /// Keyword arguments.
        kwargs: Vec<(String, Renderable)>,
    },
    /// A function called with rendered arguments.
    Transform {
        /// The function, or a renderer that gives one.
        function: Callable,
        /// Positional arguments.
        args: Vec<Renderable>,
        /// Keyword arguments.
        kwargs: Vec<(String, Renderable)>,
    },
    /// Nested lists rendered to one flat list.
    Flatten(Box<Renderable>),
    /// The address of the build's page.
    UrlForBuild,
    /// A Python operator applied to two renderables.
    Op {
        /// Which.
        op: Operator,
        /// Left operand.
        left: Box<Renderable>,
        /// Right operand.
        right: Box<Renderable>,
    },
}

/// A Python function that the host knows by a handle.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Callable {
    /// Where the function hangs in the configuration (`builders/x/steps/2/doStepIf`), and so stable over reloads.
    pub handle: String,
    /// Where it was defined.
    pub source: CallableSource,
}

/// Where a function was defined, and the digest of its code, by which another host recognises the same function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CallableSource {
    /// File as Python names it; empty for functions without one.
    pub file: String,
    /// First line; 0 for functions without one.
    pub line: u32,
    /// SHA-1 of the code, in hex.
    pub digest: String,
}

/// Python's operators that give a renderable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Operator {
    #[serde(rename = "==")]
    Eq,
    #[serde(rename = "!=")]
    Ne,
    #[serde(rename = "<")]
    Lt,
    #[serde(rename = "<=")]
    Le,
    #[serde(rename = ">")]
    Gt,
    #[serde(rename = ">=")]
    Ge,
    #[serde(rename = "+")]
    Add,
    #[serde(rename = "-")]
    Sub,
    #[serde(rename = "*")]
    Mul,
    #[serde(rename = "/")]
    Div,
    #[serde(rename = "//")]
    FloorDiv,
    #[serde(rename = "%")]
    Mod,
    #[serde(rename = "in")]
    In,
}

/// Why a JSON value is not the form of a renderable.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The value of `$r` is none of the known ones.
    #[error("unknown kind of renderable: {0}")]
    UnknownKind(String),
    /// A field is missing or has the wrong type.
    #[error("renderable {kind}: bad field {field}")]
    BadField {
        /// The value of `$r`.
        kind: String,
        /// The field.
        field: &'static str,
    },
    /// The format of an `Interpolate` is wrong.
    #[error(transparent)]
    Interpolation(#[from] InterpolationError),
}

impl Renderable {
    /// The renderable that is `None` in Python.
    pub const NONE: Renderable = Renderable::Literal(Value::Null);

    /// Whether this is Python's `None`.
    pub fn is_none(&self) -> bool {
        matches!(self, Renderable::Literal(Value::Null))
    }

    /// The value, where it doesn't depend on anything.
    pub fn literal(&self) -> Option<&Value> {
        match self {
            Renderable::Literal(value) => Some(value),
            _ => None,
        }
    }

    /// The text, where this is a literal string.
    pub fn literal_str(&self) -> Option<&str> {
        self.literal().and_then(Value::as_str)
    }

    /// The list of strings, where this is a literal one.
    pub fn literal_strings(&self) -> Option<Vec<String>> {
        let items = self.literal()?.as_array()?;
        items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
    }
}

impl Default for Renderable {
    fn default() -> Renderable {
        Renderable::NONE
    }
}

impl From<&str> for Renderable {
    fn from(text: &str) -> Renderable {
        Renderable::Literal(text.into())
    }
}

impl TryFrom<Value> for Renderable {
    type Error = DecodeError;

    fn try_from(value: Value) -> Result<Renderable, DecodeError> {
        match value {
            Value::Array(items) => {
                let items = decode_list(items)?;
                Ok(match literals(&items) {
                    Some(values) => Renderable::Literal(Value::Array(values)),
                    None => Renderable::List(items),
                })
            }
            Value::Object(object) => match object.get(TAG).cloned() {
                Some(Value::String(kind)) => Fields { kind, object }.decode(),
                Some(other) => Err(DecodeError::UnknownKind(other.to_string())),
                None => decode_object(object),
            },
            other => Ok(Renderable::Literal(other)),
        }
    }
}

fn decode_list(items: Vec<Value>) -> Result<Vec<Renderable>, DecodeError> {
    items.into_iter().map(Renderable::try_from).collect()
}

fn literals(items: &[Renderable]) -> Option<Vec<Value>> {
    items.iter().map(|item| item.literal().cloned()).collect()
}

fn decode_object(object: Map<String, Value>) -> Result<Renderable, DecodeError> {
    let items = decode_map(object)?;
    if items.iter().all(|(_, item)| item.literal().is_some()) {
        let literal = items.into_iter().filter_map(|(k, v)| Some((k, v.literal()?.clone()))).collect();
        return Ok(Renderable::Literal(Value::Object(literal)));
    }
    Ok(Renderable::Dict(items.into_iter().map(|(k, v)| (Renderable::Literal(k.into()), v)).collect()))
}

fn decode_map(object: Map<String, Value>) -> Result<Vec<(String, Renderable)>, DecodeError> {
    object.into_iter().map(|(key, value)| Ok((key, Renderable::try_from(value)?))).collect()
}

/// The fields of one `$r` object while it is decoded.
struct Fields {
    kind: String,
    object: Map<String, Value>,
}

impl Fields {
    fn decode(mut self) -> Result<Renderable, DecodeError> {
        match self.kind.as_str() {
            "dict" => self.decode_dict(),
            "bytes" => self.decode_bytes(),
            "property" => Ok(Renderable::Property {
                name: self.text("name")?,
                default: self.optional("default")?.map(Box::new),
                default_when_false: self.take("default_when_false").is_none_or(|v| v != Value::Bool(false)),
            }),
            "interpolate" => {
                let (format, args, kwargs) = (self.text("fmt")?, self.list("args")?, self.map("kwargs")?);
                Ok(Renderable::Interpolate(Box::new(Interpolation::new(format, args, kwargs)?)))
            }
            "with_properties" => Ok(Renderable::WithProperties {
                format: self.text("fmt")?,
                args: self.typed("args")?,
                kwargs: self.map("kwargs")?,
            }),
            "secret" => Ok(Renderable::Secret(self.text("name")?)),
            "callable" => Ok(Renderable::Callable {
                callable: self.callable()?,
                args: self.list("args")?,
                kwargs: self.map("kwargs")?,
            }),
            "transform" => Ok(Renderable::Transform {
                function: self.typed("function")?,
                args: self.list("args")?,
                kwargs: self.map("kwargs")?,
            }),
            "flatten" => Ok(Renderable::Flatten(Box::new(self.required("items")?))),
            "url_for_build" => Ok(Renderable::UrlForBuild),
            "op" => Ok(Renderable::Op {
                op: self.typed("op")?,
                left: Box::new(self.required("left")?),
                right: Box::new(self.required("right")?),
            }),
            _ => Err(DecodeError::UnknownKind(self.kind)),
        }
    }

    fn decode_dict(mut self) -> Result<Renderable, DecodeError> {
        let pairs: Vec<(Value, Value)> = self.typed("items")?;
        let mut items = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            items.push((Renderable::try_from(key)?, Renderable::try_from(value)?));
        }
        Ok(Renderable::Dict(items))
    }

    fn decode_bytes(mut self) -> Result<Renderable, DecodeError> {
        use base64::Engine;
        let text = self.text("b64")?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        Ok(Renderable::Bytes(bytes.map_err(|_| self.bad("b64"))?))
    }

    fn callable(&mut self) -> Result<Callable, DecodeError> {
        Ok(Callable { handle: self.text("handle")?, source: self.typed("source")? })
    }

    fn bad(&self, field: &'static str) -> DecodeError {
        DecodeError::BadField { kind: self.kind.clone(), field }
    }

    fn take(&mut self, field: &'static str) -> Option<Value> {
        self.object.get_mut(field).map(Value::take)
    }

    fn typed<T: serde::de::DeserializeOwned>(&mut self, field: &'static str) -> Result<T, DecodeError> {
        let value = self.take(field).ok_or_else(|| self.bad(field))?;
        serde_json::from_value(value).map_err(|_| self.bad(field))
    }

    fn text(&mut self, field: &'static str) -> Result<String, DecodeError> {
        self.typed(field)
    }

    fn required(&mut self, field: &'static str) -> Result<Renderable, DecodeError> {
        let value = self.take(field).ok_or_else(|| self.bad(field))?;
        Renderable::try_from(value)
    }

    /// A field that may be absent; an explicit null is a value (`default=None`) like any other.
    fn optional(&mut self, field: &'static str) -> Result<Option<Renderable>, DecodeError> {
        self.take(field).map(Renderable::try_from).transpose()
    }

    fn list(&mut self, field: &'static str) -> Result<Vec<Renderable>, DecodeError> {
        match self.take(field) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => decode_list(items),
            Some(_) => Err(self.bad(field)),
        }
    }

    fn map(&mut self, field: &'static str) -> Result<Vec<(String, Renderable)>, DecodeError> {
        match self.take(field) {
            None => Ok(Vec::new()),
            Some(Value::Object(object)) => decode_map(object),
            Some(_) => Err(self.bad(field)),
        }
    }
}

impl From<Renderable> for Value {
    fn from(renderable: Renderable) -> Value {
        match renderable {
            Renderable::Literal(value) => value,
            Renderable::List(items) => encode_list(items),
            Renderable::Dict(items) => {
                let pairs = items.into_iter().map(|(k, v)| json!([Value::from(k), Value::from(v)]));
                json!({TAG: "dict", "items": pairs.collect::<Vec<_>>()})
            }
            Renderable::Bytes(bytes) => encode_bytes(&bytes),
            Renderable::Property { name, default, default_when_false } => {
                let mut object =
                    json!({TAG: "property", "name": name, "default_when_false": default_when_false});
                if let Some(default) = default {
                    object["default"] = Value::from(*default);
                }
                object
            }
            Renderable::Interpolate(interpolation) => {
                let (format, args, kwargs) = interpolation.into_parts();
                json!({TAG: "interpolate", "fmt": format, "args": encode_list(args), "kwargs": encode_map(kwargs)})
            }
            Renderable::WithProperties { format, args, kwargs } => {
                json!({TAG: "with_properties", "fmt": format, "args": args, "kwargs": encode_map(kwargs)})
            }
            Renderable::Secret(name) => json!({TAG: "secret", "name": name}),
            Renderable::Callable { callable, args, kwargs } => {
                json!({TAG: "callable", "handle": callable.handle, "source": callable.source,
                       "args": encode_list(args), "kwargs": encode_map(kwargs)})
            }
            Renderable::Transform { function, args, kwargs } => {
                json!({TAG: "transform", "function": function,
                       "args": encode_list(args), "kwargs": encode_map(kwargs)})
            }
            Renderable::Flatten(items) => json!({TAG: "flatten", "items": Value::from(*items)}),
            Renderable::UrlForBuild => json!({TAG: "url_for_build"}),
            Renderable::Op { op, left, right } => {
                json!({TAG: "op", "op": op, "left": Value::from(*left), "right": Value::from(*right)})
            }
        }
    }
}

pub(super) fn encode_bytes(bytes: &[u8]) -> Value {
    use base64::Engine;
    json!({TAG: "bytes", "b64": base64::engine::general_purpose::STANDARD.encode(bytes)})
}

fn encode_list(items: Vec<Renderable>) -> Value {
    Value::Array(items.into_iter().map(Value::from).collect())
}

fn encode_map(items: Vec<(String, Renderable)>) -> Value {
    Value::Object(items.into_iter().map(|(key, item)| (key, item.into())).collect())
}
