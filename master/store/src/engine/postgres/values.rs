//! Values between our rows and PostgreSQL's columns.

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::{Value, engine::Mode};

type BoxedError = Box<dyn std::error::Error + Sync + Send>;

/// A number that its column can't take.
#[derive(Debug, thiserror::Error)]
#[error("{0} does not fit into the column")]
pub(super) struct OutOfRange(i64);

/// A parameter; its form follows the type that the server expects.
#[derive(Debug)]
pub(super) struct Param {
    pub(super) value: Value,
    pub(super) mode: Mode,
}

impl Param {
    /// The number in `bits` bits. Where one only reads, a number beyond them is compared as the outermost: it equals
    /// no row, and every row lies on its inner side. Where one writes it is an error.
    fn fitting(&self, number: i64, min: i64, max: i64) -> Result<i64, BoxedError> {
        if (min..=max).contains(&number) {
            return Ok(number);
        }
        match self.mode {
            Mode::Look | Mode::Read => Ok(number.clamp(min, max)),
            Mode::Write => Err(OutOfRange(number).into()),
        }
    }

    /// Whether it can be sent as this type.
    pub(super) fn check(&self, ty: &Type) -> Result<(), BoxedError> {
        match (&self.value, ty) {
            (Value::Int(_) | Value::Real(_), _)
            | (Value::Text(_), &(Type::INT2 | Type::INT4 | Type::INT8 | Type::BOOL)) => {
                self.to_sql(ty, &mut BytesMut::new()).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    fn put_number(&self, number: i64, ty: &Type, out: &mut BytesMut) -> Result<(), BoxedError> {
        match *ty {
            Type::INT2 => out.put_i16(self.fitting(number, i16::MIN.into(), i16::MAX.into())? as i16),
            Type::INT4 => out.put_i32(self.fitting(number, i32::MIN.into(), i32::MAX.into())? as i32),
            Type::INT8 => out.put_i64(number),
            Type::BOOL => out.put_u8(u8::from(number != 0)),
            Type::FLOAT4 => out.put_f32(number as f32),
            Type::FLOAT8 => out.put_f64(number as f64),
            _ => out.put_slice(number.to_string().as_bytes()),
        }
        Ok(())
    }
}

impl ToSql for Param {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxedError> {
        match &self.value {
            Value::Null => return Ok(IsNull::Yes),
            Value::Int(number) => self.put_number(*number, ty, out)?,
            Value::Real(number) if *ty == Type::FLOAT4 => out.put_f32(*number as f32),
            Value::Real(number) if *ty == Type::FLOAT8 => out.put_f64(*number),
            Value::Real(number) => self.put_number(*number as i64, ty, out)?,
            Value::Text(text) => match *ty {
                Type::INT2 | Type::INT4 | Type::INT8 | Type::BOOL => {
                    self.put_number(text.trim().parse()?, ty, out)?
                }
                // PostgreSQL keeps every character but this one.
                _ => out.put_slice(text.replace('\0', "\u{fffd}").as_bytes()),
            },
            Value::Blob(bytes) => out.put_slice(bytes),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A column of a row.
pub(super) struct Cell(pub(super) Value);

impl<'a> FromSql<'a> for Cell {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Cell, BoxedError> {
        Ok(Cell(match *ty {
            Type::INT2 => Value::Int(i16::from_sql(ty, raw)?.into()),
            Type::INT4 => Value::Int(i32::from_sql(ty, raw)?.into()),
            Type::INT8 => Value::Int(i64::from_sql(ty, raw)?),
            Type::BOOL => Value::Int(bool::from_sql(ty, raw)?.into()),
            Type::FLOAT4 => Value::Real(f32::from_sql(ty, raw)?.into()),
            Type::FLOAT8 => Value::Real(f64::from_sql(ty, raw)?),
            Type::BYTEA => Value::Blob(raw.to_owned()),
            _ => Value::Text(std::str::from_utf8(raw)?.to_owned()),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Cell, BoxedError> {
        Ok(Cell(Value::Null))
    }

    fn accepts(ty: &Type) -> bool {
        // A number of arbitrary length has a binary form of its own; statements cast sums where they need them.
        *ty != Type::NUMERIC
    }
}
