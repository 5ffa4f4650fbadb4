//! Secrets that a build has used, and what people see in their place. Every way from a secret to something shown goes through
//! here: logs, states, names, links, properties, errors, journals.

use std::borrow::Cow;

use serde_json::Value;

/// Bytes of a line of a secret that is concealed by itself: output comes in pieces that end anywhere. In a shorter line, like
/// a lone bracket, there is little of the secret, and it would be taken out of everything else.
const MIN_SECRET_LINE: usize = 8;

/// Values that must not show up, longest first, and what stands for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// From now on `<name>` stands for this value, for each line of it, and for both as they stand in addresses. A blank
    /// value is no secret.
    pub(crate) fn add(&mut self, value: &str, name: &str) {
        let value = value.trim();
        let lines = value.lines().map(str::trim).filter(|line| line.len() >= MIN_SECRET_LINE);
        for secret in [value].into_iter().chain(lines) {
            for form in [secret.to_owned(), in_an_address(secret)] {
                if !form.is_empty() && !self.0.iter().any(|(known, _)| *known == form) {
                    self.0.push((form, format!("<{name}>")));
                }
            }
        }
        self.0.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
    }

    /// Text as people may see it.
    pub(crate) fn concealed<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.0.iter().fold(Cow::Borrowed(text), |text, (secret, stand_in)| match text.contains(secret) {
            true => Cow::Owned(text.replace(secret, stand_in)),
            false => text,
        })
    }

    /// The same, in place.
    pub(crate) fn conceal(&self, text: &mut String) {
        if let Cow::Owned(concealed) = self.concealed(text) {
            *text = concealed;
        }
    }

    /// All texts of a value, its keys too.
    pub(crate) fn conceal_value(&self, value: &mut Value) {
        if self.0.is_empty() {
            return;
        }
        match value {
            Value::String(text) => self.conceal(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.conceal_value(item)),
            Value::Object(items) => {
                *items = std::mem::take(items)
                    .into_iter()
                    .map(|(key, mut item)| {
                        self.conceal_value(&mut item);
                        (self.concealed(&key).into_owned(), item)
                    })
                    .collect();
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Bytes of the longest one: so much of a text may belong to a secret whose end has not come.
    pub(crate) fn longest(&self) -> usize {
        self.0.first().map_or(0, |(secret, _)| secret.len())
    }
}

/// A text as the part of an address.
fn in_an_address(text: &str) -> String {
    let mut address = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => address.push(byte.into()),
            _ => address.push_str(&format!("%{byte:02X}")),
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_is_concealed_in_every_form_and_place() {
        let mut secrets = Secrets::default();
        secrets.add("a b/c\n", "token");
        secrets.add("first line 1\nx\nsecond line", "key");
        secrets.add(" ", "blank");
        assert_eq!(
            secrets.concealed("say a b/c, https://h/?t=a%20b%2Fc"),
            "say <token>, https://h/?t=<token>"
        );
        assert_eq!(secrets.concealed("second line\nx"), "<key>\nx");
        let mut value = json!({"a b/c": ["a b/c", 1, null, {"k": "x a b/c"}]});
        secrets.conceal_value(&mut value);
        assert_eq!(value, json!({"<token>": ["<token>", 1, null, {"k": "x <token>"}]}));
    }
}
