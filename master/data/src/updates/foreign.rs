//! Orders across the two kinds of masters: those that Buildbot's masters only tell, and those that they have to hear.
//!
//! A master of Buildbot keeps no order; it publishes one and forgets it. What comes from there is written down here, and
//! from then on is an order like any other. The other way round our orders are told until they show effect, because
//! nobody there looks at our rows.

use muster_bus::{Event, Origin};
use muster_core::{BuildId, MasterId, RequestId, Timestamp, Topic, WorkerId};
use muster_store::{Error, Result, Tx, builds, control, masters, query, runs, workers};
use serde_json::Value;

use super::control::{KEPT, cancel, kept_order, stop_event, worker_event};
use crate::{Data, WorkerOrder, now};

/// Characters of a reason that are kept; the rest of a longer one is cut off.
const MAX_REASON: usize = 1000;

/// Seconds without a sign of life after which a master of Buildbot is dead, as Buildbot's masters themselves have it.
const BUILDBOT_LIVES: i64 = 600;

/// An order that a master of Buildbot published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignOrder {
    target: Target,
    reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Build(BuildId),
    Request(RequestId),
    Worker(WorkerId, WorkerOrder),
}

impl ForeignOrder {
    /// The order in an event; `None` for other events, and for orders of masters that keep them as rows.
    pub fn of(event: &Event) -> Option<ForeignOrder> {
        if event.origin != Origin::Elsewhere || event.payload.get(KEPT).is_some() {
            return None;
        }
        let target = event.topics.iter().find_map(target)?;
        let reason = event.payload.get("reason").and_then(Value::as_str).unwrap_or_default();
        Some(ForeignOrder { target, reason: reason.chars().take(MAX_REASON).collect() })
    }
}

fn target(topic: &Topic) -> Option<Target> {
    let parts: Vec<&str> = topic.0.iter().map(String::as_str).collect();
    let ["control", kind, id, action] = parts[..] else { return None };
    // Ids are 32 bits wide in the database; a greater one is nobody's.
    let id = i64::from(id.parse::<i32>().ok()?);
    match (kind, action) {
        ("builds", "stop") => Some(Target::Build(BuildId(id))),
        ("buildrequests", "cancel") => Some(Target::Request(RequestId(id))),
        ("worker", action) => Some(Target::Worker(WorkerId(id), WorkerOrder::from_name(action)?)),
        _ => None,
    }
}

impl Data {
    /// Writes an order of Buildbot's down, if it is about something of ours. Every master may do so: the first one does it.
    /// `false`: no master of Buildbot lives on this database, so whoever gave the order is none.
    pub async fn keep_foreign(&self, order: &ForeignOrder) -> Result<bool> {
        let me = self.collapse_policy().master;
        let committed = self.db().tx("keep_foreign", |tx| async move {
            if !masters::buildbot_lives(&tx, Timestamp(now().0 - BUILDBOT_LIVES)).await? {
                return Ok((false, Vec::new()));
            }
            let events = match order.target {
                Target::Build(build) => keep_stop(&tx, build, &order.reason).await?,
                Target::Request(request) => {
                    cancel(&tx, me, request, &order.reason, Origin::Elsewhere).await?
                }
                Target::Worker(worker, what) => keep_worker(&tx, me, worker, what, &order.reason).await?,
            };
            Ok::<_, Error>((true, events))
        });
        Ok(self.tell(committed.await?))
    }

    /// Tells the orders again that are for masters of Buildbot, and strikes those that have shown effect.
    pub async fn tell_foreign(&self) -> Result<()> {
        let me = self.collapse_policy().master;
        let nothing = self.db().look("orders", |tx| async move {
            Ok::<_, Error>(
                control::open(&tx, "build").await?.is_empty()
                    && control::open(&tx, "request").await?.is_empty(),
            )
        });
        if nothing.await? {
            return Ok(());
        }
        let committed = self.db().tx("tell_foreign", |tx| async move {
            let mut events = Vec::new();
            for order in control::open(&tx, "build").await? {
                let build = BuildId(order.targetid);
                if runs::exists(&tx, build).await? {
                    continue;
                }
                match builds::by_id(&tx, build).await? {
                    Some(found) if found.complete_at.is_none() => {
                        events.push(stop_event(build, &order.reason))
                    }
                    _ => control::done(&tx, "build", build.0).await?,
                }
            }
            for order in control::open(&tx, "request").await? {
                let request = RequestId(order.targetid);
                // Whoever has it now hears of it again; the row is written anew while that is needed.
                control::done(&tx, "request", request.0).await?;
                events.extend(cancel(&tx, me, request, &order.reason, Origin::Here).await?);
            }
            Ok::<_, Error>(((), events))
        });
        self.tell(committed.await?);
        Ok(())
    }
}

