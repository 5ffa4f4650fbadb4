//! The waist of the house: resources, queries and update methods.
//!
//! REST, WebSocket, pages, bus payloads and the Python host see the same resources through the same queries, and
//! change them through the same update methods. A transaction begins and ends here; its events leave after the commit.

mod clock;
mod limits;
pub mod read;
pub mod resources;
mod trust;
mod updates;
pub mod views;

pub use clock::{now, simulate};
pub use limits::{MAX_STATE, shortened};
pub use trust::{Moment, Trust};
pub use updates::*;

use std::sync::{Arc, PoisonError, RwLock};

use muster_bus::Bus;
use muster_store::{Db, Error, Result};
pub use muster_store::{Error as StoreError, Fault};

/// The waist. Clones are the same database and bus.
#[derive(Clone)]
pub struct Data {
    db: Db,
    bus: Bus,
    collapse: Arc<RwLock<CollapsePolicy>>,
    questions: CollapseQuestions,
    trust: Trust,
    /// What this handle writes as the owner of.
    owned: Option<Ownership>,
}

impl Data {
    /// Resources in `db`, told about on `bus`.
    pub fn new(db: Db, bus: Bus) -> Data {
        Data::trusted(db, bus, Trust::unlimited())
    }

    /// The same for a master with a lease: what only an owner may do is refused while `trust` is not held.
    pub fn trusted(db: Db, bus: Bus, trust: Trust) -> Data {
        Data {
            db,
            bus,
            collapse: Arc::default(),
            questions: CollapseQuestions::default(),
            trust,
            owned: None,
        }
    }

    /// Whether this master may act.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    fn owned(&self) -> Option<Ownership> {
        self.owned
    }

    /// Refuses when this master may not act.
    fn may_act(&self) -> Result<()> {
        if self.trust.is_held() { Ok(()) } else { Err(Error::Untrusted) }
    }

    /// The database below.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The bus that tells what was committed.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Which builders of this master collapse requests, from now on.
    pub fn set_collapse_policy(&self, policy: CollapsePolicy) {
        *self.collapse.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    fn collapse_policy(&self) -> CollapsePolicy {
        self.collapse.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
