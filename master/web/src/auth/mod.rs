//! Who asks, and what they may do, by the rules of the configuration (`docs/compat/www-api.md` D): sessions, passwords, providers.
//! [`crate::login`] has the addresses.

mod door;
mod fetch;
pub(crate) mod oauth;
pub(crate) mod password;
pub(crate) mod session;
mod visitor;

pub(crate) use door::Door;
pub(crate) use session::{Session, Sessions, UserInfo};
pub(crate) use visitor::{Policies, Visitor, description};
