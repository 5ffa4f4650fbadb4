//! What all log-ins of a master share.

use std::sync::Arc;

use muster_net::Guesses;
use tokio::sync::Semaphore;

/// Passwords that are checked at the same time: some schemes take a core for a second.
const CHECKS: usize = 2;

/// What log-ins share.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) guesses: Guesses,
    pub(crate) checks: Arc<Semaphore>,
}

impl Default for Door {
    fn default() -> Door {
        Door { guesses: Guesses::default(), checks: Arc::new(Semaphore::new(CHECKS)) }
    }
}
