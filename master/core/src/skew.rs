//! A stand-in for the next version of Muster, so that tests can run two versions beside each other before there is one.
//!
//! A debug build that is told so knows one more version of everything that has one: the schema, the replay of a step's
//! journal, the session protocol. Release builds can't be told.

use std::sync::atomic::{AtomicBool, Ordering};

static NEWER: AtomicBool = AtomicBool::new(false);

/// From now on this process behaves as the next version would.
pub fn be_newer() {
    NEWER.store(cfg!(debug_assertions), Ordering::Relaxed);
}

/// Whether this process is to behave as the next version would.
pub fn is_newer() -> bool {
    cfg!(debug_assertions) && NEWER.load(Ordering::Relaxed)
}
