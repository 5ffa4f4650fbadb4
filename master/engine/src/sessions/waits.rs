//! Waiting for a worker: until it is there, or gone for good.
//!
//! An engine hears of a worker through its connections only, and a worker may be away from one because it is with another,
//! because something between them stands still, or because it is dead. So there are two ways to give its commands up: somebody
//! knows that its life is over, or it was away from here for longer than its grace while somebody here waited for it. While
//! this master may not act it lets no worker in, so after such a time the grace begins anew.

use std::time::Duration;

use muster_session::BootId;
use tokio::time::Instant;

use super::{GRACE, Slot};
use crate::session_news::Gone;

impl Slot {
    /// Waits until the worker is connected; answers its present life.
    pub(crate) async fn wait_connected(&self) -> Result<BootId, Gone> {
        let mut changed = self.0.changed.subscribe();
        loop {
            let since = {
                let state = self.state();
                if let Some(life) = state.life.as_ref().filter(|life| life.connected) {
                    return Ok(life.boot.clone());
                }
                // A master that has just started gives its workers the same time to come back.
                state.away_since.unwrap_or_else(Instant::now)
            };
            tokio::select! {
                changed = changed.changed() => changed.expect("the slot itself holds the sender"),
                () = self.outlast(GRACE, since) => return Err(Gone::Away),
            }
        }
    }

    /// Waits until the life `boot` is connected.
    pub(crate) async fn wait_back(&self, boot: &BootId) -> Result<(), Gone> {
        tokio::select! {
            biased;
            connected = self.wait_connected() => {
                if connected? == *boot { Ok(()) } else { Err(Gone::Restarted) }
            }
            gone = self.wait_gone(boot) => Err(gone),
        }
    }

    /// Waits until the session that `boot` names is over for good.
    pub(crate) async fn wait_gone(&self, boot: &BootId) -> Gone {
        let mut changed = self.0.changed.subscribe();
        loop {
            let grace_since = {
                let state = self.state();
                if let Some((_, gone)) = state.ended.as_ref().filter(|(ended, _)| ended == boot) {
                    return gone.clone();
                }
                let connected = state.life.as_ref().filter(|life| life.connected);
                // A life that was here once and is not now says nothing about another one, which may have been elsewhere.
                if connected.is_some_and(|life| life.boot != *boot) {
                    return Gone::Restarted;
                }
                let grace = state.life.as_ref().map_or(GRACE, |life| life.grace);
                state.away_since.filter(|_| connected.is_none()).map(|since| (grace, since))
            };
            let away = async {
                match grace_since {
                    Some((grace, since)) => self.outlast(grace, since).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = changed.changed() => changed.expect("the slot itself holds the sender"),
                () = away => return Gone::Away,
            }
        }
    }

    /// Waits until a worker that is away since then has been away for its grace, while it could have come.
    async fn outlast(&self, grace: Duration, since: Instant) {
        loop {
            self.0.trust.held().await;
            let Some(held) = self.0.trust.held_for() else { continue };
            let left = grace.saturating_sub(since.elapsed().min(held));
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}
