//! What control calls do: which thing takes which orders.

use muster_core::policy::{Action, Target, TargetKind};
use muster_core::{MasterId, RequestId, SchedulerId};
use muster_data::{
    AddedBuildset, MasterOrder, WorkerOrder,
    read::{Args, Endpoint, Kind, Resource},
};
use serde_json::{Map, Value, json};

use super::failure::Failure;
use crate::actions::Orders;

type Params = Map<String, Value>;

/// A call of a method on what stands at a path.
pub(super) struct Call<'a> {
    pub(super) args: &'a Args,
    pub(super) method: &'a str,
    pub(super) params: Params,
}

/// What somebody does who calls `method` there.
fn action(endpoint: Option<&Endpoint>, method: &str) -> Action {
    let single = endpoint.filter(|endpoint| endpoint.kind == Kind::Single).map(|endpoint| endpoint.resource);
    match (single, method) {
        (Some(Resource::Build), "stop") => Action::StopBuild,
        (Some(Resource::Build), "rebuild") => Action::RebuildBuild,
        (Some(Resource::BuildRequest), "cancel") => Action::CancelRequest,
        (Some(Resource::BuildRequest), "set_priority") => Action::SetPriority,
        (Some(Resource::ForceScheduler), "force") => Action::Force,
        (Some(Resource::Scheduler), "enable") => Action::EnableScheduler,
        (Some(Resource::Worker), "stop") => Action::StopWorker,
        (Some(Resource::Worker), "kill") => Action::KillWorker,
        (Some(Resource::Worker), "pause") => Action::PauseWorker,
        (Some(Resource::Worker), "unpause") => Action::UnpauseWorker,
        (Some(Resource::Master), "stop") => Action::StopMaster,
        _ => Action::Other(method.to_owned()),
    }
}

/// Refuses what the rules refuse before anything is looked up: as in Buildbot, whoever may not does not learn what is there.
/// Orders that the rules judge by builders and owners are judged when those are known.
pub(super) fn check(orders: &Orders<'_>, endpoint: Option<&Endpoint>, method: &str) -> Result<(), Failure> {
    let target = match action(endpoint, method) {
        Action::StopBuild | Action::RebuildBuild | Action::Force => return Ok(()),
        Action::EnableScheduler => Target::of(TargetKind::Scheduler),
        _ => Target::default(),
    };
    Ok(orders.permit(action(endpoint, method), &target).map(drop)?)
}

/// Carries out a call on what stands at the endpoint.
pub(super) async fn carry_out(
    orders: &Orders<'_>,
    endpoint: &Endpoint,
    call: Call<'_>,
) -> Result<Value, Failure> {
    if endpoint.kind != Kind::Single {
        return Err(Failure::unsupported(call.method));
    }
    match endpoint.resource {
        Resource::ForceScheduler => match call.method {
            "force" => {
                let scheduler = call.args.text("schedulername").unwrap_or_default();
                let forms = orders.state.forcing().await;
                Ok(added(&orders.force(&forms, scheduler, call.params).await?))
            }
            // Buildbot answers so to every other method of a force scheduler or a scheduler.
            _ => Ok(Value::Null),
        },
        Resource::Build => build(orders, &call).await,
        Resource::BuildRequest => request(orders, &call).await,
        Resource::Scheduler => scheduler(orders, &call).await,
        Resource::Worker => worker(orders, &call).await,
        Resource::Master => master(orders, &call).await,
        _ => Err(Failure::unsupported(call.method)),
    }
}

/// `[buildset, {"builder": request}]`.
fn added(added: &AddedBuildset) -> Value {
    let requests = added.requests.iter();
    let requests: Params =
        requests.map(|(builder, request)| (builder.to_string(), request.0.into())).collect();
    json!([added.id.0, requests])
}

async fn build(orders: &Orders<'_>, call: &Call<'_>) -> Result<Value, Failure> {
    if !matches!(call.method, "stop" | "rebuild") {
        return Err(Failure::unsupported(call.method));
    }
    let stops = call.method == "stop";
    let Some(id) = orders.state.data.build_at(call.args).await? else {
        let action = if stops { Action::StopBuild } else { Action::RebuildBuild };
        orders.permit(action, &Target::of(TargetKind::Build))?;
        return Err(Failure::not_found("there is no such build"));
    };
    if stops {
        orders.stop_build(id, reason(&call.params)).await?;
        return Ok(Value::Null);
    }
    match orders.rebuild(id).await? {
        Some(buildset) => Ok(added(&buildset)),
        None => Err(Failure::internal(format!("there is no build {id} to rebuild"))),
    }
}

async fn request(orders: &Orders<'_>, call: &Call<'_>) -> Result<Value, Failure> {
    let id = RequestId(call.args.int("buildrequestid").unwrap_or(0));
    match call.method {
        "cancel" => orders.cancel(id, reason(&call.params)).await?,
        "set_priority" => {
            let priority = parameter(&call.params, "priority")?;
            let priority = priority.as_i64().ok_or_else(|| Failure::params("'priority' must be a number"))?;
            if i32::try_from(priority).is_err() {
                return Err(Failure::params("'priority' is out of range"));
            }
            orders.set_priority(id, priority).await?;
        }
        method => return Err(Failure::internal(format!("action: {method} is not supported"))),
    }
    Ok(Value::Null)
}

async fn scheduler(orders: &Orders<'_>, call: &Call<'_>) -> Result<Value, Failure> {
    if call.method == "enable" {
        let enabled = parameter(&call.params, "enabled")?;
        let enabled = enabled.as_bool().ok_or_else(|| Failure::params("'enabled' must be true or false"))?;
        let id = SchedulerId(call.args.int("schedulerid").unwrap_or(0));
        orders.enable_scheduler(id, enabled).await?;
    }
    Ok(Value::Null)
}

async fn worker(orders: &Orders<'_>, call: &Call<'_>) -> Result<Value, Failure> {
    let order = match call.method {
        "stop" => WorkerOrder::Stop,
        "kill" => WorkerOrder::Kill,
        "pause" => WorkerOrder::Pause,
        "unpause" => WorkerOrder::Unpause,
        _ => return Err(Failure::unsupported(call.method)),
    };
    let Some(worker) = orders.state.data.worker_at(call.args).await? else {
        return Err(Failure::not_found("there is no such worker"));
    };
    orders.control_worker(worker, order, reason(&call.params)).await?;
    Ok(Value::Null)
}

/// Muster's own: Buildbot's masters take no orders here.
async fn master(orders: &Orders<'_>, call: &Call<'_>) -> Result<Value, Failure> {
    let order = match call.method {
        "stop" => match call.params.get("graceful").and_then(Value::as_bool) {
            Some(true) => MasterOrder::Finish,
            _ => MasterOrder::HandOver,
        },
        _ => return Err(Failure::unsupported(call.method)),
    };
    let id = MasterId(call.args.int("masterid").unwrap_or(0));
    if orders.control_master(id, order, reason(&call.params)).await? {
        return Ok(Value::Null);
    }
    Err(Failure::not_found("there is no such master, or it doesn't run, or it is one of Buildbot's"))
}

/// Why, in Buildbot's words where nobody says it.
fn reason(params: &Params) -> &str {
    params.get("reason").and_then(Value::as_str).unwrap_or("no reason")
}

fn parameter<'a>(params: &'a Params, name: &str) -> Result<&'a Value, Failure> {
    params.get(name).ok_or_else(|| Failure::internal(format!("the parameter '{name}' is missing")))
}
