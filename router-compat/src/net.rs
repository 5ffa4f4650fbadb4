//! The drivers: router and client over WebSocket (TCP, TLS, unix sockets).

pub mod address;
mod connection;
mod outbox;
mod server;
mod stream;
pub mod tls;

pub use connection::{ConnectError, ConnectOptions, Connection, ConnectionError};
pub use server::{Listener, RouterServer};
