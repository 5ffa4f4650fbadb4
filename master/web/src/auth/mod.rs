//! Who asks, found out once for each request; and what they may do, by the rules of the configuration.

mod visitor;

pub(crate) use visitor::{Policies, Visitor};
