//! The REST interface of a master, as programs of users see it.

use std::io;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{http, until};

/// Results of builds and steps, as numbers of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Results {
    Success = 0,
    Failure = 2,
    Exception = 4,
    Retry = 5,
    Cancelled = 6,
}

/// One master's interface. It may be away; then the waiting calls wait and the others panic.
#[derive(Clone, Copy, Debug)]
pub struct Rest(pub SocketAddr);

impl Rest {
    /// The answer of a GET below `/api/v2/`; an error when the master is away.
    ///
    /// # Errors
    /// As [`http::request`], and for every status but 200.
    pub fn try_get(&self, path: &str) -> io::Result<Value> {
        let answer = http::request(self.0, "GET", &format!("/api/v2/{path}"), None)?;
        let text = String::from_utf8_lossy(&answer.body);
        if answer.status != 200 {
            return Err(io::Error::other(format!("{path}: {} {text}", answer.status)));
        }
        Ok(serde_json::from_str(&text)?)
    }

    /// The items of a collection.
    #[track_caller]
    pub fn list(&self, path: &str) -> Vec<Value> {
        self.try_list(path).unwrap()
    }

    /// The only item of an answer.
    #[track_caller]
    pub fn one(&self, path: &str) -> Value {
        let items = self.list(path);
        let [item] = items.as_slice() else { panic!("{path} answers {items:?}, not one item") };
        item.clone()
    }

    fn try_list(&self, path: &str) -> io::Result<Vec<Value>> {
        let mut answer = self.try_get(path)?;
        let mut members = answer.as_object_mut().into_iter().flatten();
        let items = members.find_map(|(name, items)| if name == "meta" { None } else { Some(items.take()) });
        match items {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(io::Error::other(format!("{path} has no list"))),
        }
    }

    /// A control call.
    ///
    /// # Errors
    /// What the master answered instead of a result.
    pub fn call(&self, path: &str, method: &str, params: Value) -> Result<Value, Value> {
        let call = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}).to_string();
        let answer = http::request(self.0, "POST", &format!("/api/v2/{path}"), Some(&call)).unwrap();
        let mut reply: Value = serde_json::from_slice(&answer.body).unwrap();
        match reply.get_mut("result") {
            Some(result) if answer.status == 200 => Ok(result.take()),
            _ => Err(reply),
        }
    }

    /// Forces the builder of the force scheduler `force-BUILDER`; answers the request's id.
    #[track_caller]
    pub fn force(&self, builder: &str, params: Value) -> i64 {
        let forced = self.call(&format!("forceschedulers/force-{builder}"), "force", params).unwrap();
        let requests = forced[1].as_object().unwrap();
        requests.values().next().and_then(Value::as_i64).unwrap_or_else(|| panic!("no request in {forced}"))
    }

    /// Waits for the first item that `wanted` selects; a master that is away is waited for.
    #[track_caller]
    pub fn wait_for(&self, what: &str, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, || self.try_list(path).ok()?.into_iter().find(&wanted))
    }

    /// Waits until a build of the request runs; answers its id.
    #[track_caller]
    pub fn running_build(&self, request: i64) -> i64 {
        let path = format!("builds?buildrequestid={request}");
        let running = |build: &Value| build["complete"] == json!(false);
        id(&self.wait_for(&format!("a running build of request {request}"), &path, running), "buildid")
    }

    /// Waits until the request is complete; answers its builds, oldest first.
    #[track_caller]
    pub fn builds_of(&self, request: i64) -> Vec<Value> {
        let complete = |request: &Value| request["complete"] == json!(true);
        self.wait_for(
            &format!("the end of request {request}"),
            &format!("buildrequests/{request}"),
            complete,
        );
        let mut builds = self.list(&format!("builds?buildrequestid={request}"));
        builds.sort_by_key(|build| id(build, "buildid"));
        builds
    }

    /// Waits until the request is complete; answers its only build, which must have ended so.
    #[track_caller]
    pub fn built(&self, request: i64, results: Results) -> i64 {
        let builds = self.builds_of(request);
        let [build] = builds.as_slice() else { panic!("not one build but {builds:?}") };
        assert_eq!(
            build["results"],
            json!(results as i64),
            "{build}\n{:?}",
            self.steps(id(build, "buildid"))
        );
        id(build, "buildid")
    }

    /// The steps of a build.
    #[track_caller]
    pub fn steps(&self, build: i64) -> Vec<Value> {
        self.list(&format!("builds/{build}/steps"))
    }

    /// Waits for a step, begun or not yet shown.
    #[track_caller]
    pub fn step(&self, build: i64, name: &str) -> Value {
        let path = format!("builds/{build}/steps");
        self.wait_for(&format!("the step {name} of build {build}"), &path, |step| step["name"] == json!(name))
    }

    /// The lines of a step's log `stdio` on one stream: `o` standard output, `e` standard error, `h` headers.
    #[track_caller]
    pub fn lines(&self, build: i64, step: &str, stream: char) -> Vec<String> {
        let step = id(&self.step(build, step), "stepid");
        let logs = self.list(&format!("steps/{step}/logs"));
        let Some(log) = logs.iter().find(|log| log["name"] == json!("stdio")) else { return Vec::new() };
        let chunk = self.try_get(&format!("logs/{}/contents", id(log, "logid"))).unwrap();
        let content = chunk["logchunks"][0]["content"].as_str().unwrap_or_default();
        content.lines().filter_map(|line| line.strip_prefix(stream)).map(str::to_owned).collect()
    }

    /// Waits until the log has a line of standard output that begins so.
    #[track_caller]
    pub fn wait_for_line(&self, build: i64, step: &str, begin: &str) {
        until(&format!("a line {begin:?} of step {step} of build {build}"), || {
            self.lines(build, step, 'o').iter().any(|line| line.starts_with(begin)).then_some(())
        });
    }

    /// A property of a build.
    #[track_caller]
    pub fn property(&self, build: i64, name: &str) -> Value {
        self.one(&format!("builds/{build}/properties"))[name][0].clone()
    }

    /// Waits until the worker is connected.
    #[track_caller]
    pub fn wait_for_worker(&self, name: &str) {
        let connected =
            |worker: &Value| worker["connected_to"].as_array().is_some_and(|masters| !masters.is_empty());
        self.wait_for(&format!("worker {name}"), &format!("workers/{name}"), connected);
    }
}

/// The id in `item`.
#[track_caller]
pub fn id(item: &Value, name: &str) -> i64 {
    item[name].as_i64().unwrap_or_else(|| panic!("no {name} in {item}"))
}
