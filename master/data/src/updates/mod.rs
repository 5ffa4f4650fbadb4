//! Update methods: each is one transaction and the events that tell about it.

mod buildsets;
mod changes;
mod control;

pub use buildsets::{AddedBuildset, NewBuildset, NewSourceStamp, SourceOf};
pub use changes::NewChange;
pub use control::Control;
