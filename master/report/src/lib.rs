//! Reporters: they tell people what happened.
//!
//! So far about workers that stay away: a reconciler over the rows of absent workers. It is woken by workers that come and
//! go, and by a timer; who is first to raise a row tells about it, once in the cluster.

mod mail;
mod mail_server;
mod missing;

pub use missing::run;
