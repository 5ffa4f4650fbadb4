//! Router and client over real sockets, with each other and with other implementations.

mod certificates;
mod misbehaviour;
mod python;
mod python_peers;
mod rust_peers;
mod support;
mod transports;
