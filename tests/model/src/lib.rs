//! The protocol of the cluster as two small state machines, explored state by state.
//!
//! [`cluster`] has two masters, one worker and one build request: leases, runs, epochs, the worker's session, its command
//! and what the command says. [`locks`] has builds on two masters that want one lock. Faults are actions like any other,
//! each within a budget. What must hold in every state stands in `muster_core::invariants`.
//!
//! Each defence can be left out ([`cluster::Weakness`], [`locks::Weakness`]); the tests see that the checker then finds the
//! way into the accident, so that a property that can't fail is noticed.

pub mod cluster;
pub mod locks;
