//! `master.cfg` to snapshot.

pub mod snapshot;
