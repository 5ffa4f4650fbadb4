//! Git (`docs/compat/behaviour-5-steps.md` 5.5 and 5.6).

mod auth;
mod checkout;
mod checkout_arguments;
mod clone;
mod commit;
mod fetch;
mod git_step;
mod github;
mod patch;
mod push;
mod repository;
mod revision;
mod settings;
mod tag;
mod version;

pub(super) use self::{commit::GitCommit, git_step::Git, github::GitHub, push::GitPush, tag::GitTag};
