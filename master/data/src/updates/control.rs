//! Orders of people and programs: any master accepts one, the owner carries it out.

use muster_bus::{Event, Origin};
use muster_core::policy::{Action, Permit};
use muster_core::{BuildId, Claim, MasterId, RequestId, Results, Timestamp, Worker, WorkerId};
use muster_store::{Error, Result, Tx, builds, buildsets, control, masters, query, runs, workers};
use serde_json::{Value, json};

use super::buildsets::{complete_request, insert, request_event};
use super::permits::permitted;
use crate::{AddedBuildset, Data, NewBuildset, SourceOf, now, resources};

/// Marks events about orders of which there is a row already: what only tells of one must not become a second one.
pub(super) const KEPT: &str = "muster_kept";

/// Seconds that an order waits for a worker that is away: as long as an engine waits for one whose connection broke.
const ORDER_WAITS: i64 = 60;

/// What a worker can be told by a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerOrder {
    /// Take no new builds, then go.
    Stop,
    /// Go now.
    Kill,
    /// Take no new builds.
    Pause,
    /// Take builds again.
    Unpause,
}

impl WorkerOrder {
    /// The last part of its event's name.
    pub fn name(self) -> &'static str {
        match self {
            WorkerOrder::Stop => "stop",
            WorkerOrder::Kill => "kill",
            WorkerOrder::Pause => "pause",
            WorkerOrder::Unpause => "unpause",
        }
    }

    /// What somebody who gives it does.
    pub fn action(self) -> Action {
        match self {
            WorkerOrder::Stop => Action::StopWorker,
            WorkerOrder::Kill => Action::KillWorker,
            WorkerOrder::Pause => Action::PauseWorker,
            WorkerOrder::Unpause => Action::UnpauseWorker,
        }
    }

    /// From the last part of its event's name.
    pub fn from_name(name: &str) -> Option<WorkerOrder> {
        let all = [WorkerOrder::Stop, WorkerOrder::Kill, WorkerOrder::Pause, WorkerOrder::Unpause];
        all.into_iter().find(|order| order.name() == name)
    }
}

/// What a master can be told by a person: to go, in one of two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterOrder {
    /// Hand over what others can go on with, and finish the rest until a deadline.
    HandOver,
    /// Finish every build that runs; begin no other.
    Finish,
}

impl MasterOrder {
    fn name(self) -> &'static str {
        match self {
            MasterOrder::HandOver => "hand-over",
            MasterOrder::Finish => "finish",
        }
    }
}

impl Data {
    /// Orders a master to go; it does within a few seconds. `false`: no master with this number runs.
    pub async fn control_master(
        &self,
        permit: &Permit,
        master: MasterId,
        order: MasterOrder,
        reason: &str,
    ) -> Result<bool> {
        permitted(permit, Action::StopMaster, "master", master.0, reason);
        let committed = self.db().tx("control_master", |tx| async move {
            let acts = masters::lease_of(&tx, master).await?.is_some_and(|(_, acts)| acts);
            if !acts {
                return Ok((false, Vec::new()));
            }
            control::insert(&tx, "master", master.0, order.name(), reason, now()).await?;
            let name = format!("control/masters/{master}/{}", order.name());
            Ok::<_, Error>((true, vec![Event::new([name], json!({ "reason": reason }))]))
        });
        Ok(self.tell(committed.await?))
    }

    /// What a master was ordered to do, if anything.
    pub async fn master_order(&self, master: MasterId) -> Result<Option<MasterOrder>> {
        let orders = self.db().read("master_order", |tx| async move { control::open(&tx, "master").await });
        let orders = orders.await?.into_iter().filter(|order| order.targetid == master.0);
        let known = [MasterOrder::HandOver, MasterOrder::Finish];
        Ok(orders
            .filter_map(|order| known.into_iter().find(|known| known.name() == order.action))
            .next_back())
    }

    /// Asks for a build to be stopped. A build that doesn't run is left alone.
    pub async fn stop_build(&self, permit: &Permit, build: BuildId, reason: &str) -> Result<()> {
        permitted(permit, Action::StopBuild, "build", build.0, reason);
        let committed = self.db().tx("stop_build", |tx| async move {
            let runs = builds::by_id(&tx, build).await?.is_some_and(|build| build.complete_at.is_none());
            if !runs {
                // The order would wait for ever, or hit the build that gets this number one day.
                return Ok(((), Vec::new()));
            }
            control::insert(&tx, "build", build.0, "stop", reason, now()).await?;
            Ok::<_, Error>(((), vec![stop_event(build, reason)]))
        });
        self.tell(committed.await?);
        Ok(())
    }

