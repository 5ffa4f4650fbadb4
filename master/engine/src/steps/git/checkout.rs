//! A checkout under way: what it wants, and where. What it does is in the modules beside.

use muster_core::{Patch, git::Name};

use super::{checkout_arguments::Checked, repository::Repository};

/// Tells that a patch was applied to the directory.
pub(super) const PATCHED: &str = ".buildbot-patched";
/// Where `copy` keeps its clone, below the builder's directory.
pub(super) const SOURCE_DIR: &str = "source";

/// What is to be checked out.
pub(super) struct Wanted {
    pub(super) branch: Name,
    pub(super) revision: Option<Name>,
    pub(super) patch: Option<Patch>,
}

/// A checkout under way.
pub(super) struct Checkout<'c, 'a> {
    pub(super) repository: Repository<'c, 'a>,
    pub(super) arguments: Checked,
    pub(super) wanted: Wanted,
    /// How often a failed clone may still be tried again.
    pub(super) retries: u32,
}
