//! The distributor: ready requests × free workers (`compat/behaviour-2-builds.md` 2.2).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use muster_core::{BuilderId, RequestId, SourceStamp, TopicFilter};
use muster_data::NewRun;
use muster_store::{Error, buildsets, buildsets::Pending, workers};
use tokio_util::sync::CancellationToken;

use crate::{
    Active, Engine,
    control::wait_for,
    locks,
    plan::Plan,
    run::properties::{self, Asked},
    runner::Begin,
    sessions::Slot,
};

/// How often work is looked for although no event came.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Pending requests that one look considers, best first. More wait for the next look.
const CONSIDERED: i64 = 500;
/// Builds that are started in one transaction.
const BATCH: usize = 32;

/// Distributes until `leaving`.
pub(crate) async fn run(engine: Engine, leaving: CancellationToken) {
    let filters = ["buildrequests/*/new", "buildrequests/*/unclaimed", "workers/*/state_updated"];
    let filters = filters.map(TopicFilter::parse);
    let mut events = engine.data().bus().subscribe();
    let mut workers = engine.slots().changes();
    let mut ends = engine.0.runs.ends();
    let mut releases = engine.0.releases.subscribe();
    loop {
        workers.mark_unchanged();
        ends.mark_unchanged();
        releases.mark_unchanged();
        match look(&engine, &leaving).await {
            // There may be more than one look considers.
            Ok(started) if started > 0 => continue,
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "can't look for build requests; trying again"),
        }
        let wanted = |event: &muster_bus::Event| filters.iter().any(|filter| event.matching(filter).is_some());
        tokio::select! {
            () = wait_for(&mut events, wanted) => {}
            _ = workers.changed() => {}
            _ = ends.changed() => {}
            _ = releases.changed() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = leaving.cancelled() => return,
        }
        if leaving.is_cancelled() {
            return;
        }
    }
}

/// Starts what can be started; answers how many builds that were.
async fn look(engine: &Engine, leaving: &CancellationToken) -> muster_store::Result<usize> {
    let active = engine.active();
    let mut free = Free::of(engine, &active).await?;
    if free.is_empty() {
        return Ok(0);
    }
    let builders: Vec<BuilderId> = free.builders().collect();
    let read = engine.data().db().read("pending_requests", |tx| async move {
        buildsets::pending(&tx, &builders, CONSIDERED).await
    });
    let mut matches = Vec::new();
    for pending in in_order(read.await?, &active) {
        if matches.len() == BATCH {
            break;
        }
        if let Some(slot) = choose(engine, &active, &mut free, &pending).await? {
            matches.push((pending, slot));
        }
    }
    if matches.is_empty() {
        return Ok(0);
    }
    start(engine, &active, matches, leaving).await
}

/// Builders by their best request's priority, then its age, then their name; a builder's own by priority and id.
fn in_order(pending: Vec<Pending>, active: &Active) -> Vec<Pending> {
    let mut builders: BTreeMap<BuilderId, Vec<Pending>> = BTreeMap::new();
    for request in pending {
        builders.entry(request.builder).or_default().push(request);
    }
    let name = |id: BuilderId| active.ids.builders.iter().find(|(_, known)| **known == id).map(|(name, _)| name.clone());
    let mut queues: Vec<Vec<Pending>> = builders.into_values().collect();
    queues.sort_by_cached_key(|queue| {
        let best = queue.iter().map(|request| request.priority).max().unwrap_or(0);
        let oldest = queue.iter().map(|request| request.submitted_at).min();
        (-best, oldest, queue.first().and_then(|request| name(request.builder)))
    });
    for queue in &mut queues {
        queue.sort_by_key(|request| (-request.priority, request.id));
    }
    queues.into_iter().flatten().collect()
}

/// A free worker for a request, at random; `None` when there is none, or its builder's locks are taken.
async fn choose(
    engine: &Engine,
    active: &Active,
    free: &mut Free,
    pending: &Pending,
) -> muster_store::Result<Option<Slot>> {
    let Some(builder) = active.snapshot.builders.iter().find(|b| active.builder_id(&b.name) == Some(pending.builder))
    else {
        return Ok(None);
    };
    let mut candidates = free.workers_of(pending.builder);
    fastrand::shuffle(&mut candidates);
    for slot in candidates {
        let mut wishes = locks::wishes(&active.snapshot, locks::known(&builder.locks), slot.name());
        if let Some(worker) = active.snapshot.worker(slot.name()) {
            wishes.extend(locks::wishes(&active.snapshot, locks::known(&worker.locks), slot.name()));
        }
        if engine.data().locks_look_free(&wishes).await? {
            free.take(pending.builder, &slot);
            return Ok(Some(slot));
        }
    }
    Ok(None)
}

