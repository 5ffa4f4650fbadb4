//! Each kind of step: what it comes to, and that it comes to the same when its master dies before any of its effects.

mod effects;
mod git;
mod git_changes;
mod kinds;
mod master_shell_command;
mod replay;
mod secrets;
mod shell;
mod transfer;
mod trigger;
mod upgrade;
