//! Rows to work with.
