//! The one place that finishes builds.

use std::collections::BTreeMap;

use muster_bus::Event;
use muster_core::{BuildId, BuildRequest, BuildsetId, MasterId, RequestId, Results, Timestamp};
use muster_store::{Result, Tx, buildsets, control, locks, query, runs};

use crate::{
    resources,
    updates::buildsets::{request_event, request_event_of},
};

/// A build that is over.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) build: BuildId,
    pub(super) owner: MasterId,
    pub(super) request: RequestId,
    pub(super) results: Results,
    pub(super) at: Timestamp,
}

/// Ends builds whose rows are written already: their requests and buildsets are complete (or the request is pending
/// again), nothing of the run is left. Answers what there is to tell about each.
pub(super) async fn store(tx: &Tx, ends: &[End]) -> Result<Vec<Vec<Event>>> {
    let mut told = Vec::with_capacity(ends.len());
    if ends.is_empty() {
        return Ok(told);
    }
    let over: Vec<BuildId> = ends.iter().map(|end| end.build).collect();
    runs::delete_all(tx, &over).await?;
    locks::release_builds(tx, &over).await?;
    control::builds_are_over(tx, &over).await?;
    for end in ends {
        let mut events = Vec::new();
        if end.results == Results::Retry && buildsets::unclaim(tx, end.request, end.owner).await? {
            buildsets::audit(tx, end.request).await?;
            events.push(request_event(tx, end.request, "unclaimed").await?);
        }
        told.push(events);
    }
    let done = ends.iter().filter(|end| end.results != Results::Retry);
    let outcomes: Vec<_> = done.map(|end| (end.request, end.results, end.at)).collect();
    let completed = buildsets::complete_requests(tx, &outcomes).await?;
    for request in &completed {
        buildsets::audit(tx, *request).await?;
    }
    let requests = query::requests::by_ids(tx, &completed).await?;
    let mut sets = complete_sets(tx, ends, &requests).await?;
    for (end, events) in ends.iter().zip(&mut told) {
        let Some(request) = requests.get(&end.request) else { continue };
        events.push(request_event_of(request, "complete"));
        events.extend(sets.remove(&request.buildset));
    }
    Ok(told)
}

/// Completes the buildsets in which nothing is open any more; answers what there is to tell about them.
async fn complete_sets(
    tx: &Tx,
    ends: &[End],
    requests: &BTreeMap<RequestId, BuildRequest>,
) -> Result<BTreeMap<BuildsetId, Event>> {
    let mut touched: Vec<BuildsetId> = requests.values().map(|request| request.buildset).collect();
    touched.sort_unstable();
    touched.dedup();
    let Some(at) = ends.iter().map(|end| end.at).max() else { return Ok(BTreeMap::new()) };
    let done = buildsets::complete_those_done(tx, &touched, at).await?;
    let events = query::buildsets::by_ids(tx, &done).await?.into_iter().map(|set| {
        let id = set.id;
        (id, Event::new([format!("buildsets/{id}/complete")], resources::buildset(&set)))
    });
    Ok(events.collect())
}
