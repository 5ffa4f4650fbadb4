//! Router and client over real sockets, with each other and with other implementations.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod misbehaviour;
mod python_peers;
mod rust_peers;
mod support;
mod transports;
