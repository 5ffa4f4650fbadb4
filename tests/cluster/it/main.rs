//! Several masters on one PostgreSQL, as processes of their own.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod deaths;
mod drains;
mod ground;
mod mending;
mod mixed;
mod roles;
mod versions;
