//! What both stock protocols carry as arguments and results.

/// A value of Python, as far as the protocols need it. References to objects exist over PB only.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// A boolean; another thing than 0 or 1.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// A float.
    Float(f64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text.
    Text(String),
    /// A list; sets are read as lists.
    List(Vec<Value>),
    /// A tuple. Stock workers tell it from a list.
    Tuple(Vec<Value>),
    /// A dictionary, in the order it was sent.
    Dict(Vec<(Value, Value)>),
    /// An object that the sender of the message exports.
    Theirs(u64),
    /// An object that this side exports.
    Ours(u64),
    /// An instance of a class that is copied whole: a failure.
    Instance {
        /// The class, with its module.
        class: String,
        /// Its attributes.
        state: Box<Value>,
    },
}

impl Value {
    /// Text, or bytes that are text: old workers send either.
    pub fn as_text(&self) -> Option<String> {
        match self {
            Value::Text(text) => Some(text.clone()),
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// Bytes, or the UTF-8 of text.
    pub fn into_bytes(self) -> Option<Vec<u8>> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            Value::Text(text) => Some(text.into_bytes()),
            _ => None,
        }
    }

    /// A whole number that fits.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => i64::try_from(*number).ok(),
            Value::Bool(yes) => Some(i64::from(*yes)),
            _ => None,
        }
    }

    /// A number.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Value::Float(number) => Some(*number),
            Value::Int(number) => Some(*number as f64),
            _ => None,
        }
    }

    /// The elements of a list or a tuple.
    pub fn elements(&self) -> Option<&[Value]> {
        match self {
            Value::List(elements) | Value::Tuple(elements) => Some(elements),
            _ => None,
        }
    }

    /// The value under a key of a dictionary.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let Value::Dict(pairs) = self else { return None };
        pairs.iter().find(|(known, _)| known.as_text().as_deref() == Some(key)).map(|(_, value)| value)
    }

    /// A dictionary with text keys.
    pub fn dict<K: Into<String>, V: Into<Value>>(pairs: impl IntoIterator<Item = (K, V)>) -> Value {
        Value::Dict(pairs.into_iter().map(|(key, value)| (Value::Text(key.into()), value.into())).collect())
    }

    /// Seconds; whole ones as an integer, since workers print them as they get them.
    pub fn seconds(seconds: f64) -> Value {
        match seconds.fract() == 0.0 && seconds.abs() < 1e15 {
            true => Value::Int(seconds as i128),
            false => Value::Float(seconds),
        }
    }

    /// As JSON, for the worker's info: bytes become text, references nothing.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Value::None | Value::Theirs(_) | Value::Ours(_) | Value::Instance { .. } => Json::Null,
            Value::Bool(yes) => Json::Bool(*yes),
            Value::Int(number) => match i64::try_from(*number) {
                Ok(number) => Json::from(number),
                Err(_) => Json::from(*number as f64),
            },
            Value::Float(number) => Json::from(*number),
            Value::Bytes(bytes) => Json::from(String::from_utf8_lossy(bytes)),
            Value::Text(text) => Json::from(text.as_str()),
            Value::List(elements) | Value::Tuple(elements) => {
                Json::Array(elements.iter().map(Value::to_json).collect())
            }
            Value::Dict(pairs) => {
                let text = |key: &Value| key.as_text().unwrap_or_default();
                Json::Object(pairs.iter().map(|(key, value)| (text(key), value.to_json())).collect())
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Value {
        Value::Bool(yes)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Int(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Value {
        Value::Int(number.into())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::None, Into::into)
    }
}
