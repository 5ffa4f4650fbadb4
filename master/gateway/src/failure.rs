//! Errors as they cross PB (`docs/compat/worker-protocol.md` 1.4).

use crate::value::Value;

/// The class under which a failure is copied.
const CLASS: &str = "twisted.spread.pb.CopyableFailure";

/// An error of Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its class and all base classes; peers decide by these.
    pub parents: Vec<String>,
    /// In words.
    pub value: String,
    /// Where it was raised.
    pub traceback: String,
}

impl Failure {
    fn new(parents: &[&str], value: impl Into<String>) -> Failure {
        let bases = ["builtins.Exception", "builtins.BaseException", "builtins.object"];
        Failure {
            parents: parents.iter().chain(&bases).map(ToString::to_string).collect(),
            value: value.into(),
            traceback: "Traceback unavailable\n".into(),
        }
    }

    /// Wrong name or password: the one refusal of a log-in that does not end a worker's process.
    pub fn unauthorized() -> Failure {
        let parents = [
            "twisted.cred.error.UnauthorizedLogin",
            "twisted.cred.error.LoginFailed",
            "twisted.cred.error.Unauthorized",
        ];
        Failure::new(&parents, "")
    }

    /// A method that an object does not have.
    pub fn no_such_method(method: &str) -> Failure {
        let parents = ["twisted.spread.flavors.NoSuchMethod", "builtins.AttributeError"];
        Failure::new(&parents, format!("No such method: remote_{method}"))
    }

    /// An object that is not exported, or not any more.
    pub fn no_such_object() -> Failure {
        Failure::new(&["twisted.spread.pb.Error"], "Invalid Object ID")
    }

    /// Anything else.
    pub fn error(value: impl Into<String>) -> Failure {
        Failure::new(&["builtins.RuntimeError"], value)
    }

    /// The failure in a value; one that has another form is taken as its words.
    pub fn from_value(value: &Value) -> Failure {
        let Value::Instance { state, .. } = value else {
            return Failure::error(value.as_text().unwrap_or_else(|| format!("{value:?}")));
        };
        let text = |key: &str| state.get(key).and_then(Value::as_text).unwrap_or_default();
        let parents = state.get("parents").and_then(Value::elements).unwrap_or_default();
        let mut parents: Vec<String> = parents.iter().filter_map(Value::as_text).collect();
        if parents.is_empty() {
            parents.push(text("type"));
        }
        Failure { parents, value: text("value"), traceback: text("traceback") }
    }

    /// As it is sent.
    pub fn to_value(&self) -> Value {
        let class = self.parents.first().map_or("", String::as_str);
        let state = Value::dict([
            ("type", Value::Bytes(class.as_bytes().to_vec())),
            ("value", self.value.as_str().into()),
            ("parents", Value::List(self.parents.iter().map(|name| name.as_str().into()).collect())),
            ("traceback", self.traceback.as_str().into()),
            ("tb", Value::None),
            ("frames", Value::List(Vec::new())),
            ("stack", Value::List(Vec::new())),
            ("count", Value::Int(0)),
            ("captureVars", Value::Bool(false)),
            ("unsafeTracebacks", Value::Bool(true)),
        ]);
        Value::Instance { class: CLASS.into(), state: Box::new(state) }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.parents.first().map_or("error", String::as_str), self.value)
    }
}
