//! Each kind of step: what it comes to, and that it comes to the same when its master dies before any of its effects.

mod git;
mod master_command;
mod replay;
mod shell;
mod transfer;
mod trigger;
mod upgrade;
