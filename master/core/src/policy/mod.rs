//! Who may do what: actors, actions, and the rules of `c['www']['authz']` (`docs/compat/www-api.md` D.3). Nothing is looked up
//! here; whoever asks says what the action is about.
//!
//! A [`Permit`] is what an update method wants before it changes anything. [`Policy::may`] gives one to people;
//! Muster's own parts, its command line and other programs make theirs where they come in.

mod actor;
mod permit;
mod rules;
mod text;

#[cfg(test)]
mod tests;

pub use actor::{Actor, User};
pub use permit::{Action, Denied, Permit};
pub use rules::{Authz, Endpoints, Policy, RoleSource, Rule, Target, TargetKind};
pub use text::StringsMatcher;
