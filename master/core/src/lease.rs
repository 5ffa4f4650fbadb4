//! The times of a lease. They are one set: who changes one looks at the others.

use std::time::Duration;

/// How long a master's right to act lasts after a renewal, as others see it.
pub const LEASE: Duration = Duration::from_secs(6);
/// How often it is renewed: four times in a lease, so that one lost renewal does not matter.
pub const RENEWAL: Duration = Duration::from_millis(1500);
/// How long a master trusts itself after the moment before it asked for the last renewal: two thirds of the lease.
pub const TRUST: Duration = Duration::from_secs(4);
/// How long an observer sees a counter stand still before it takes over: the lease and a margin of a third, for clocks
/// that run at different speeds.
pub const STANDSTILL: Duration = Duration::from_secs(8);
/// How often Buildbot's `masters.last_active` is written, which its masters look at.
pub const HEARTBEAT: Duration = Duration::from_secs(60);
/// When a Buildbot master counts as dead, by its own rule.
pub const BUILDBOT_DEAD: Duration = Duration::from_secs(600);

const _: () = assert!(RENEWAL.as_millis() * 2 < TRUST.as_millis(), "a lost renewal must not end the trust");
const _: () = assert!(TRUST.as_millis() < LEASE.as_millis(), "a master stops before its lease ends");
const _: () = assert!(LEASE.as_millis() < STANDSTILL.as_millis(), "nobody is expired before the lease ends");
