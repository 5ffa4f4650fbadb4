//! SQL: the only place in the house where it is written.
//!
//! [`Db`] is a struct over the engines; statements are portable text with `?`, rendered once for each engine. Every
//! write runs inside [`Db::tx`] under a static name and comes out as [`Committed`], which is what the event bus asks for. One module
//! for each aggregate holds its statements.

pub mod absences;
pub mod builders;
pub mod builds;
pub mod buildsets;
pub mod changes;
pub mod chunks;
pub mod control;
mod dialect;
mod engine;
mod error;
mod executor;
mod json;
pub mod locks;
pub mod masters;
mod migrate;
mod names;
pub mod query;
pub mod reasons;
pub mod regroup;
pub mod runs;
pub mod schedulers;
pub mod sourcestamps;
pub mod state;
pub mod steps;
pub mod stock;
mod together;
pub mod troubles;
mod url;
mod value;
pub mod views;
pub mod workers;

pub use dialect::Dialect;
pub use error::{Error, Fault, Result};
pub use executor::{Committed, Db, Tx, TxStats};
pub use migrate::{OLDEST_COMPATIBLE, SCHEMA_VERSION};
pub use url::{DbUrl, ServerUrl};
pub use value::{Row, Value};

/// JSON as Python's `json.dumps` writes it: Buildbot compares stored values by this text.
pub fn json_text(value: &impl serde::Serialize) -> Result<String> {
    json::python_text(value)
        .map_err(|error| Error::Data(format!("a value can't be written as JSON: {error}")))
}
