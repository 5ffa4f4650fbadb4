//! Values between our rows and MySQL's columns.

use mysql_async::{Column, Row as MySqlRow, Value as MySqlValue, consts::ColumnType};

use crate::{Error, Result, Row, Value};

/// The character set that stands for bytes which are no text.
const BINARY: u16 = 63;

/// Characters that a column can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charset {
    /// All.
    Full,
    /// Those of at most three bytes in UTF-8: Buildbot makes its tables so, and other characters are refused there.
    ThreeBytes,
}

pub(super) fn to_mysql(value: Value, charset: Charset) -> MySqlValue {
    match value {
        Value::Null => MySqlValue::NULL,
        Value::Int(number) => MySqlValue::Int(number),
        Value::Real(number) => MySqlValue::Double(number),
        Value::Text(text) if charset == Charset::ThreeBytes => MySqlValue::Bytes(narrow(text).into_bytes()),
        Value::Text(text) => MySqlValue::Bytes(text.into_bytes()),
        Value::Blob(bytes) => MySqlValue::Bytes(bytes),
    }
}

/// The text with a replacement for each character of four bytes: a write must not fail because of an emoji.
fn narrow(text: String) -> String {
    if text.bytes().all(|byte| byte < 0xf0) {
        return text;
    }
    text.chars().map(|c| if c.len_utf8() > 3 { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

pub(super) fn from_mysql(row: MySqlRow) -> Result<Row> {
    let columns = row.columns();
    let values = row.unwrap();
    columns.iter().zip(values).map(|(column, value)| cell(column, value)).collect::<Result<_>>().map(Row)
}

fn cell(column: &Column, value: MySqlValue) -> Result<Value> {
    let unexpected = |what: String| Error::Data(format!("column {} is {what}", column.name_str()));
    Ok(match value {
        MySqlValue::NULL => Value::Null,
        MySqlValue::Int(number) => Value::Int(number),
        MySqlValue::UInt(number) => {
            Value::Int(i64::try_from(number).map_err(|_| unexpected(number.to_string()))?)
        }
        MySqlValue::Float(number) => Value::Real(number.into()),
        MySqlValue::Double(number) => Value::Real(number),
        MySqlValue::Bytes(bytes) => match column.column_type() {
            // Sums are of this type; all of ours are whole numbers.
            ColumnType::MYSQL_TYPE_NEWDECIMAL | ColumnType::MYSQL_TYPE_DECIMAL => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                Value::Int(text.parse().map_err(|_| unexpected(text.clone()))?)
            }
            _ if column.character_set() == BINARY => Value::Blob(bytes),
            _ => Value::Text(String::from_utf8_lossy(&bytes).into_owned()),
        },
        other => return Err(unexpected(format!("{other:?}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_characters_of_four_bytes_are_replaced_and_only_where_they_must() {
        let text = || Value::Text("né 中 😀!".to_owned());
        assert_eq!(to_mysql(text(), Charset::ThreeBytes), MySqlValue::from("né 中 \u{fffd}!"));
        assert_eq!(to_mysql(text(), Charset::Full), MySqlValue::from("né 中 😀!"));
    }
}
