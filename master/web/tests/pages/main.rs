//! The pages over real sockets, on a database that Buildbot 4.3.0 wrote.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

#[path = "../http/client.rs"]
#[allow(dead_code)]
mod client;
mod fixture;
mod forms;
mod log;
mod render;
mod screenshots;
mod site;
