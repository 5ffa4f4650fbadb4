//! The store on real servers.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod schema;