    /// Cancels a request: a pending one is over at once, a running one has its build stopped.
    pub async fn cancel_request(&self, permit: &Permit, request: RequestId, reason: &str) -> Result<()> {
        permitted(permit, Action::CancelRequest, "build request", request.0, reason);
        let me = self.collapse_policy().master;
        let committed = self.db().tx("cancel_request", |tx| async move {
            Ok::<_, Error>(((), cancel(&tx, me, request, reason, Origin::Here).await?))
        });
        self.tell(committed.await?);
        Ok(())
    }

    /// Builds the same sources with the same properties again, for the same builder.
    pub async fn rebuild(&self, permit: &Permit, build: BuildId) -> Result<Option<AddedBuildset>> {
        permitted(permit, Action::RebuildBuild, "build", build.0, "rebuild");
        let policy = &self.collapse_policy();
        let committed = self.db().tx("rebuild", |tx| async move {
            let Some(set) = rebuild_set(&tx, build).await? else { return Ok((None, Vec::new())) };
            let (added, events) = insert(&tx, &set, policy).await?;
            Ok::<_, Error>((Some(added), events))
        });
        Ok(self.tell_set(committed.await?, Option::as_ref))
    }

    /// Pauses, unpauses, stops or kills a worker. Flags are kept; the engine with its session does the rest. `false`: only
    /// masters of Buildbot have the worker, and they know of the order only if the router tells them.
    pub async fn control_worker(
        &self,
        permit: &Permit,
        worker: WorkerId,
        order: WorkerOrder,
        reason: &str,
    ) -> Result<bool> {
        permitted(permit, order.action(), "worker", worker.0, reason);
        let committed = self.db().tx("control_worker", |tx| async move {
            match order {
                WorkerOrder::Pause => workers::set_paused(&tx, worker, true, Some(reason)).await?,
                WorkerOrder::Unpause => workers::set_paused(&tx, worker, false, None).await?,
                WorkerOrder::Stop => workers::set_graceful(&tx, worker).await?,
                WorkerOrder::Kill => {}
            }
            let leaves = matches!(order, WorkerOrder::Stop | WorkerOrder::Kill);
            let theirs = leaves && is_theirs(&tx, worker).await?;
            if leaves && !theirs {
                control::insert(&tx, "worker", worker.0, order.name(), reason, now()).await?;
            }
            let mut events = vec![kept_order(format!("control/worker/{worker}/{}", order.name()), reason)];
            if order != WorkerOrder::Kill {
                events.push(worker_event(&tx, worker, "state_updated").await?);
            }
            Ok::<_, Error>((!theirs, events))
        });
        Ok(self.tell(committed.await?))
    }

    /// Changes the priority of an open request. `false`: there is no such open request.
    pub async fn set_priority(&self, permit: &Permit, request: RequestId, priority: i64) -> Result<bool> {
        permitted(permit, Action::SetPriority, "build request", request.0, "");
        let Some(committed) = buildsets::set_priority(self.db(), request, priority).await? else {
            return Ok(false);
        };
        let read = self
            .db()
            .look("request_of_new_priority", |tx| async move { request_event(&tx, request, "update").await });
        match read.await {
            Ok(event) => self.tell(committed.map(|()| ((), vec![event]))),
            // It is changed all the same; engines find it at their next look at everything.
            Err(error) => tracing::warn!(%request, %error, "can't tell of a new priority"),
        }
        Ok(true)
    }

    /// The orders for running builds, oldest first: (build, number of the order, reason).
    pub async fn open_stops(&self) -> Result<Vec<(BuildId, i64, String)>> {
        let orders = self.db().look("open_stops", |tx| async move { control::open(&tx, "build").await });
        Ok(orders.await?.into_iter().map(|order| (BuildId(order.targetid), order.id, order.reason)).collect())
    }

    /// The orders for workers that nobody has carried out: (worker, kill at once?).
    pub async fn open_worker_orders(&self) -> Result<Vec<(WorkerId, bool)>> {
        let orders =
            self.db().look("open_worker_orders", |tx| async move { control::open(&tx, "worker").await });
        Ok(orders
            .await?
            .into_iter()
            .map(|order| (WorkerId(order.targetid), order.action == "kill"))
            .collect())
    }

    /// Strikes the orders for workers that have been away for longer than a reconnection takes: Buildbot's masters forget
    /// them at once, and a worker that is started days later is not to be sent away for them.
    pub async fn drop_stale_worker_orders(&self) -> Result<()> {
        let given = Timestamp(now().0 - ORDER_WAITS);
        let dropped = self.db().tx("drop_stale_worker_orders", |tx| async move {
            control::drop_stale_of_workers(&tx, given).await
        });
        dropped.await.map(|committed| committed.into_inner())
    }

