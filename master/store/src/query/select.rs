//! Lists with conditions, order and page, as text and parameters.

use std::borrow::Cow;

use crate::{
    Value,
    dialect::{expand_list, padded},
};

/// How a condition compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// Part of a text, of a number's digits, or member of a list.
    Contains,
    In,
    NotIn,
}

/// What a list can be filtered and ordered by: its name in REST, and its SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The field's name in REST.
    pub field: &'static str,
    sql: &'static str,
    list: bool,
}

impl Column {
    /// A column or an expression over the row.
    pub(super) const fn new(field: &'static str, sql: &'static str) -> Column {
        Column { field, sql, list: false }
    }

    /// A list in a table beside; `sql` is true when one of its members is among `(??)`.
    pub(super) const fn list(field: &'static str, sql: &'static str) -> Column {
        Column { field, sql, list: true }
    }

    /// Whether the database can compare this column so.
    pub fn supports(&self, op: Op) -> bool {
        !self.list || op == Op::Contains
    }

    /// Whether the database can order by it.
    pub fn orders(&self) -> bool {
        !self.list
    }
}

/// What a list is read from.
#[derive(Debug)]
pub struct Table {
    /// What is selected, up to the conditions.
    pub(super) select: &'static str,
    /// The unique column that makes every order total.
    pub(super) key: &'static str,
    /// What it can be filtered and ordered by.
    pub columns: &'static [Column],
}

impl Table {
    /// The column of a REST field.
    pub fn column(&self, field: &str) -> Option<Column> {
        self.columns.iter().find(|column| column.field == field).copied()
    }
}

#[derive(Clone, Debug)]
struct Condition {
    column: Column,
    op: Op,
    values: Vec<Value>,
}

/// Which rows, in which order, how many. Column texts are static; every value is a parameter.
#[derive(Clone, Debug, Default)]
pub struct Select {
    conditions: Vec<Condition>,
    fixed: Vec<(Cow<'static, str>, Vec<Value>)>,
    order: Vec<(Column, bool)>,
    limit: Option<i64>,
    offset: i64,
}

impl Select {
    /// Everything, by id.
    pub fn all() -> Select {
        Select::default()
    }

    /// Only rows whose column compares with one of the values (with none of them for `Ne` and `NotIn`).
    pub fn and(mut self, column: Column, op: Op, values: Vec<Value>) -> Select {
        self.conditions.push(Condition { column, op, values });
        self
    }

    /// Only rows for which the text holds.
    pub(super) fn only(mut self, condition: &'static str, params: Vec<Value>) -> Select {
        self.fixed.push((condition.into(), params));
        self
    }

    /// Only rows for which the text holds, with its list `(??)` of values, of which there must be some.
    pub(super) fn only_among(mut self, condition: &'static str, list: Vec<Value>) -> Select {
        let list = padded(list);
        self.fixed.push((expand_list(condition, list.len()).into(), list));
        self
    }

    /// Only the rows of `table` with these keys, of which there must be some.
    pub fn among(mut self, table: &Table, keys: &[i64]) -> Select {
        let list = padded(keys.iter().copied().map(Value::Int).collect());
        // SQL: a table's own key.
        let condition = format!("{} IN (??)", table.key);
        self.fixed.push((expand_list(&condition, list.len()).into(), list));
        self
    }

    /// One more sort key.
    pub fn order_by(mut self, column: Column, descending: bool) -> Select {
        self.order.push((column, descending));
        self
    }

    /// At most so many rows.
    pub fn limit(mut self, limit: i64) -> Select {
        self.limit = Some(limit);
        self
    }

    /// Without the first rows.
    pub fn offset(mut self, offset: i64) -> Select {
        self.offset = offset.max(0);
        self
    }

    /// The statement that counts what is named in `table`, page or not, and its parameters.
    pub(super) fn counting(&self, table: &Table) -> (String, Vec<Value>) {
        let (named, params) = self.named(table);
        let from = named.find(" FROM ").map_or("", |start| &named[start..]);
        // SQL: a table's own text and conditions, whose values are parameters.
        (format!("SELECT COUNT(*){from}"), params)
    }

    /// The statement over `table` and its parameters.
    pub(super) fn build(&self, table: &Table) -> (String, Vec<Value>) {
        let (mut text, mut params) = self.named(table);
        text += " ORDER BY ";
        text += &self.order_text(table.key);
        if self.limit.is_some() || self.offset > 0 {
            text += " LIMIT ? OFFSET ?";
            params.push(Value::Int(self.limit.unwrap_or(i64::MAX)));
            params.push(Value::Int(self.offset));
        }
        (text, params)
    }

    /// The statement over `table` for the keys of its rows alone, and its parameters.
    pub(super) fn keys(&self, table: &Table) -> (String, Vec<Value>) {
        let (text, params) = self.build(table);
        let from = text.find(" FROM ").map_or("", |start| &text[start..]);
        // SQL: a table's own key and text, and conditions whose values are parameters.
        (format!("SELECT {}{from}", table.key), params)
    }

