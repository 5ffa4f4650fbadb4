//! Values that go into and come out of statements, the same for every engine.

use muster_core::{Results, Timestamp, python_json};

use crate::{Error, Result};

/// One value of a row or a parameter.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

macro_rules! value_from {
    ($($type:ty, $value:ident => $expression:expr;)*) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Value {
                $expression
            }
        }
    )*};
}

value_from! {
    i64, v => Value::Int(v);
    i32, v => Value::Int(v.into());
    u32, v => Value::Int(v.into());
    u8, v => Value::Int(v.into());
    bool, v => Value::Int(v.into());
    f64, v => Value::Real(v);
    &str, v => Value::Text(v.to_owned());
    String, v => Value::Text(v);
    &String, v => Value::Text(v.clone());
    Vec<u8>, v => Value::Blob(v);
    &[u8], v => Value::Blob(v.to_owned());
    Timestamp, v => Value::Int(v.0);
    Results, v => Value::Int(v.code());
    muster_core::Epoch, v => Value::Int(v.0);
    muster_core::MasterId, v => Value::Int(v.0);
    muster_core::BuilderId, v => Value::Int(v.0);
    muster_core::WorkerId, v => Value::Int(v.0);
    muster_core::SchedulerId, v => Value::Int(v.0);
    muster_core::ChangeSourceId, v => Value::Int(v.0);
    muster_core::ChangeId, v => Value::Int(v.0);
    muster_core::SourceStampId, v => Value::Int(v.0);
    muster_core::BuildsetId, v => Value::Int(v.0);
    muster_core::RequestId, v => Value::Int(v.0);
    muster_core::BuildId, v => Value::Int(v.0);
    muster_core::StepId, v => Value::Int(v.0);
    muster_core::LogId, v => Value::Int(v.0);
    muster_core::ProjectId, v => Value::Int(v.0);
    muster_core::CodebaseId, v => Value::Int(v.0);
    muster_core::CommitId, v => Value::Int(v.0);
    muster_core::BranchId, v => Value::Int(v.0);
    muster_core::TestResultSetId, v => Value::Int(v.0);
}

impl<T> From<Option<T>> for Value
where
    Value: From<T>,
{
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Value::from)
    }
}

/// The parameters of a statement: `params![id, name]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { vec![$($crate::Value::from($value)),*] };
}

/// One row of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// Column `index` as a number.
    pub fn int(&self, index: usize) -> Result<i64> {
        self.opt_int(index)?.ok_or_else(|| self.unexpected(index, "a number"))
    }

    /// Column `index` as a number or NULL.
    pub fn opt_int(&self, index: usize) -> Result<Option<i64>> {
        match self.0.get(index) {
            Some(Value::Int(value)) => Ok(Some(*value)),
            Some(Value::Null) => Ok(None),
            _ => Err(self.unexpected(index, "a number")),
        }
    }

    /// Column `index` as a yes or no; NULL is no.
    pub fn bool(&self, index: usize) -> Result<bool> {
        Ok(self.opt_int(index)?.unwrap_or(0) != 0)
    }

    /// Column `index` as text.
    pub fn text(&self, index: usize) -> Result<String> {
        self.opt_text(index)?.ok_or_else(|| self.unexpected(index, "text"))
    }

    /// Column `index` as text or NULL.
    pub fn opt_text(&self, index: usize) -> Result<Option<String>> {
        match self.0.get(index) {
            Some(Value::Text(value)) => Ok(Some(value.clone())),
            Some(Value::Null) => Ok(None),
            // SQLite keeps what was written: a number in a text column is still its text.
            Some(Value::Int(value)) => Ok(Some(value.to_string())),
            _ => Err(self.unexpected(index, "text")),
        }
    }

    /// Column `index` as bytes; text counts as its bytes, NULL as none.
    pub fn bytes(&self, index: usize) -> Result<Vec<u8>> {
        match self.0.get(index) {
            Some(Value::Blob(value)) => Ok(value.clone()),
            Some(Value::Text(value)) => Ok(value.clone().into_bytes()),
            Some(Value::Null) => Ok(Vec::new()),
            _ => Err(self.unexpected(index, "bytes")),
        }
    }

    /// Column `index` as a moment.
    pub fn time(&self, index: usize) -> Result<Timestamp> {
        self.int(index).map(Timestamp)
    }

    /// Column `index` as a moment or NULL.
    pub fn opt_time(&self, index: usize) -> Result<Option<Timestamp>> {
        Ok(self.opt_int(index)?.map(Timestamp))
    }

    /// Column `index` as results; NULL and -1 are "not yet".
    pub fn results(&self, index: usize) -> Result<Option<Results>> {
        Ok(self.opt_int(index)?.and_then(Results::from_code))
    }

    /// Column `index` as JSON.
    pub fn json(&self, index: usize) -> Result<serde_json::Value> {
        let text = self.text(index)?;
        serde_json::from_str(&python_json::carried(&text))
            .map_err(|error| Error::Data(format!("{text:?} is not JSON: {error}")))
    }

    fn unexpected(&self, index: usize, wanted: &str) -> Error {
        Error::Data(format!("column {index} is {:?}, not {wanted}", self.0.get(index)))
    }
}
