//! Arguments for the functions of a configuration: the master's data in the forms of which the host makes objects
//! (`python/muster_host/arguments.py`).
//!
//! What a function returns comes back the same way: a worker or a request that it was given is a [`Reference`].

use muster_core::Properties;
use muster_core::render::Renderable;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The world of one build, or of one buildset that a scheduler is making.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BuildView {
    /// All properties.
    pub properties: Properties,
    /// Sourcestamps with `codebase`, `branch`, `revision`, `repository`, `project`, `patch_…`.
    pub sourcestamps: Vec<Value>,
    /// Changes, each made by [`change`].
    pub changes: Vec<Value>,
    /// The worker's info.
    pub worker: Map<String, Value>,
    /// The worker's name.
    pub workername: Option<String>,
    /// The builder's name.
    pub builder: Option<String>,
    /// The build's id.
    pub buildid: Option<i64>,
    /// The build's number.
    pub number: Option<i64>,
    /// Result so far.
    pub results: Option<i64>,
    /// Why it was started.
    pub reason: String,
    /// Address of its page.
    pub url: Option<String>,
    /// Address of the master's pages.
    pub buildbot_url: String,
    /// Steps done so far: `name`, `results`, `stepid`.
    pub steps: Vec<Value>,
}

fn tagged(kind: &str, fields: Value) -> Value {
    let mut object = Map::from_iter([("$a".to_owned(), Value::from(kind))]);
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    Value::Object(object)
}

fn as_value(view: &BuildView) -> Value {
    serde_json::to_value(view).expect("a view holds only strings, numbers and JSON values")
}

/// The properties of a build: the first argument of renderers.
pub fn properties(view: &BuildView) -> Value {
    let mut object = tagged("props", as_value(view));
    object["build"] = as_value(view);
    object
}

/// The properties of a buildset in the making: there is no build to ask for.
pub fn buildset_properties(view: &BuildView) -> Value {
    tagged("props", as_value(view))
}

/// A build, as `do_build_if` gets it.
pub fn build(view: &BuildView) -> Value {
    tagged("build", as_value(view))
}

/// A step, as `doStepIf` and `hideStepIf` get it.
pub fn step(view: &BuildView, name: &str, results: Option<i64>) -> Value {
    tagged("step", json!({"name": name, "results": results, "build": as_value(view)}))
}

/// A change from its fields: `changeid`, `author`, `committer`, `comments`, `files`, `revision`, `branch`, `category`,
/// `revlink`, `repository`, `project`, `codebase`, `when`, `properties` (name to `[value, source]`).
pub fn change(fields: Map<String, Value>) -> Value {
    tagged("change", Value::Object(fields))
}

/// A worker as `nextWorker` gets it. `id` comes back when the function chooses it.
pub fn worker_for_builder(id: i64, name: &str, properties: &Properties, info: &Map<String, Value>) -> Value {
    tagged("worker_for_builder", json!({"id": id, "name": name, "properties": properties, "info": info}))
}

/// A builder; `workers` are made by [`worker_for_builder`].
pub fn builder(id: i64, name: &str, workers: Vec<Value>) -> Value {
    tagged("builder", json!({"id": id, "builderid": id, "name": name, "workers": workers}))
}

/// What `prioritizeBuilders` may ask a builder about.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct BuilderFacts {
    pub id: i64,
    pub name: String,
    /// How many of its builds run here.
    pub building: usize,
    pub oldest_request_time: Option<i64>,
    pub highest_priority: Option<i64>,
    pub newest_complete_time: Option<i64>,
}

/// A builder with what decides about its turn.
pub fn builder_with_facts(facts: &BuilderFacts) -> Value {
    let running = tagged("running_build", json!({}));
    tagged(
        "builder",
        json!({
            "id": facts.id, "builderid": facts.id, "name": facts.name,
            "building": vec![running; facts.building],
            "oldest_request_time": facts.oldest_request_time,
            "highest_priority": facts.highest_priority,
            "newest_complete_time": facts.newest_complete_time,
        }),
    )
}

/// The master itself.
pub fn master(buildbot_url: &str) -> Value {
    tagged("master", json!({"buildbot_url": buildbot_url}))
}

/// The master with what its data API answers to the function, by REST's path.
pub fn master_with(buildbot_url: &str, resources: &Map<String, Value>) -> Value {
    tagged("master", json!({"buildbot_url": buildbot_url, "resources": resources}))
}

/// A resource as the data API gives it.
pub fn resource(resource: Value) -> Value {
    tagged("resource", json!({"value": resource}))
}

/// A request from its fields: `id`, `buildsetid`, `builder`, `priority`, `submitted_at`, `reason`, `properties`,
/// `sourcestamps`.
pub fn request(fields: Map<String, Value>) -> Value {
    tagged("request", Value::Object(fields))
}

/// An object of the master that a function returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// `worker_for_builder`, `worker`, `request`, `builder`.
    pub kind: String,
    /// The id that was given with it.
    pub id: i64,
}

impl Reference {
    /// The object, if the result is one.
    pub fn from_result(result: &Renderable) -> Option<Reference> {
        Reference::from_value(result.literal()?)
    }

    /// The object, if the value is one.
    pub fn from_value(value: &Value) -> Option<Reference> {
        let object = value.as_object()?;
        let kind = object.get("$a")?.as_str()?.to_owned();
        Some(Reference { kind, id: object.get("id")?.as_i64()? })
    }
}
