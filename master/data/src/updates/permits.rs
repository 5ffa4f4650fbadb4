//! What people order is noted with who they are.

use muster_core::policy::{Action, Permit};

/// Checks a permit, and notes who used it for what.
pub(super) fn permitted(permit: &Permit, action: Action, kind: &str, id: i64, reason: &str) {
    permit.must_be_for(&action);
    tracing::info!(actor = %permit.actor(), ?action, kind, id, reason, "an order was given");
}
