//! Lines of the log that other programs wait for; Buildbot's masters say the same.

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
