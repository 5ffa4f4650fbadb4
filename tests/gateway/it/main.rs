//! Stock workers in a cluster on PostgreSQL: engines and gateways are killed, and no worker notices more than it must.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod cluster;
mod commands;
mod dead;
mod duplicates;
mod idle;
mod orders;
mod outlive;
mod ports;
mod still;
mod union;
