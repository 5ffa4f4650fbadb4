//! Torture: a real cluster on one machine, a load of builds, and a nemesis that breaks things by seed.
//!
//! PostgreSQL, a router, masters, workers of both kinds. Steps write numbered lines to their output and, before that, to a
//! journal of their own on disk. Then the faults stop, everything must drain, and [`checker`] compares what the database
//! and the logs say with what really happened.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub mod checker;
mod clock;
pub mod cluster;
pub mod config;
pub mod facts;
pub mod history;
pub mod load;
pub mod nemesis;
pub mod network;
mod node;
mod partition;
pub mod run;
pub mod wire;
