//! Between sessions and stock workers: orders one way, updates the other (`docs/compat/worker-protocol.md`, section 3).

mod orders;
mod updates;

pub(crate) use orders::{StockCommand, Transfer, stock_command};
pub(crate) use updates::{Translated, shortened, translate};
