//! Python's operators on JSON values.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::pystr::{float_of, int_of, py_str, text_of, type_name};
use super::value::Operator;
use crate::integers;

/// Why an operator refuses: floats would change the number.
const TOO_BIG: &str = "an integer of more than 128 bits can only be reckoned with in a function of Python";

/// Most characters or items that `*` may give.
const MAX_REPEATED: usize = 1 << 20;

/// Applies `op`; the error is the text Python would give.
pub(super) fn apply(op: Operator, left: &Value, right: &Value) -> Result<Value, String> {
    match op {
        Operator::Eq => Ok(equal(left, right).into()),
        Operator::Ne => Ok((!equal(left, right)).into()),
        Operator::Lt => Ok(compare(op, left, right)?.is_lt().into()),
        Operator::Le => Ok(compare(op, left, right)?.is_le().into()),
        Operator::Gt => Ok(compare(op, left, right)?.is_gt().into()),
        Operator::Ge => Ok(compare(op, left, right)?.is_ge().into()),
        Operator::In => contains(left, right).map(Value::from),
        Operator::Add => add(left, right),
        Operator::Mul => multiply(left, right),
        Operator::Mod if text_of(left).is_some() => percent(left, right),
        Operator::Sub | Operator::Div | Operator::FloorDiv | Operator::Mod => arithmetic(op, left, right),
    }
}

fn symbol(op: Operator) -> String {
    serde_json::to_value(op).map_or_else(|_| String::new(), |v| py_str(&v))
}

fn unsupported(op: Operator, left: &Value, right: &Value) -> String {
    let (left, right) = (type_name(left), type_name(right));
    format!("unsupported operand type(s) for {}: '{left}' and '{right}'", symbol(op))
}

fn equal(left: &Value, right: &Value) -> bool {
    if let (Some(a), Some(b)) = (int_of(left), int_of(right)) {
        return a == b;
    }
    match (left, right) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => match (float_of(left), float_of(right)) {
            (Some(a), Some(b)) => a == b,
            _ => left == right,
        },
    }
}

fn compare(op: Operator, left: &Value, right: &Value) -> Result<Ordering, String> {
    if let (Some(a), Some(b)) = (int_of(left), int_of(right)) {
        return Ok(a.cmp(&b));
    }
    if let (Some(a), Some(b)) = (text_of(left), text_of(right)) {
        return Ok(a.cmp(b));
    }
    if let (Some(a), Some(b)) = (integer_digits(left), integer_digits(right)) {
        return Ok(integers::compare(&a, &b));
    }
    match (left, right) {
        (Value::Array(a), Value::Array(b)) => {
            for (a, b) in a.iter().zip(b) {
                if !equal(a, b) {
                    return compare(op, a, b);
                }
            }
            Ok(a.len().cmp(&b.len()))
        }
        _ => {
            let numbers = float_of(left).zip(float_of(right));
            numbers.and_then(|(a, b)| a.partial_cmp(&b)).ok_or_else(|| {
                let (left, right) = (type_name(left), type_name(right));
                format!("'{}' not supported between instances of '{left}' and '{right}'", symbol(op))
            })
        }
    }
}

/// The digits of an integer of any size.
fn integer_digits(value: &Value) -> Option<String> {
    let carried = || integers::of_value(value).map(str::to_owned);
    int_of(value).map(|number| number.to_string()).or_else(carried)
}

fn contains(item: &Value, container: &Value) -> Result<bool, String> {
    if let Some(text) = text_of(container) {
        let refused = || format!("'in <string>' requires string as left operand, not {}", type_name(item));
        return text_of(item).map(|part| text.contains(part)).ok_or_else(refused);
    }
    match (item, container) {
        (Value::String(key), Value::Object(object)) => Ok(object.contains_key(key)),
        (_, Value::Object(_)) => Ok(false),
        (_, Value::Array(items)) => Ok(items.iter().any(|other| equal(item, other))),
        (_, other) => Err(format!("argument of type '{}' is not iterable", type_name(other))),
    }
}

