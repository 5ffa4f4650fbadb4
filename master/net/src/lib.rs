//! Sockets that wait for connections: the one place that opens them, for pages, sessions and stock workers. And TLS for
//! those that dial.

mod client;
mod guesses;
mod listen;
mod refusals;
mod strangers;
mod tls;
mod trust;

pub use client::connect_tls;
pub use guesses::{Crowd, Guesses, Turn};
pub use listen::{AnyStream, DEFAULT_BACKLOG, Incoming, ListenError, Listener, Stream, listen};
pub use refusals::Refusals;
pub use strangers::{Place, Strangers};
pub use trust::server_verifier;