/// Claims the requests and begins the builds that were won.
async fn start(
    engine: &Engine,
    active: &Active,
    matches: Vec<(Pending, Slot)>,
    leaving: &CancellationToken,
) -> muster_store::Result<usize> {
    let mut wanted = Vec::with_capacity(matches.len());
    let mut ready: BTreeMap<RequestId, (Pending, Slot, Vec<SourceStamp>)> = BTreeMap::new();
    for (pending, slot) in matches {
        let Some(plan) = active.plan(pending.builder) else { continue };
        let asked = Asked::load(engine.data().db(), &pending).await?;
        wanted.push(NewRun {
            request: pending.id,
            builder: pending.builder,
            worker: slot.id(),
            snapshot: active.ids.snapshot,
            plan: plan.to_string(),
            properties: properties::assemble(active, &pending, &slot, &asked),
        });
        ready.insert(pending.id, (pending, slot, asked.sources));
    }
    let started = engine.data().start_runs(engine.master(), &wanted).await?;
    let count = started.len();
    for run in started {
        let Some((pending, slot, sources)) = ready.remove(&run.request) else { continue };
        let Some(mut properties) =
            wanted.iter().find(|new| new.request == run.request).map(|new| new.properties.clone())
        else {
            continue;
        };
        properties.set("buildnumber", run.number, "Build");
        let Some(builder) =
            active.snapshot.builders.iter().find(|b| active.builder_id(&b.name) == Some(pending.builder))
        else {
            continue;
        };
        engine.begin(
            Begin {
                key: run.key,
                request: run.request,
                builder: pending.builder,
                number: run.number,
                plan: Plan::of(builder),
                slot,
                properties,
                sources,
                rows: Vec::new(),
            },
            leaving,
        );
    }
    Ok(count)
}

/// The workers that can take a build now, for each builder.
struct Free {
    by_builder: BTreeMap<BuilderId, Vec<Slot>>,
    /// Builds that each worker may still take.
    room: BTreeMap<String, u32>,
}

impl Free {
    async fn of(engine: &Engine, active: &Active) -> muster_store::Result<Free> {
        let ready: Vec<Slot> = engine.slots().all().into_iter().filter(Slot::is_ready).collect();
        if ready.is_empty() {
            return Ok(Free { by_builder: BTreeMap::new(), room: BTreeMap::new() });
        }
        let barred = barred(engine).await?;
        let mut room = BTreeMap::new();
        for slot in &ready {
            let Some(config) = active.snapshot.worker(slot.name()) else { continue };
            let left = config.max_builds.unwrap_or(u32::MAX).saturating_sub(slot.building() as u32);
            if left > 0 && !barred.contains(&slot.id().0) {
                room.insert(slot.name().to_owned(), left);
            }
        }
        let busy: BTreeSet<(BuilderId, String)> = engine.0.runs.busy().into_iter().collect();
        let mut by_builder = BTreeMap::new();
        for builder in &active.snapshot.builders {
            let Some(id) = active.builder_id(&builder.name) else { continue };
            let usable = |slot: &&Slot| {
                room.contains_key(slot.name())
                    && builder.worker_names.iter().any(|name| name == slot.name())
                    && !busy.contains(&(id, slot.name().to_owned()))
            };
            let slots: Vec<Slot> = ready.iter().filter(usable).cloned().collect();
            if !slots.is_empty() {
                by_builder.insert(id, slots);
            }
        }
        Ok(Free { by_builder, room })
    }

    fn is_empty(&self) -> bool {
        self.by_builder.is_empty()
    }

    fn builders(&self) -> impl Iterator<Item = BuilderId> {
        self.by_builder.keys().copied()
    }

    fn workers_of(&self, builder: BuilderId) -> Vec<Slot> {
        let slots = self.by_builder.get(&builder).cloned().unwrap_or_default();
        slots.into_iter().filter(|slot| self.room.get(slot.name()).is_some_and(|room| *room > 0)).collect()
    }

    fn take(&mut self, builder: BuilderId, slot: &Slot) {
        if let Some(slots) = self.by_builder.get_mut(&builder) {
            slots.retain(|other| other.id() != slot.id());
        }
        if let Some(room) = self.room.get_mut(slot.name()) {
            *room -= 1;
        }
    }
}

/// Workers that are paused or told to go.
async fn barred(engine: &Engine) -> muster_store::Result<BTreeSet<i64>> {
    let read = engine.data().db().read("barred_workers", |tx| async move { workers::barred(&tx).await });
    Ok::<_, Error>(read.await?.into_iter().map(|id| id.0).collect())
}
