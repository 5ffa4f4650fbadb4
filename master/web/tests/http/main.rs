//! The HTTP surface over real sockets, against the answers of Buildbot 4.3.0.

mod client;
mod control;
mod events;
mod fixture;
mod golden;
mod transport;
