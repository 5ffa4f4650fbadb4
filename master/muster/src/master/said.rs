//! Lines of the log that other programs wait for; Buildbot's masters say the same.

use muster_core::{Timestamp, lease::BUILDBOT_DEAD};
use muster_data::now;

/// The start is complete.
pub const RUNNING: &str = "BuildMaster is running";
/// The start failed; the reason stands above.
pub const START_FAILED: &str = "BuildMaster startup failed";
/// The new configuration is in force.
pub const RECONFIGURED: &str = "configuration update complete";
/// The old configuration stays in force.
pub const RECONFIG_ABORTED: &str = "configuration update aborted without making any changes";
/// The last line.
pub const STOPPED: &str = "Server Shut Down.";

/// Why a master doesn't start, nor is its database brought up to date: a Buildbot acts under its name.
pub fn buildbot_lives(name: &str, buildbot: &str, heard: Timestamp) -> String {
    let ago = (now().0 - heard.0).max(0);
    let rest = (BUILDBOT_DEAD.as_secs() as i64 - ago).max(1);
    let is_in_the_way = match buildbot == name {
        true => format!("a Buildbot acts as the master {name}"),
        false => format!("the Buildbot {buildbot} runs on the same SQLite file, which is for one master"),
    };
    let or_else = match buildbot == name {
        true => "Each master needs a name of its own (--name)",
        false => "Two masters at once need PostgreSQL, MySQL or MariaDB",
    };
    format!(
        "{is_in_the_way}: it was heard of {ago} s ago. Stop it with `buildbot stop`. If it is gone, wait {rest} s, after which \
         it counts as dead, or run `muster upgrade-master --buildbot-is-gone DIR`. {or_else}"
    )
}

/// Why a second master doesn't start on a file of SQLite.
pub fn crowded(other: &str) -> String {
    format!(
        "the master {other} runs on the same SQLite file, which is for one master. Stop it first, give this master a database \
         of its own, or let them share PostgreSQL, MySQL or MariaDB (c['db'])"
    )
}
