//! Entities and rules of a build master, pure: no async, no clock, no I/O. Time is an argument.

pub mod collapse;
pub mod encoding;
pub mod entities;
pub mod files;
pub mod git;
pub mod hash;
pub mod identifier;
pub mod ids;
pub mod integers;
pub mod invariants;
pub mod lease;
pub mod lines;
pub mod lock;
pub mod pattern;
pub mod policy;
pub mod properties;
pub mod python_json;
pub mod render;
pub mod results;
pub mod retries;
pub mod roles;
pub mod skew;
pub mod strports;
pub mod surrogates;
pub mod topic;

pub use entities::*;
pub use ids::*;
pub use properties::{Properties, Property};
pub use results::{Contribution, Results, StepFlags};
pub use roles::{Role, Roles};
pub use topic::{Topic, TopicFilter};
