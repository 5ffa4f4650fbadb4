//! What a reader wants of a list: filters, order, page, fields (`docs/compat/www-api.md` A.5).

use muster_store::query::Op;
use serde_json::Value;

use super::{
    Error,
    types::{Field, FieldKind, Type},
};

/// One filter: the field compares with one of the values (with none of them for `Ne` and `NotIn`).
#[derive(Clone, Debug)]
pub struct Filter {
    /// Which field.
    pub field: &'static Field,
    /// How.
    pub op: Op,
    /// With what; never empty.
    pub values: Vec<Value>,
}

/// One sort key.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Which field.
    pub field: &'static Field,
    /// Largest first.
    pub descending: bool,
}

/// What a reader wants of a list.
#[derive(Clone, Debug, Default)]
pub struct ResultSpec {
    /// All must hold.
    pub filters: Vec<Filter>,
    /// Sort keys, the first weighs most.
    pub order: Vec<Order>,
    /// At most so many; negative is no limit.
    pub limit: Option<i64>,
    /// Without the first ones.
    pub offset: Option<i64>,
    /// Only these keys.
    pub fields: Option<Vec<&'static str>>,
    /// Names of properties to fill in; `*` for all.
    pub properties: Vec<String>,
}

impl ResultSpec {
    /// Parses query parameters for lists of `kind`.
    ///
    /// # Errors
    /// [`Error::BadRequest`] with Buildbot's texts. Known fields with unknown operators, unknown fields with known
    /// operators, and repeated comparisons are ignored, as there.
    pub fn parse(kind: &'static Type, query: &[(String, String)]) -> Result<ResultSpec, Error> {
        let mut spec = ResultSpec::default();
        for (name, values) in by_name(query) {
            spec.argument(kind, name, &values)?;
        }
        spec.check_selected()?;
        Ok(spec)
    }

    fn argument(&mut self, kind: &'static Type, name: &str, values: &[&str]) -> Result<(), Error> {
        let known = |name: &str| kind.field(name).ok_or_else(|| bad(format!("no such field '{name}'")));
        match name {
            "limit" => self.limit = Some(page_number(name, values)?),
            "offset" => self.offset = Some(page_number(name, values)?),
            "property" => self.properties = values.iter().map(|&value| value.to_owned()).collect(),
            "field" => {
                let fields: Result<Vec<&'static str>, Error> =
                    values.iter().map(|value| known(value).map(|field| field.name)).collect();
                self.fields = Some(fields?);
            }
            "order" => {
                for value in values {
                    let (descending, name) =
                        value.strip_prefix('-').map_or((false, *value), |name| (true, name));
                    self.order.push(Order { field: known(name)?, descending });
                }
            }
            _ => self.filter(kind, name, values)?,
        }
        Ok(())
    }

    fn filter(&mut self, kind: &'static Type, name: &str, values: &[&str]) -> Result<(), Error> {
        if let Some(field) = kind.field(name) {
            let values = parse_values(field, name, values)?;
            self.filters.push(Filter { field, op: Op::Eq, values });
            return Ok(());
        }
        let Some((field, op)) = name.rsplit_once("__") else {
            return Err(bad(format!("unrecognized query parameter '{name}'")));
        };
        let (Some(field), Some(op)) = (kind.field(field), op_named(op)) else { return Ok(()) };
        if values.len() > 1 && !matches!(op, Op::Eq | Op::Ne | Op::Contains | Op::In | Op::NotIn) {
            return Ok(());
        }
        let values = parse_values(field, name, values)?;
        self.filters.push(Filter { field, op, values });
        Ok(())
    }

    fn check_selected(&self) -> Result<(), Error> {
        let Some(fields) = &self.fields else { return Ok(()) };
        if self.order.iter().any(|order| !fields.contains(&order.field.name)) {
            return Err(bad("cannot order on un-selected fields".to_owned()));
        }
        if self.filters.iter().any(|filter| !fields.contains(&filter.field.name)) {
            return Err(bad("cannot filter on un-selected fields".to_owned()));
        }
        Ok(())
    }
}

fn bad(text: String) -> Error {
    Error::BadRequest(text)
}

/// The parameters in the order of their first appearance, each with all its values.
fn by_name(query: &[(String, String)]) -> Vec<(&str, Vec<&str>)> {
    let mut grouped: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, value) in query {
        match grouped.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value),
            None => grouped.push((name, vec![value])),
        }
    }
    grouped
}

