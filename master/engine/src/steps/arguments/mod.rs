//! The arguments of steps, as their kinds declare them: a struct with a field for each, [`Rendered`] or plain.
//!
//! ```ignore
//! #[derive(Deserialize)]
//! struct CMake {
//!     #[serde(rename = "..shell")]
//!     shell: ShellArguments,
//!     path: Rendered<Option<String>>,
//! }
//! ```
//!
//! A field that is called `..something` is a group: a struct of arguments that several kinds share. Arguments that a
//! configuration doesn't give are Python's `None`.

mod decode;
mod rendered;
mod types;

pub(super) use self::{
    decode::{Decoded, decode},
    rendered::{Argument, Misfit, Rendered},
    types::{Dictionary, Flag, Function, Limit, Texts},
};
