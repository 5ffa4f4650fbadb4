//! Decodes the arguments of a configured step into the type of its kind, and finds all that is wrong with them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use muster_config::snapshot::{StepConfig, Values};
use muster_core::render::Renderable;
use serde::{
    Deserialize, Deserializer, de,
    de::{DeserializeSeed, IntoDeserializer, MapAccess, Visitor, value::MapDeserializer},
    forward_to_deserialize_any,
};
use serde_json::Value;

use super::rendered::{FIELDS, GIVEN, IS_CHECKED, NAME, RENDERED, VALUE};

/// What the name of a group of arguments begins with.
const GROUP: &str = "..";

/// What came of decoding a step.
pub(in crate::steps) struct Decoded<T> {
    /// The step. One with wrong arguments can't run, but say what it would have run; none where not even that is known.
    pub(in crate::steps) step: Option<T>,
    /// What is wrong, one text for each argument.
    pub(in crate::steps) wrong: Vec<String>,
    /// Arguments that the kind doesn't have. A step that another version of Muster has written may have some.
    pub(in crate::steps) unknown: Vec<String>,
    /// Those that it has.
    pub(in crate::steps) known: BTreeSet<&'static str>,
}

impl<T> Decoded<T> {
    /// The same with another form of the step.
    pub(in crate::steps) fn map<U>(self, change: impl FnOnce(T) -> U) -> Decoded<U> {
        let Decoded { step, wrong, unknown, known } = self;
        Decoded { step: step.map(change), wrong, unknown, known }
    }
}

/// Decodes the arguments of a step. Literal values are checked now, the others when they are rendered.
pub(in crate::steps) fn decode<T: for<'de> Deserialize<'de>>(config: &StepConfig) -> Decoded<T> {
    let known = RefCell::default();
    let mut wrong: BTreeMap<String, String> = BTreeMap::new();
    let step = loop {
        let all = All { args: &config.args, known: &known, wrong: &wrong };
        match T::deserialize(all) {
            Ok(step) => break Some(step),
            Err(Unfit { argument, text }) => {
                // The next turn leaves this argument unchecked, and finds the one after it.
                if wrong.insert(argument, text).is_some() {
                    break None;
                }
            }
        }
    };
    let known: BTreeSet<&'static str> = known.into_inner();
    let unknown = config.args.keys().filter(|name| !known.contains(name.as_str())).cloned().collect();
    let kind = &config.kind;
    let wrong = wrong.into_iter().map(|(name, text)| format!("{kind} argument {name}{text}")).collect();
    Decoded { step, wrong, unknown, known }
}

/// Why an argument doesn't fit: what follows its name.
#[derive(Debug)]
struct Unfit {
    argument: String,
    text: String,
}

impl Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.argument, self.text)
    }
}

impl std::error::Error for Unfit {}

impl de::Error for Unfit {
    fn custom<T: Display>(text: T) -> Unfit {
        Unfit { argument: String::new(), text: text.to_string() }
    }
}

/// All arguments of a step, for a struct that takes its own.
#[derive(Clone, Copy)]
struct All<'a> {
    args: &'a Values,
    known: &'a RefCell<BTreeSet<&'static str>>,
    wrong: &'a BTreeMap<String, String>,
}

impl<'de> Deserializer<'de> for All<'_> {
    type Error = Unfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_map(Fields { all: self, fields: [].iter(), field: "" })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        self.known.borrow_mut().extend(fields.iter().filter(|field| !field.starts_with(GROUP)));
        visitor.visit_map(Fields { all: self, fields: fields.iter(), field: "" })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The fields of one struct, each with its argument.
struct Fields<'a> {
    all: All<'a>,
    fields: std::slice::Iter<'static, &'static str>,
    field: &'static str,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Unfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unfit> {
        let Some(field) = self.fields.next() else { return Ok(None) };
        self.field = field;
        seed.deserialize((*field).into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Unfit> {
        if self.field.starts_with(GROUP) {
            return seed.deserialize(self.all);
        }
        let argument = One {
            name: self.field,
            value: self.all.args.get(self.field),
            is_checked: !self.all.wrong.contains_key(self.field),
        };
        seed.deserialize(argument).map_err(|unfit| Unfit { argument: self.field.to_owned(), ..unfit })
    }
}

/// One argument.
struct One<'a> {
    name: &'static str,
    value: Option<&'a Renderable>,
    is_checked: bool,
}

impl One<'_> {
    fn json(&self) -> Value {
        self.value.cloned().unwrap_or_default().into()
    }
}

impl<'de> Deserializer<'de> for One<'_> {
    type Error = Unfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.json().deserialize_any(visitor).map_err(|error| de::Error::custom(format!(": {error}")))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self.value {
            Some(value) if !value.is_none() => visitor.visit_some(self),
            _ => visitor.visit_none(),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        if name != RENDERED {
            return self
                .json()
                .deserialize_struct(name, fields, visitor)
                .map_err(|error| de::Error::custom(format!(": {error}")));
        }
        debug_assert_eq!(fields, FIELDS);
        let parts = [
            (NAME, Value::from(self.name)),
            (VALUE, self.json()),
            (GIVEN, self.value.is_some().into()),
            (IS_CHECKED, self.is_checked.into()),
        ];
        visitor
            .visit_map(MapDeserializer::new(parts.into_iter()))
            .map_err(|error: serde_json::Error| de::Error::custom(error))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}
