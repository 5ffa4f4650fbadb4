//! What waits, and why.

use std::collections::BTreeMap;

use muster_core::BuilderId;
use muster_store::{Result, Tx, views};
use serde::Serialize;

use super::{MAX_PENDING, PendingLine, PendingSummary, waits::waits_because};
use crate::Data;

/// A request that waits, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Waiting {
    /// The request.
    #[serde(flatten)]
    pub request: PendingLine,
    /// Its place in the queue of its builder, from 1.
    pub position: usize,
    /// Why it waits, for people.
    pub why: String,
}

/// The queue.
#[derive(Clone, Debug, Serialize)]
pub struct PendingPage {
    /// What waits, next first.
    pub waiting: Vec<Waiting>,
    /// Figures over all of it.
    pub summary: PendingSummary,
}

/// How much there is to do, in the whole cluster.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What waits.
    pub pending: PendingSummary,
    /// Builds that run under a Muster master.
    pub running: i64,
}

impl Data {
    /// How much there is to do.
    pub async fn load(&self) -> Result<Load> {
        self.db()
            .read("load", |tx| async move {
                let pending = views::pending_summary(&tx).await?;
                Ok(Load { pending, running: views::running_count(&tx).await? })
            })
            .await
    }

    /// The queue.
    pub async fn pending_page(&self) -> Result<PendingPage> {
        self.db().read("page_pending", |tx| async move { pending_page(&tx, None).await }).await
    }
}

/// What waits, of one builder or of all.
pub(super) async fn pending_page(tx: &Tx, only: Option<BuilderId>) -> Result<PendingPage> {
    let requests = views::pending(tx, only, MAX_PENDING).await?;
    let mut summary = views::pending_summary(tx).await?;
    if only.is_some() {
        summary.count = requests.len() as i64;
        summary.oldest = requests.iter().map(|request| request.submitted_at).min();
    }
    if requests.is_empty() {
        return Ok(PendingPage { waiting: Vec::new(), summary });
    }
    let asked: Vec<_> = requests.iter().map(|request| (request.id, request.builder)).collect();
    let mut reasons = waits_because(tx, &asked).await?;
    let mut positions: BTreeMap<BuilderId, usize> = BTreeMap::new();
    let waiting = |request: PendingLine| {
        let position = positions.entry(request.builder).or_default();
        *position += 1;
        let why = reasons.remove(&request.id).unwrap_or_default();
        Waiting { why, position: *position, request }
    };
    Ok(PendingPage { waiting: requests.into_iter().map(waiting).collect(), summary })
}
