//! The store on real servers, and beside a real Buildbot.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod absences;
mod cluster;
mod commits;
mod conformance;
mod contention;
mod disks;
mod engines;
mod outages;
mod packing;
mod recorded;
mod refusals;
mod schema;
mod stock;
mod takeover;
mod transactions;
mod uncertain;
