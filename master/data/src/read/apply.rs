//! A [`ResultSpec`] carried out: by the database where columns allow it, else in memory.

use std::cmp::Ordering;

use muster_store::query::{Op, Select, Table};
use serde_json::Value;

use super::{
    Error, Page,
    spec::{Filter, Order, ResultSpec},
};

/// Longest list that is read at once; whoever asks for more is told to ask in pages.
pub const MAX_LIST: i64 = 100_000;

/// What the database does of a spec, and what is left to do here.
pub(super) struct Plan {
    pub select: Select,
    rest: Option<ResultSpec>,
}

impl Plan {
    /// Pushes down filters, and order and page too when nothing is left to filter.
    pub(super) fn new(table: &Table, spec: &ResultSpec) -> Plan {
        let mut select = Select::all();
        let mut left: Vec<Filter> = Vec::new();
        for filter in &spec.filters {
            match table.column(filter.field.name) {
                Some(column) if column.supports(filter.op) => {
                    select = select.and(column, filter.op, filter.values.iter().map(sql_value).collect());
                }
                _ => left.push(filter.clone()),
            }
        }
        let columns = spec.order.iter().map(|order| {
            let column = table.column(order.field.name).filter(|column| column.orders());
            column.map(|column| (column, order.descending))
        });
        let order: Option<Vec<_>> = columns.collect();
        let (true, Some(order)) = (left.is_empty(), order) else {
            let rest = ResultSpec { filters: left, ..spec.clone() };
            return Plan { select: select.limit(MAX_LIST + 1), rest: Some(rest) };
        };
        for (column, descending) in order {
            select = select.order_by(column, descending);
        }
        let limit = spec.limit.filter(|limit| *limit >= 0).unwrap_or(i64::MAX);
        select = select.limit(limit.min(MAX_LIST + 1)).offset(spec.offset.unwrap_or(0));
        Plan { select, rest: None }
    }

    /// What is left to do here of the spec.
    pub(super) fn rest(&self) -> Option<&ResultSpec> {
        self.rest.as_ref()
    }

    /// Whether the database makes the page.
    pub(super) fn is_page(&self) -> bool {
        self.rest.is_none()
    }

    /// The page of what `select` found. Its total is the page's length where the database made the page.
    pub(super) fn finish(&self, items: Vec<Value>) -> Result<Page, Error> {
        check_length(items.len())?;
        match &self.rest {
            Some(rest) => Ok(in_memory(items, rest)),
            None => Ok(Page { total: items.len(), items }),
        }
    }
}

/// Narrows to rows with this value; a table without the column has no such rows to narrow.
pub(super) fn with(select: Select, table: &Table, field: &str, value: i64) -> Select {
    match table.column(field) {
        Some(column) => select.and(column, Op::Eq, vec![value.into()]),
        None => select,
    }
}

pub(super) fn check_length(length: usize) -> Result<(), Error> {
    if length as i64 > MAX_LIST {
        return Err(Error::BadRequest(format!(
            "the list has more than {MAX_LIST} items: ask for it in pages, with limit and offset"
        )));
    }
    Ok(())
}

/// Filters, orders and cuts a list that was read whole. Its total is the length before it was cut.
pub(super) fn in_memory(mut items: Vec<Value>, spec: &ResultSpec) -> Page {
    items.retain(|item| spec.filters.iter().all(|filter| holds(filter, item)));
    if !spec.order.is_empty() {
        items.sort_by(|a, b| compare_by(&spec.order, a, b));
    }
    let total = items.len();
    let offset = usize::try_from(spec.offset.unwrap_or(0)).unwrap_or(0);
    let limit = spec.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    Page { items: items.into_iter().skip(offset).take(limit).collect(), total }
}

/// What is left of a long list that is filtered and ordered here, of which only the keys and what orders them are kept.
#[derive(Default)]
pub(super) struct Sifted(Vec<(i64, Value)>);

impl Sifted {
    /// Takes the next items of the list, with their keys.
    pub(super) fn take(&mut self, items: Vec<(i64, Value)>, spec: &ResultSpec) {
        let wanted =
            items.into_iter().filter(|(_, item)| spec.filters.iter().all(|filter| holds(filter, item)));
        self.0.extend(wanted.map(|(key, mut item)| {
            let orders = spec.order.iter().map(|order| order.field.name);
            (key, orders.map(|name| (name.to_owned(), item[name].take())).collect())
        }));
    }