    /// The statement with its conditions, in no order.
    fn named(&self, table: &Table) -> (String, Vec<Value>) {
        let mut params = Vec::new();
        let mut conditions: Vec<String> = Vec::new();
        for (text, values) in &self.fixed {
            conditions.push(text.clone().into_owned());
            params.extend(values.iter().cloned());
        }
        for condition in &self.conditions {
            conditions.push(condition.text());
            params.extend(condition.params());
        }
        let mut text = table.select.to_owned();
        if !conditions.is_empty() {
            text += " WHERE ";
            text += &conditions.join(" AND ");
        }
        (text, params)
    }

    fn order_text(&self, key: &str) -> String {
        let mut keys: Vec<String> = Vec::new();
        for (column, descending) in &self.order {
            keys.push(format!("{}{}", column.sql, if *descending { " DESC" } else { "" }));
        }
        if !self.order.iter().any(|(column, _)| column.sql == key) {
            keys.push(key.to_owned());
        }
        keys.join(", ")
    }
}

impl Condition {
    fn text(&self) -> String {
        let sql = self.column.sql;
        if self.column.list {
            return expand_list(sql, self.values.len());
        }
        let marks = || expand_list("(??)", self.values.len());
        match self.op {
            Op::Eq if self.values.len() == 1 => format!("{sql} = ?"),
            Op::Eq | Op::In => format!("{sql} IN {}", marks()),
            Op::Ne if self.values.len() == 1 => format!("{sql} <> ?"),
            Op::Ne | Op::NotIn => format!("{sql} NOT IN {}", marks()),
            Op::Lt => format!("{sql} < ?"),
            Op::Le => format!("{sql} <= ?"),
            Op::Gt => format!("{sql} > ?"),
            Op::Ge => format!("{sql} >= ?"),
            Op::Contains => {
                let each = vec![format!("CAST({sql} AS TEXT) LIKE ? ESCAPE '!'"); self.values.len()];
                format!("({})", each.join(" OR "))
            }
        }
    }

    fn params(&self) -> Vec<Value> {
        if self.op != Op::Contains || self.column.list {
            return self.values.clone();
        }
        self.values.iter().map(|value| Value::Text(format!("%{}%", escape_like(value)))).collect()
    }
}

fn escape_like(value: &Value) -> String {
    let text = match value {
        Value::Int(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        _ => String::new(),
    };
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table {
        select: "SELECT id FROM builds",
        key: "id",
        columns: &[
            Column::new("buildid", "id"),
            Column::new("results", "results"),
            Column::list("files", "EXISTS (SELECT 1 FROM f WHERE f.name IN (??))"),
        ],
    };

    fn column(field: &str) -> Column {
        TABLE.column(field).unwrap()
    }

    #[test]
    fn a_page_of_the_newest_is_ordered_by_the_key_alone() {
        let (text, params) = Select::all().order_by(column("buildid"), true).limit(50).build(&TABLE);
        assert_eq!(text, "SELECT id FROM builds ORDER BY id DESC LIMIT ? OFFSET ?");
        assert_eq!(params, [Value::Int(50), Value::Int(0)]);
    }

    #[test]
    fn several_values_are_a_set_and_other_orders_end_with_the_key() {
        let select = Select::all().and(column("results"), Op::Ne, vec![Value::Int(0), Value::Int(2)]);
        let (text, params) = select.order_by(column("results"), false).build(&TABLE);
        assert_eq!(text, "SELECT id FROM builds WHERE results NOT IN (?,?) ORDER BY results, id");
        assert_eq!(params, [Value::Int(0), Value::Int(2)]);
    }

    #[test]
    fn what_is_counted_is_all_that_is_named() {
        let select = Select::all().and(column("results"), Op::Gt, vec![Value::Int(2)]);
        let (text, params) = select.order_by(column("results"), false).limit(5).counting(&TABLE);
        assert_eq!(text, "SELECT COUNT(*) FROM builds WHERE results > ?");
        assert_eq!(params, [Value::Int(2)]);
    }

    #[test]
    fn keys_are_found_as_the_rows_are() {
        let select = Select::all().and(column("results"), Op::Gt, vec![Value::Int(2)]);
        let (text, _) = select.order_by(column("results"), false).limit(5).keys(&TABLE);
        assert_eq!(text, "SELECT id FROM builds WHERE results > ? ORDER BY results, id LIMIT ? OFFSET ?");
        let (text, params) = Select::all().among(&TABLE, &[7, 8]).build(&TABLE);
        assert_eq!(text, "SELECT id FROM builds WHERE id IN (?,?) ORDER BY id");
        assert_eq!(params, [Value::Int(7), Value::Int(8)]);
    }

    #[test]
    fn contains_takes_its_text_literally() {
        let select = Select::all()
            .and(column("results"), Op::Contains, vec![Value::Text("50%".to_owned())])
            .and(column("files"), Op::Contains, vec![Value::Text("a_b".to_owned())]);
        let (text, params) = select.build(&TABLE);
        assert_eq!(
            text,
            "SELECT id FROM builds WHERE (CAST(results AS TEXT) LIKE ? ESCAPE '!') \
             AND EXISTS (SELECT 1 FROM f WHERE f.name IN (?)) ORDER BY id"
        );
        assert_eq!(params, [Value::Text("%50!%%".to_owned()), Value::Text("a_b".to_owned())]);
    }
}