fn op_named(name: &str) -> Option<Op> {
    Some(match name {
        "eq" => Op::Eq,
        "ne" => Op::Ne,
        "lt" => Op::Lt,
        "le" => Op::Le,
        "gt" => Op::Gt,
        "ge" => Op::Ge,
        "contains" => Op::Contains,
        "in" => Op::In,
        "notin" => Op::NotIn,
        _ => return None,
    })
}

fn page_number(name: &str, values: &[&str]) -> Result<i64, Error> {
    values.first().and_then(|value| python_int(value)).ok_or_else(|| bad(format!("invalid {name}")))
}

fn parse_values(field: &Field, name: &str, values: &[&str]) -> Result<Vec<Value>, Error> {
    let parsed: Option<Vec<Value>> = values.iter().map(|value| parse_value(&field.kind, value)).collect();
    parsed.ok_or_else(|| bad(format!("invalid filter value for {name}")))
}

fn parse_value(kind: &FieldKind, text: &str) -> Option<Value> {
    match kind {
        FieldKind::Int | FieldKind::Time => python_int(text).map(Value::from),
        FieldKind::Bool => match text.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" | "1" => Some(Value::Bool(true)),
            "off" | "false" | "no" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
        FieldKind::Text => Some(Value::from(text)),
        FieldKind::Identifier => is_api_identifier(text).then(|| Value::from(text)),
        FieldKind::List(element) => parse_value(element, text),
        FieldKind::Json | FieldKind::Properties | FieldKind::Binary | FieldKind::Entity(_) => None,
    }
}

/// A number as Python's `int()` accepts it: spaces around, a sign, single underscores between digits.
pub(super) fn python_int(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.split('_').any(|part| part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    // Python's numbers have no end; no id lies beyond ours.
    let number = digits.parse::<i64>().unwrap_or(i64::MAX);
    Some(if negative { -number } else { number })
}

/// `^[a-zA-Z_-][a-zA-Z0-9._-]*$` (`docs/compat/www-api.md` A.2).
pub(super) fn is_api_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-'));
    first && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::types::{BUILD, BUILDER};

    fn parse(kind: &'static Type, query: &[(&str, &str)]) -> Result<ResultSpec, String> {
        let query: Vec<_> = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        ResultSpec::parse(kind, &query).map_err(|error| error.to_string())
    }

    #[test]
    fn refusals_are_buildbots() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("bogus", "1")], "unrecognized query parameter 'bogus'"),
            (&[("field", "bogus")], "no such field 'bogus'"),
            (&[("order", "-bogus")], "no such field 'bogus'"),
            (&[("limit", "x")], "invalid limit"),
            (&[("offset", "")], "invalid offset"),
            (&[("complete", "maybe")], "invalid filter value for complete"),
            (&[("results__contains", "a")], "invalid filter value for results__contains"),
            (&[("properties", "a")], "invalid filter value for properties"),
            (&[("field", "buildid"), ("order", "-results")], "cannot order on un-selected fields"),
            (&[("field", "buildid"), ("results", "0")], "cannot filter on un-selected fields"),
        ];
        for (query, text) in cases {
            assert_eq!(parse(&BUILD, query).unwrap_err(), *text);
        }
    }

    #[test]
    fn some_nonsense_is_ignored_as_in_buildbot() {
        for query in [
            &[("buildid__bogus", "3")][..],
            &[("bogus__eq", "3")],
            &[("property__eq", "owner")],
            &[("buildid__lt", "3"), ("buildid__lt", "5")],
        ] {
            assert!(parse(&BUILD, query).unwrap().filters.is_empty(), "{query:?}");
        }
    }

    #[test]
    fn values_are_typed_and_collected() {
        let spec = parse(&BUILD, &[("results", "0"), ("complete", "YES"), ("results", " +2 ")]).unwrap();
        assert_eq!(spec.filters[0].values, [Value::from(0), Value::from(2)]);
        assert_eq!(spec.filters[1].values, [Value::Bool(true)]);
        let spec = parse(&BUILDER, &[("masterids__contains", "1_0")]).unwrap();
        assert_eq!((spec.filters[0].op, &spec.filters[0].values[..]), (Op::Contains, &[Value::from(10)][..]));
    }

    #[test]
    fn numbers_are_pythons() {
        assert_eq!(python_int("-1"), Some(-1));
        assert_eq!(python_int("99999999999999999999"), Some(i64::MAX));
        for text in ["", "-", "1__0", "_1", "1.0", "a"] {
            assert_eq!(python_int(text), None, "{text:?}");
        }
    }
}
