//! The HTTP surface over real sockets, against the answers of Buildbot 4.3.0.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

mod client;
mod control;
mod events;
mod fixture;
mod golden;
mod login;
mod one_build;
mod provider;
mod site;
mod transport;
mod walk;
