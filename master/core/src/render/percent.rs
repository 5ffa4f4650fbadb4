//! Python's `%`-formatting: the pieces of a format, and how one value fills a field.

use serde_json::Value;

use super::pystr::{float_of, int_of, py_ascii, py_repr, py_str, type_name};
use crate::integers;

/// Widest field; a bigger width or precision is an error instead of a huge text.
const MAX_WIDTH: usize = 10_000;

/// One piece of a format.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    /// Stands for itself.
    Text(String),
    /// Is filled with a value.
    Field {
        /// Text between the parentheses.
        key: Option<String>,
        /// How the value is written.
        spec: Spec,
    },
}

/// How a value is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spec {
    alternate: bool,
    zero: bool,
    left: bool,
    space: bool,
    plus: bool,
    width: usize,
    precision: Option<usize>,
    conversion: char,
}

/// Cuts a format into pieces. The error is the text that Python gives.
pub(super) fn parse(format: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        let mut scanner = Scanner { rest: &rest[at + 1..] };
        if scanner.take('%') {
            text.push('%');
        } else {
            let key = scanner.key()?;
            let spec = scanner.spec()?;
            if spec.conversion == '%' {
                text.push('%');
            } else {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Field { key, spec });
            }
        }
        rest = scanner.rest;
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn take(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// The text up to the parenthesis that balances the first one.
    fn key(&mut self) -> Result<Option<String>, String> {
        if !self.take('(') {
            return Ok(None);
        }
        let mut open = 1_usize;
        for (at, c) in self.rest.char_indices() {
            match c {
                '(' => open += 1,
                ')' => open -= 1,
                _ => continue,
            }
            if open == 0 {
                let key = self.rest[..at].to_owned();
                self.rest = &self.rest[at + 1..];
                return Ok(Some(key));
            }
        }
        Err("incomplete format key".into())
    }

    fn spec(&mut self) -> Result<Spec, String> {
        let mut spec = Spec::default();
        loop {
            if self.take('#') {
                spec.alternate = true;
            } else if self.take('0') {
                spec.zero = true;
            } else if self.take('-') {
                spec.left = true;
            } else if self.take(' ') {
                spec.space = true;
            } else if self.take('+') {
                spec.plus = true;
            } else {
                break;
            }
        }
        spec.width = self.number()?.unwrap_or(0);
        if self.take('.') {
            spec.precision = Some(self.number()?.unwrap_or(0));
        }
        while self.take('l') || self.take('h') || self.take('L') {}
        let conversion = self.rest.chars().next().ok_or("incomplete format")?;
        if !"diouxXeEfFgGcrsa%".contains(conversion) {
            return Err(format!(
                "unsupported format character '{conversion}' (0x{:x})",
                u32::from(conversion)
            ));
        }
        spec.conversion = conversion;
        self.rest = &self.rest[conversion.len_utf8()..];
        Ok(spec)
    }

    fn number(&mut self) -> Result<Option<usize>, String> {
        if self.rest.starts_with('*') {
            return Err("* wants int".into());
        }
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let digits = &self.rest[..end];
        self.rest = &self.rest[end..];
        if digits.is_empty() {
            return Ok(None);
        }
        match digits.parse() {
            Ok(number) if number <= MAX_WIDTH => Ok(Some(number)),
            _ => Err("width too big".into()),
        }
    }
}

impl Spec {
    /// Whether every value, also a text, can be written this way (`%s`, `%r`, `%a`); else the text of Python's error.
    pub(super) fn accepts_text(&self) -> Result<(), String> {
        match self.conversion {
            's' | 'r' | 'a' => Ok(()),
            'c' => Err("%c requires int or char".into()),
            'x' | 'X' | 'o' => Err(format!("%{} format: an integer is required, not str", self.conversion)),
            'd' | 'i' | 'u' => {
                Err(format!("%{} format: a real number is required, not str", self.conversion))
            }
            _ => Err("must be real number, not str".into()),
        }
    }

