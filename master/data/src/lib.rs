//! The waist of the house: resources, queries and update methods.
//!
//! REST, WebSocket, pages, bus payloads and the Python host see the same resources through the same queries, and
//! change them through the same update methods. A transaction begins and ends here; its events leave after the commit.

mod updates;

pub use updates::*;

use muster_bus::Bus;
use muster_core::Timestamp;
use muster_store::Db;

/// The waist. Clones are the same database and bus.
#[derive(Clone)]
pub struct Data {
    db: Db,
    bus: Bus,
}

impl Data {
    /// Resources in `db`, told about on `bus`.
    pub fn new(db: Db, bus: Bus) -> Data {
        Data { db, bus }
    }

    /// The database below.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The bus that tells what was committed.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }
}

/// The present second, by this machine's clock.
pub fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
}
