//! A worker as a whole: real processes, a real connection, a master that is played by the test.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod ends;
mod files;
mod harness;
mod lives;
mod output;
mod programs;
mod transfers;