    /// Strikes the orders for a worker: carried out.
    pub async fn worker_order_done(&self, worker: WorkerId) -> Result<()> {
        let done = self
            .db()
            .tx("worker_order_done", |tx| async move { control::done(&tx, "worker", worker.0).await });
        done.await.map(|committed| committed.into_inner())
    }
}

/// Takes a request that nobody has; otherwise orders the end of its builds. Orders from elsewhere are about our own
/// builds: masters of Buildbot look after theirs.
pub(super) async fn cancel(
    tx: &Tx,
    me: Option<MasterId>,
    request: RequestId,
    reason: &str,
    origin: Origin,
) -> Result<Vec<Event>> {
    let Some(row) = query::requests::by_id(tx, request).await? else { return Ok(Vec::new()) };
    if row.complete {
        return Ok(Vec::new());
    }
    let claim = me.map(|master| Claim { master, at: now() });
    if let Some(claim) = claim
        && buildsets::claim(tx, request, claim).await?
    {
        let mut events = complete_request(tx, request, Results::Cancelled, now()).await?;
        let told = request_event(tx, request, "cancel").await?;
        events.push(Event::new([format!("buildrequests/{request}/cancel")], told.payload));
        return Ok(events);
    }
    let mut events = Vec::new();
    let builds = runs::builds_of_request(tx, request).await?;
    for build in &builds {
        let concerned = origin == Origin::Here || runs::exists(tx, *build).await?;
        if concerned && !control::is_open(tx, "build", build.0).await? {
            control::insert(tx, "build", build.0, "stop", reason, now()).await?;
            events.push(stop_event(*build, reason));
        }
    }
    if builds.is_empty() && origin == Origin::Here {
        // A master of Buildbot has claimed it and is about to start: it has to hear of this until it has.
        control::insert(tx, "request", request.0, "cancel", reason, now()).await?;
        events.push(kept_order(format!("control/buildrequests/{request}/cancel"), reason));
    }
    Ok(events)
}

/// Tells that a build is to be stopped. Buildbot's masters take nothing but the reason.
pub(super) fn stop_event(build: BuildId, reason: &str) -> Event {
    Event::new([format!("control/builds/{build}/stop")], json!({ "reason": reason }))
}

/// Tells of an order that has a row.
pub(super) fn kept_order(name: String, reason: &str) -> Event {
    Event::new([name], json!({ "reason": reason, KEPT: true }))
}

/// Whether a worker is connected to masters of Buildbot only: then an order is theirs.
async fn is_theirs(tx: &Tx, worker: WorkerId) -> Result<bool> {
    let masters =
        query::workers::by_id(tx, worker).await?.map(|worker| worker.connected_to).unwrap_or_default();
    for master in &masters {
        if masters::is_ours(tx, *master).await? {
            return Ok(false);
        }
    }
    Ok(!masters.is_empty())
}

async fn rebuild_set(tx: &Tx, build: BuildId) -> Result<Option<NewBuildset>> {
    let Some(build) = builds::by_id(tx, build).await? else { return Ok(None) };
    let Some(request) = query::requests::by_id(tx, build.request).await? else { return Ok(None) };
    let Some(set) = query::buildsets::by_id(tx, request.buildset).await? else { return Ok(None) };
    Ok(Some(NewBuildset {
        scheduler: "rebuild".to_owned(),
        reason: "rebuild".to_owned(),
        sources: set.sourcestamps.iter().map(|stamp| SourceOf::Id(stamp.id)).collect(),
        properties: query::properties::of_buildset(tx, set.id).await?,
        builders: vec![build.builder],
        external_idstring: set.external_idstring,
        parent: set.parent_build.zip(set.parent_relationship),
        // The first build of the chain, not the one the button was pressed at.
        rebuilt_build: set.rebuilt_build.or(Some(build.id)),
        waited_for: false,
        priority: request.priority,
    }))
}

/// An event about a worker.
pub(crate) async fn worker_event(tx: &Tx, worker: WorkerId, what: &str) -> Result<Event> {
    let stored = query::workers::by_id(tx, worker).await?;
    Ok(match &stored {
        Some(stored) => event_about(stored, what),
        None => Event::new([format!("workers/{worker}/{what}")], Value::Null),
    })
}

/// The same about one that was read.
pub(crate) fn event_about(worker: &Worker, what: &str) -> Event {
    Event::new([format!("workers/{}/{what}", worker.id)], resources::worker(worker))
}