    /// The keys of the page, and the length before it was cut.
    pub(super) fn page(mut self, spec: &ResultSpec) -> (Vec<i64>, usize) {
        self.0.sort_by(|(_, a), (_, b)| compare_by(&spec.order, a, b));
        let total = self.0.len();
        let offset = usize::try_from(spec.offset.unwrap_or(0)).unwrap_or(0);
        let limit = spec.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        (self.0.into_iter().skip(offset).take(limit).map(|(key, _)| key).collect(), total)
    }
}

fn sql_value(value: &Value) -> muster_store::Value {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => number.as_i64().into(),
        Value::String(text) => text.into(),
        _ => muster_store::Value::Null,
    }
}

fn holds(filter: &Filter, item: &Value) -> bool {
    let value = &item[filter.field.name];
    let any = |test: fn(Ordering) -> bool| {
        filter.values.iter().any(|wanted| {
            // Nothing is smaller or larger than null.
            !value.is_null() && test(compare(value, wanted))
        })
    };
    match filter.op {
        Op::Eq | Op::In => filter.values.contains(value),
        Op::Ne | Op::NotIn => !filter.values.contains(value),
        Op::Lt => any(Ordering::is_lt),
        Op::Le => any(Ordering::is_le),
        Op::Gt => any(Ordering::is_gt),
        Op::Ge => any(Ordering::is_ge),
        Op::Contains => filter.values.iter().any(|wanted| contains(value, wanted)),
    }
}

fn contains(value: &Value, wanted: &Value) -> bool {
    match value {
        Value::Array(items) => items.contains(wanted),
        Value::String(text) => wanted.as_str().is_some_and(|wanted| text.contains(wanted)),
        Value::Number(number) => number.to_string().contains(&wanted.to_string()),
        _ => false,
    }
}

fn compare_by(order: &[Order], a: &Value, b: &Value) -> Ordering {
    let keys = order.iter().map(|key| {
        let ordering = compare(&a[key.field.name], &b[key.field.name]);
        if key.descending { ordering.reverse() } else { ordering }
    });
    keys.fold(Ordering::Equal, Ordering::then)
}

/// Nulls first, then by value; lists element by element, objects by their values.
fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => compare_each(a.iter(), b.iter()),
        (Value::Object(a), Value::Object(b)) => compare_each(a.values(), b.values()),
        _ => Ordering::Equal,
    }
}

fn compare_each<'a>(a: impl Iterator<Item = &'a Value>, b: impl Iterator<Item = &'a Value>) -> Ordering {
    let (a, b): (Vec<_>, Vec<_>) = (a.collect(), b.collect());
    let first_difference = a.iter().zip(&b).map(|(a, b)| compare(a, b)).find(|ordering| ordering.is_ne());
    first_difference.unwrap_or_else(|| a.len().cmp(&b.len()))
}

/// Keeps only the wanted keys of each item.
pub(super) fn select_fields(items: &mut [Value], spec: &ResultSpec) {
    let Some(fields) = &spec.fields else { return };
    for item in items {
        if let Some(item) = item.as_object_mut() {
            item.retain(|key, _| fields.contains(&key.as_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::read::types::WORKER;

    fn page(query: &[(&str, &str)]) -> (Vec<i64>, usize) {
        let workers = vec![
            json!({"workerid": 1, "name": "b", "pause_reason": null, "paused": false, "connected_to": []}),
            json!({"workerid": 2, "name": "a", "pause_reason": "rest", "paused": true, "connected_to": [{"masterid": 1}]}),
            json!({"workerid": 3, "name": "ab", "pause_reason": null, "paused": true, "connected_to": []}),
        ];
        let query: Vec<_> = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let page = in_memory(workers, &ResultSpec::parse(&WORKER, &query).unwrap());
        (page.items.iter().map(|item| item["workerid"].as_i64().unwrap()).collect(), page.total)
    }

    #[test]
    fn lists_in_memory_are_filtered_ordered_and_cut() {
        assert_eq!(page(&[("paused", "true"), ("order", "name")]), (vec![2, 3], 2));
        assert_eq!(page(&[("name__contains", "b")]), (vec![1, 3], 2));
        assert_eq!(page(&[("pause_reason__ne", "rest")]), (vec![1, 3], 2));
        assert_eq!(page(&[("pause_reason__gt", "")]), (vec![2], 1));
        assert_eq!(page(&[("order", "-name"), ("limit", "1"), ("offset", "1")]), (vec![3], 3));
        assert_eq!(page(&[("order", "-connected_to"), ("order", "-workerid")]), (vec![2, 3, 1], 3));
        assert_eq!(page(&[("limit", "0")]), (vec![], 3));
        assert_eq!(page(&[("limit", "-1")]), (vec![1, 2, 3], 3));
    }
}
