//! Jelly: values of Python as nested lists (`docs/compat/worker-protocol.md` 1.3).

use std::collections::HashMap;

use muster_core::surrogates;

use crate::banana::Item;
use crate::value::Value;

/// Elements of a value once shared parts are written out; a few bytes on the wire could name the same part for ever.
const MAX_ELEMENTS: usize = 1 << 20;

/// Why an expression is no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JellyError {
    /// A list that does not begin with a known tag.
    #[error("{0:?} is no kind of value")]
    UnknownTag(String),
    /// A tag with the wrong number or kind of parts.
    #[error("a malformed {0}")]
    Malformed(&'static str),
    /// A part that was never named, or names itself.
    #[error("shared part {0} is not known")]
    UnknownPart(i128),
    /// Over [`MAX_ELEMENTS`].
    #[error("a value has more than {MAX_ELEMENTS} elements")]
    TooLarge,
}

/// The value in an expression.
///
/// # Errors
/// When it is none, or too large.
pub fn decode(item: Item) -> Result<Value, JellyError> {
    Unjellier { parts: HashMap::new(), elements: 0 }.value(item)
}

struct Unjellier {
    /// Shared parts, with their numbers of elements.
    parts: HashMap<i128, (Value, usize)>,
    elements: usize,
}

impl Unjellier {
    fn value(&mut self, item: Item) -> Result<Value, JellyError> {
        self.count(1)?;
        let items = match item {
            Item::Int(number) => return Ok(Value::Int(number)),
            Item::Float(number) => return Ok(Value::Float(number)),
            Item::Bytes(bytes) => return Ok(Value::Bytes(bytes)),
            Item::List(items) => items,
        };
        let mut items = items.into_iter();
        let Some(Item::Bytes(tag)) = items.next() else { return Err(JellyError::Malformed("list")) };
        match tag.as_slice() {
            b"None" => Ok(Value::None),
            b"boolean" => match one(items, "boolean")? {
                Item::Bytes(word) => Ok(Value::Bool(word == b"true")),
                _ => Err(JellyError::Malformed("boolean")),
            },
            b"unicode" => match one(items, "unicode")? {
                Item::Bytes(bytes) => Ok(Value::Text(text(bytes))),
                _ => Err(JellyError::Malformed("unicode")),
            },
            b"list" | b"set" | b"frozenset" => Ok(Value::List(self.values(items)?)),
            b"tuple" => Ok(Value::Tuple(self.values(items)?)),
            b"dictionary" => items.map(|pair| self.pair(pair)).collect::<Result<_, _>>().map(Value::Dict),
            b"remote" => Ok(Value::Theirs(reference(items)?)),
            b"local" => Ok(Value::Ours(reference(items)?)),
            b"reference" => self.named(items),
            b"dereference" => self.known(items),
            b"datetime" | b"date" | b"time" | b"timedelta" | b"decimal" => match one(items, "time")? {
                Item::Bytes(bytes) => Ok(Value::Text(text(bytes))),
                _ => Err(JellyError::Malformed("time")),
            },
            class if class.contains(&b'.') => {
                let state = self.value(one(items, "instance")?)?;
                Ok(Value::Instance { class: text(tag), state: Box::new(state) })
            }
            _ => Err(JellyError::UnknownTag(text(tag))),
        }
    }

    fn values(&mut self, items: impl Iterator<Item = Item>) -> Result<Vec<Value>, JellyError> {
        items.map(|item| self.value(item)).collect()
    }

    fn pair(&mut self, pair: Item) -> Result<(Value, Value), JellyError> {
        let Item::List(pair) = pair else { return Err(JellyError::Malformed("dictionary")) };
        let [key, value] = <[Item; 2]>::try_from(pair).map_err(|_| JellyError::Malformed("dictionary"))?;
        Ok((self.value(key)?, self.value(value)?))
    }

    fn named(&mut self, mut items: impl Iterator<Item = Item>) -> Result<Value, JellyError> {
        let (Some(Item::Int(number)), Some(item), None) = (items.next(), items.next(), items.next()) else {
            return Err(JellyError::Malformed("reference"));
        };
        let before = self.elements;
        let value = self.value(item)?;
        let elements = self.elements - before;
        // The copy that is kept counts as well.
        self.count(elements)?;
        self.parts.insert(number, (value.clone(), elements));
        Ok(value)
    }

    fn known(&mut self, items: impl Iterator<Item = Item>) -> Result<Value, JellyError> {
        let Item::Int(number) = one(items, "dereference")? else {
            return Err(JellyError::Malformed("dereference"));
        };
        let elements = self.parts.get(&number).ok_or(JellyError::UnknownPart(number))?.1;
        self.count(elements)?;
        Ok(self.parts[&number].0.clone())
    }

    fn count(&mut self, elements: usize) -> Result<(), JellyError> {
        self.elements += elements;
        if self.elements > MAX_ELEMENTS { Err(JellyError::TooLarge) } else { Ok(()) }
    }
}

fn one(mut items: impl Iterator<Item = Item>, what: &'static str) -> Result<Item, JellyError> {
    match (items.next(), items.next()) {
        (Some(item), None) => Ok(item),
        _ => Err(JellyError::Malformed(what)),
    }
}

fn reference(items: impl Iterator<Item = Item>) -> Result<u64, JellyError> {
    match one(items, "reference to an object")? {
        Item::Int(number) => {
            u64::try_from(number).map_err(|_| JellyError::Malformed("reference to an object"))
        }
        _ => Err(JellyError::Malformed("reference to an object")),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The expression of a value.
pub fn encode(value: &Value) -> Item {
    match value {
        Value::None => tagged("None", []),
        Value::Bool(yes) => tagged("boolean", [bytes(if *yes { "true" } else { "false" })]),
        Value::Int(number) => Item::Int(*number),
        Value::Float(number) => Item::Float(*number),
        Value::Bytes(bytes) => Item::Bytes(bytes.clone()),
        // A file name that is no UTF-8: workers take bytes where they take texts.
        Value::Text(text) if surrogates::has_any(text) => {
            Item::Bytes(surrogates::to_bytes(text).into_owned())
        }
        Value::Text(text) => tagged("unicode", [bytes(text)]),
        Value::List(values) => tagged("list", values.iter().map(encode)),
        Value::Tuple(values) => tagged("tuple", values.iter().map(encode)),
        Value::Dict(pairs) => {
            let pair = |(key, value): &(Value, Value)| Item::List(vec![encode(key), encode(value)]);
            tagged("dictionary", pairs.iter().map(pair))
        }
        Value::Ours(object) => tagged("remote", [Item::Int((*object).into())]),
        Value::Theirs(object) => tagged("local", [Item::Int((*object).into())]),
        Value::Instance { class, state } => Item::List(vec![bytes(class), encode(state)]),
    }
}

fn bytes(text: &str) -> Item {
    Item::Bytes(text.as_bytes().to_vec())
}

fn tagged(tag: &str, items: impl IntoIterator<Item = Item>) -> Item {
    Item::List(std::iter::once(bytes(tag)).chain(items).collect())
}
