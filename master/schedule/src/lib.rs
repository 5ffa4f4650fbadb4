//! Change sources and schedulers: from a commit, a clock or a person to a buildset.
//!
//! Every scheduler is a reconciler: it takes no input, looks at the rows, does what is due, and is woken by events and
//! by a timer. [`Schedulers`] runs those of the newest snapshot that this master owns; [`force`] and [`trigger`] work on
//! every master.

mod absolute;
mod basic;
mod buildset;
mod callables;
mod change_filter;
mod changes;
mod complaint;
mod cron;
mod force;
mod gate;
mod git;
mod git_poller;
mod horizon;
mod poll_times;
mod problems;
mod reason;
mod revlinks;
mod sent;
mod service;
mod stable_timers;
mod tasks;
#[cfg(test)]
mod testing;
mod timed;
mod triggerable;
mod trouble;

pub use buildset::ComposeError;
pub use force::{ForceError, force, force_spec, forced_builders, unusable_patterns};
pub use horizon::keep_horizon;
pub use problems::problems;
pub use revlinks::link as revlink;
pub use sent::{NotKept, add_sent_change};
pub use service::Schedulers;
pub use triggerable::{TriggerError, check_trigger, compose_triggered};
