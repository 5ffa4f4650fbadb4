//! Masters, workers and browsers as processes of their own.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod access_log;
mod asked;
mod attacked;
mod bad_config;
mod bad_start;
mod bad_words;
mod browser;
mod buildbot_pair;
mod building;
mod choices;
mod control;
mod crowd;
mod custom_steps;
mod demo;
mod devtools;
mod embedded_router;
mod events;
mod files;
mod fuzzed;
mod killed;
mod missing;
mod moving;
mod overload;
mod ports;
mod probe;
mod reconfiguring;
mod retries;
mod router;
mod secrets;
mod stock;
mod triggers;
mod unstorable;
mod waits;