    /// Writes `value`.
    pub(super) fn format(&self, value: &Value) -> Result<String, String> {
        match self.conversion {
            's' => Ok(self.pad_text(py_str(value))),
            'r' => Ok(self.pad_text(py_repr(value))),
            'a' => Ok(self.pad_text(py_ascii(value))),
            'c' => self.character(value),
            'd' | 'i' | 'u' => {
                if let Some(digits) = integers::of_value(value) {
                    let magnitude = digits.trim_start_matches('-');
                    return Ok(self.pad_number(digits.starts_with('-'), "", magnitude.to_owned()));
                }
                let number = match value {
                    Value::Number(n) if n.as_i64().is_none() && n.as_u64().is_none() => {
                        n.as_f64().map(|f| f.trunc() as i128)
                    }
                    other => int_of(other),
                };
                let number = number.ok_or_else(|| self.wants("a real number is", value))?;
                Ok(self.pad_number(number < 0, "", number.unsigned_abs().to_string()))
            }
            'x' | 'X' | 'o' => self.radix(value),
            _ => self.float(value),
        }
    }

    fn wants(&self, what: &str, value: &Value) -> String {
        format!("%{} format: {what} required, not {}", self.conversion, type_name(value))
    }

    fn character(&self, value: &Value) -> Result<String, String> {
        let text = match value {
            Value::String(text) if text.chars().count() == 1 => text.clone(),
            other => int_of(other)
                .and_then(|n| u32::try_from(n).ok())
                .and_then(char::from_u32)
                .map(String::from)
                .ok_or("%c requires int or char")?,
        };
        Ok(self.pad_text(text))
    }

    fn radix(&self, value: &Value) -> Result<String, String> {
        let refused = || match integers::of_value(value) {
            Some(_) => format!("%{} takes integers of at most 128 bits", self.conversion),
            None => self.wants("an integer is", value),
        };
        let number = int_of(value).ok_or_else(refused)?;
        let magnitude = number.unsigned_abs();
        let (prefix, digits) = match self.conversion {
            'x' => ("0x", format!("{magnitude:x}")),
            'X' => ("0X", format!("{magnitude:X}")),
            _ => ("0o", format!("{magnitude:o}")),
        };
        Ok(self.pad_number(number < 0, if self.alternate { prefix } else { "" }, digits))
    }

    fn float(&self, value: &Value) -> Result<String, String> {
        let number = match value {
            Value::Bool(flag) => f64::from(u8::from(*flag)),
            other => {
                float_of(other).ok_or_else(|| format!("must be real number, not {}", type_name(other)))?
            }
        };
        let precision = self.precision.unwrap_or(6);
        let magnitude = number.abs();
        let digits = match self.conversion.to_ascii_lowercase() {
            'f' => format!("{magnitude:.precision$}"),
            'e' => exponent(magnitude, precision),
            _ => general(magnitude, precision),
        };
        let digits = if self.conversion.is_ascii_uppercase() { digits.to_uppercase() } else { digits };
        let zero_padded = Spec { precision: None, ..self.clone() };
        Ok(zero_padded.pad_number(number.is_sign_negative(), "", digits))
    }

    fn pad_text(&self, text: String) -> String {
        let text = match self.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text,
        };
        let missing = self.width.saturating_sub(text.chars().count());
        if self.left { text + &" ".repeat(missing) } else { " ".repeat(missing) + &text }
    }

    fn pad_number(&self, negative: bool, prefix: &str, digits: String) -> String {
        let sign = match (negative, self.plus, self.space) {
            (true, _, _) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        };
        let zeros = self.precision.unwrap_or(0).saturating_sub(digits.len());
        let digits = "0".repeat(zeros) + &digits;
        let missing = self.width.saturating_sub(sign.len() + prefix.len() + digits.len());
        if self.left {
            format!("{sign}{prefix}{digits}{}", " ".repeat(missing))
        } else if self.zero {
            format!("{sign}{prefix}{}{digits}", "0".repeat(missing))
        } else {
            format!("{}{sign}{prefix}{digits}", " ".repeat(missing))
        }
    }
}

/// C's `%e`: at least two digits of exponent.
fn exponent(number: f64, precision: usize) -> String {
    let text = format!("{number:.precision$e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent),
            };
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        None => text,
    }
}

/// C's `%g`: the shorter of `%e` and `%f`, without trailing zeros.
fn general(number: f64, precision: usize) -> String {
    let precision = precision.max(1);
    let scientific = exponent(number, precision - 1);
    let power: i64 = scientific.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let limit = i64::try_from(precision).unwrap_or(i64::MAX);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if power < -4 || power >= limit {
        match scientific.split_once('e') {
            Some((mantissa, rest)) => format!("{}e{rest}", trim(mantissa)),
            None => scientific,
        }
    } else {
        let decimals = usize::try_from(limit - 1 - power).unwrap_or(0);
        trim(&format!("{number:.decimals$}"))
    }
}