/// Only for builds that we run: those of Buildbot's masters have heard of it themselves.
async fn keep_stop(tx: &Tx, build: BuildId, reason: &str) -> Result<Vec<Event>> {
    if !runs::exists(tx, build).await? || control::is_open(tx, "build", build.0).await? {
        return Ok(Vec::new());
    }
    control::insert(tx, "build", build.0, "stop", reason, now()).await?;
    Ok(vec![stop_event(build, reason)])
}

/// Flags are for everybody. Whether a worker goes is up to the master that it is connected to.
async fn keep_worker(
    tx: &Tx,
    me: Option<MasterId>,
    worker: WorkerId,
    order: WorkerOrder,
    reason: &str,
) -> Result<Vec<Event>> {
    let Some(found) = query::workers::by_id(tx, worker).await? else { return Ok(Vec::new()) };
    let paused = order == WorkerOrder::Pause;
    match order {
        WorkerOrder::Pause | WorkerOrder::Unpause if found.paused == paused => return Ok(Vec::new()),
        WorkerOrder::Pause | WorkerOrder::Unpause => {
            workers::set_paused(tx, worker, paused, paused.then_some(reason)).await?;
        }
        WorkerOrder::Stop | WorkerOrder::Kill => {
            let is_here = me.is_some_and(|me| found.connected_to.contains(&me));
            if !is_here || control::is_open(tx, "worker", worker.0).await? {
                return Ok(Vec::new());
            }
            if order == WorkerOrder::Stop {
                workers::set_graceful(tx, worker).await?;
            }
            control::insert(tx, "worker", worker.0, order.name(), reason, now()).await?;
        }
    }
    let mut events = vec![kept_order(format!("control/worker/{worker}/{}", order.name()), reason)];
    if order != WorkerOrder::Kill {
        events.push(worker_event(tx, worker, "state_updated").await?);
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(path: &str, payload: Value) -> Option<ForeignOrder> {
        let event = Event { origin: Origin::Elsewhere, ..Event::new([path.to_owned()], payload) };
        ForeignOrder::of(&event)
    }

    fn order(target: Target, reason: &str) -> Option<ForeignOrder> {
        Some(ForeignOrder { target, reason: reason.to_owned() })
    }

    #[test]
    fn orders_of_buildbot_are_read() {
        let why = || json!({"reason": "why"});
        assert_eq!(told("control/builds/16/stop", why()), order(Target::Build(BuildId(16)), "why"));
        assert_eq!(
            told("control/buildrequests/7/cancel", Value::Null),
            order(Target::Request(RequestId(7)), "")
        );
        for what in [WorkerOrder::Stop, WorkerOrder::Kill, WorkerOrder::Pause, WorkerOrder::Unpause] {
            let path = format!("control/worker/3/{}", what.name());
            assert_eq!(told(&path, why()), order(Target::Worker(WorkerId(3), what), "why"));
        }
        let long = told("control/builds/1/stop", json!({"reason": "ä".repeat(5000)})).unwrap();
        assert_eq!(long.reason.chars().count(), MAX_REASON);
    }

    #[test]
    fn what_is_no_order_of_buildbot_is_left_alone() {
        for path in [
            "builds/1/new",
            "control/builds/x/stop",
            "control/builds/99999999999/stop",
            "control/worker/1/fly",
        ] {
            assert_eq!(told(path, Value::Null), None, "{path}");
        }
        assert_eq!(told("control/worker/1/stop", json!({"reason": "", KEPT: true})), None);
        let stranger = Event::new(["control/builds/1/stop".to_owned()], Value::Null);
        assert_eq!(ForeignOrder::of(&Event { origin: Origin::WithoutOrders, ..stranger }), None);
        assert_eq!(ForeignOrder::of(&Event::new(["control/builds/1/stop".to_owned()], Value::Null)), None);
    }
}
