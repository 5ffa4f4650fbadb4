//! The fence of what there is only one of: a scheduler, a change source.

use muster_store::{
    Result, Tx,
    schedulers::{self, Ownership},
};

/// Lets the owner of a singleton write, and nobody who was it once. Whoever acts as nobody's owner may.
pub(super) async fn fence(tx: &Tx, owned: Option<Ownership>) -> Result<()> {
    match owned {
        Some(ownership) => schedulers::fence(tx, &ownership).await,
        None => Ok(()),
    }
}
