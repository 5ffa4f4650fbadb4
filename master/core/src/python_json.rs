//! JSON text between Python and here: it may hold what our texts and numbers can't, and what stands for it meanwhile
//! ([`surrogates`], [`integers`]).

use std::borrow::Cow;

use crate::{integers, surrogates};

/// Python's JSON text, as a JSON parser here takes it.
pub fn carried(json: &str) -> Cow<'_, str> {
    match surrogates::carried(json) {
        Cow::Borrowed(json) => integers::carried(json),
        Cow::Owned(json) => Cow::Owned(integers::carried(&json).into_owned()),
    }
}

/// JSON text that was written here, as Python writes it.
pub fn restored(json: &str) -> Cow<'_, str> {
    match integers::numbers(json) {
        Cow::Borrowed(json) => surrogates::escapes(json),
        Cow::Owned(json) => Cow::Owned(surrogates::escapes(&json).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_carried() {
        let python = r#"["caf\udce9",1180591620717411303424]"#;
        let value: serde_json::Value = serde_json::from_str(&carried(python)).unwrap();
        assert_eq!(restored(&value.to_string()), python);
    }
}
