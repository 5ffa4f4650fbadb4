//! Sockets that wait for connections: the one place that opens them, for pages, sessions and stock workers. And TLS for
//! those that dial.

mod client;
mod guesses;
mod handed;
mod listen;
mod proxied;
mod refusals;
mod strangers;
mod tls;
mod trust;

pub use client::connect_tls;
pub use guesses::{Crowd, Guesses, Turn};
pub use handed::take_handed_sockets;
pub use listen::{AnyStream, DEFAULT_BACKLOG, Incoming, ListenError, Listener, Opened, Stream, listen};
pub use refusals::Refusals;
pub use strangers::{Place, Strangers};
pub use trust::{client_verifier, may_be, server_verifier, trusted_here};
