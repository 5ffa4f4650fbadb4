//! What control calls do: which thing takes which orders.

use muster_core::{MasterId, RequestId, SchedulerId};
use muster_data::{
    AddedBuildset, MasterOrder, WorkerOrder,
    read::{self, Args, Endpoint, Kind, Resource},
};
use serde_json::{Map, Value, json};

use super::{failure::Failure, force};
use crate::AppState;

type Params = Map<String, Value>;

/// The port at which a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// That of the pages: there is no log-in, so whoever reaches it is anybody.
    Web,
    /// That of the probes, which no browser gives orders to.
    Operators,
}

impl Door {
    /// Orders that end processes are taken from operators only, until people log in.
    fn may_end_processes(self, what: &str) -> Result<(), Failure> {
        match self {
            Door::Operators => Ok(()),
            Door::Web => Err(Failure::forbidden(format!(
                "this port takes no orders that end processes, because nobody logs in here: {what}, or send the same call \
                 to a master's probe port (--probe)"
            ))),
        }
    }
}

/// Carries out `method` on what stands at the endpoint.
pub(super) async fn carry_out(
    state: &AppState,
    door: Door,
    endpoint: &Endpoint,
    args: &Args,
    method: &str,
    params: Params,
) -> Result<Value, Failure> {
    if endpoint.kind != Kind::Single {
        return Err(Failure::unsupported(method));
    }
    if door == Door::Operators && !matches!(endpoint.resource, Resource::Worker | Resource::Master) {
        return Err(Failure::forbidden(
            "this port takes orders for masters and workers only; the others go to the web port",
        ));
    }
    match endpoint.resource {
        Resource::ForceScheduler => match method {
            "force" => {
                let forced =
                    force::force(state, args.text("schedulername").unwrap_or_default(), params).await?;
                Ok(added(&forced))
            }
            // Buildbot answers so to every other method of a force scheduler or a scheduler.
            _ => Ok(Value::Null),
        },
        Resource::Build => build(state, args, method, &params).await,
        Resource::BuildRequest => request(state, args, method, &params).await,
        Resource::Scheduler => scheduler(state, args, method, &params).await,
        Resource::Worker => worker(state, door, args, method, &params).await,
        Resource::Master => master(state, door, args, method, &params).await,
        _ => Err(Failure::unsupported(method)),
    }
}

/// `[buildset, {"builder": request}]`.
fn added(added: &AddedBuildset) -> Value {
    let requests = added.requests.iter();
    let requests: Params =
        requests.map(|(builder, request)| (builder.to_string(), request.0.into())).collect();
    json!([added.id.0, requests])
}

async fn build(state: &AppState, args: &Args, method: &str, params: &Params) -> Result<Value, Failure> {
    if !matches!(method, "stop" | "rebuild") {
        return Err(Failure::unsupported(method));
    }
    let Some(id) = state.data.build_at(args).await? else {
        return Err(Failure::not_found("there is no such build"));
    };
    if method == "stop" {
        stored(state.data.stop_build(id, reason(params)).await)?;
        return Ok(Value::Null);
    }
    match stored(state.data.rebuild(id).await)? {
        Some(buildset) => Ok(added(&buildset)),
        None => Err(Failure::internal(format!("there is no build {id} to rebuild"))),
    }
}

async fn request(state: &AppState, args: &Args, method: &str, params: &Params) -> Result<Value, Failure> {
    let id = RequestId(args.int("buildrequestid").unwrap_or(0));
    match method {
        "cancel" => stored(state.data.cancel_request(id, reason(params)).await)?,
        "set_priority" => {
            let priority = parameter(params, "priority")?;
            let priority = priority.as_i64().ok_or_else(|| Failure::params("'priority' must be a number"))?;
            if i32::try_from(priority).is_err() {
                return Err(Failure::params("'priority' is out of range"));
            }
            stored(state.data.set_priority(id, priority).await)?;
        }
        _ => return Err(Failure::internal(format!("action: {method} is not supported"))),
    }
    Ok(Value::Null)
}

async fn scheduler(state: &AppState, args: &Args, method: &str, params: &Params) -> Result<Value, Failure> {
    if method == "enable" {
        let enabled = parameter(params, "enabled")?;
        let enabled = enabled.as_bool().ok_or_else(|| Failure::params("'enabled' must be true or false"))?;
        let id = SchedulerId(args.int("schedulerid").unwrap_or(0));
        stored(state.data.set_scheduler_enabled(id, enabled).await)?;
    }
    Ok(Value::Null)
}

async fn worker(
    state: &AppState,
    door: Door,
    args: &Args,
    method: &str,
    params: &Params,
) -> Result<Value, Failure> {
    let order = match method {
        "stop" => WorkerOrder::Stop,
        "kill" => WorkerOrder::Kill,
        "pause" => WorkerOrder::Pause,
        "unpause" => WorkerOrder::Unpause,
        _ => return Err(Failure::unsupported(method)),
    };
    if matches!(order, WorkerOrder::Stop | WorkerOrder::Kill) {
        door.may_end_processes("use `muster cluster stop-worker` on the command line")?;
    }
    let Some(worker) = state.data.worker_at(args).await? else {
        return Err(Failure::not_found("there is no such worker"));
    };
    stored(state.data.control_worker(worker, order, reason(params)).await)?;
    Ok(Value::Null)
}

/// Muster's own: Buildbot's masters take no orders here.
async fn master(
    state: &AppState,
    door: Door,
    args: &Args,
    method: &str,
    params: &Params,
) -> Result<Value, Failure> {
    let order = match method {
        "stop" => match params.get("graceful").and_then(Value::as_bool) {
            Some(true) => MasterOrder::Finish,
            _ => MasterOrder::HandOver,
        },
        _ => return Err(Failure::unsupported(method)),
    };
    door.may_end_processes("use `muster stop` or `muster cluster stop` on the command line")?;
    let id = MasterId(args.int("masterid").unwrap_or(0));
    if stored(state.data.control_master(id, order, reason(params)).await)? {
        return Ok(Value::Null);
    }
    Err(Failure::not_found("there is no such master, or it doesn't run, or it is one of Buildbot's"))
}

/// An update's failure as a call's.
fn stored<T>(outcome: Result<T, impl Into<read::Error>>) -> Result<T, Failure> {
    outcome.map_err(|error| Failure::from(error.into()))
}

/// Why, in Buildbot's words where nobody says it.
fn reason(params: &Params) -> &str {
    params.get("reason").and_then(Value::as_str).unwrap_or("no reason")
}

fn parameter<'a>(params: &'a Params, name: &str) -> Result<&'a Value, Failure> {
    params.get(name).ok_or_else(|| Failure::internal(format!("the parameter '{name}' is missing")))
}