fn add(left: &Value, right: &Value) -> Result<Value, String> {
    if let (Some(a), Some(b)) = (text_of(left), text_of(right)) {
        return Ok(Value::String(format!("{a}{b}")));
    }
    match (left, right) {
        (Value::Array(a), Value::Array(b)) => Ok(a.iter().chain(b).cloned().collect()),
        _ => arithmetic(Operator::Add, left, right),
    }
}

fn multiply(left: &Value, right: &Value) -> Result<Value, String> {
    let is_sequence = |value: &Value| value.is_array() || text_of(value).is_some();
    let (sequence, times) = match (is_sequence(left), is_sequence(right)) {
        (true, _) => (left, right),
        (false, true) => (right, left),
        (false, false) => return arithmetic(Operator::Mul, left, right),
    };
    let times = int_of(times).ok_or_else(|| unsupported(Operator::Mul, left, right))?;
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    let length = match sequence {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    };
    if length.saturating_mul(times) > MAX_REPEATED {
        return Err("the result of * is too long".into());
    }
    Ok(match sequence {
        Value::String(text) => Value::String(text.repeat(times)),
        Value::Array(items) => std::iter::repeat_n(items, times).flatten().cloned().collect(),
        other => other.clone(),
    })
}

/// `'text %s' % value`, for the formats that take one value.
fn percent(format: &Value, value: &Value) -> Result<Value, String> {
    let one = std::slice::from_ref(value);
    let args = value.as_array().map_or(one, Vec::as_slice);
    let mut args = args.iter();
    let mut out = String::new();
    for piece in super::percent::parse(&py_str(format))? {
        match piece {
            super::percent::Piece::Text(text) => out.push_str(&text),
            super::percent::Piece::Field { key: Some(key), spec } => {
                let item = value.get(&key).ok_or_else(|| format!("KeyError: '{key}'"))?;
                out.push_str(&spec.format(item)?);
            }
            super::percent::Piece::Field { key: None, spec } => {
                let item = args.next().ok_or("not enough arguments for format string")?;
                out.push_str(&spec.format(item)?);
            }
        }
    }
    Ok(Value::String(out))
}

fn arithmetic(op: Operator, left: &Value, right: &Value) -> Result<Value, String> {
    if op != Operator::Div
        && let (Some(a), Some(b)) = (int_of(left), int_of(right))
    {
        return integer(op, a, b);
    }
    if op != Operator::Div && integer_digits(left).is_some() && integer_digits(right).is_some() {
        return Err(TOO_BIG.into());
    }
    let (Some(a), Some(b)) = (float_of(left), float_of(right)) else {
        return Err(unsupported(op, left, right));
    };
    if b == 0.0 && matches!(op, Operator::Div | Operator::FloorDiv | Operator::Mod) {
        return Err("division by zero".into());
    }
    let result = match op {
        Operator::Add => a + b,
        Operator::Sub => a - b,
        Operator::Mul => a * b,
        Operator::Div => a / b,
        Operator::FloorDiv => (a / b).floor(),
        _ => a - b * (a / b).floor(),
    };
    Number::from_f64(result).map(Value::Number).ok_or_else(|| "the result is not a number".into())
}

/// Python rounds quotients down, and the remainder has the divisor's sign.
fn integer(op: Operator, a: i128, b: i128) -> Result<Value, String> {
    let result = match op {
        Operator::Add => a.checked_add(b),
        Operator::Sub => a.checked_sub(b),
        Operator::Mul => a.checked_mul(b),
        _ if b == 0 => return Err("integer division or modulo by zero".into()),
        Operator::FloorDiv => {
            a.checked_div(b).map(|q| if a % b != 0 && (a < 0) != (b < 0) { q - 1 } else { q })
        }
        _ => a.checked_rem(b).map(|r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r }),
    };
    let value = result.and_then(|number| integers::parse(&number.to_string()));
    value.ok_or_else(|| TOO_BIG.into())
}
