//! Sockets that wait for connections: the one place that opens them, for pages, sessions and stock workers. And TLS for
//! those that dial.

mod client;
mod listen;
mod strangers;
mod tls;
mod trust;

pub use client::connect_tls;
pub use listen::{AnyStream, DEFAULT_BACKLOG, Incoming, ListenError, Listener, Stream, listen};
pub use strangers::{Place, Strangers};
pub use trust::server_verifier;
