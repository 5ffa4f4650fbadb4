//! The part of `git` that a poller needs: processes with time limits, and a bare copy of a remote repository.

mod command;
mod credentials;
mod log;
mod repository;

pub(crate) use command::{Git, GitError};
pub(crate) use credentials::Credentials;
pub(crate) use log::Commit;
pub(crate) use repository::{MAX_COMMITS, RemoteRefs, Repository};
