//! What is left: rows, logs, and the journals that the steps wrote.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use muster_tests::Site;
use muster_tests::database::OPEN_WORK;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::load::Accepted;

/// Names the command of a build's step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub struct StepName {
    pub builder: String,
    pub number: i64,
    pub step: String,
}

impl std::fmt::Display for StepName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.builder, self.number, self.step)
    }
}

/// What a command wrote about itself.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Journal {
    /// Seconds since 1970 of each execution's start.
    pub starts: Vec<f64>,
    pub out: Vec<String>,
    pub err: Vec<String>,
    pub end: Option<f64>,
    pub last: f64,
}

/// A build's row.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Build {
    pub id: i64,
    pub builder: String,
    pub number: i64,
    pub request: i64,
    pub worker: String,
    pub results: Option<i64>,
    pub started: i64,
    pub completed: Option<i64>,
    pub state: String,
}

/// A step's row.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Step {
    pub build: i64,
    pub name: StepName,
    pub results: Option<i64>,
}

/// A request's row.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Request {
    pub id: i64,
    pub complete: bool,
    pub results: i64,
    pub claimed: bool,
}

/// A change, and how many buildsets of the scheduler for commits are about it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Change {
    pub id: i64,
    pub revision: String,
    pub buildsets: i64,
}

/// All of it.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Facts {
    pub requests: Vec<Request>,
    pub builds: Vec<Build>,
    pub steps: Vec<Step>,
    pub changes: Vec<Change>,
    pub journals: BTreeMap<StepName, Journal>,
    /// Kinds of rows of unfinished work that are left, with their number.
    pub stuck: Vec<(String, i64)>,
}

fn rows(cluster: &Cluster, query: &str) -> Vec<Value> {
    let answer = cluster.ask(&format!("SELECT coalesce(json_agg(t), '[]') FROM ({query}) t"));
    serde_json::from_str(&answer.expect("the database is there")).unwrap()
}

fn text(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_default().to_owned()
}

fn number(row: &Value, name: &str) -> i64 {
    row[name].as_i64().unwrap_or_default()
}

const CHANGES: &str = "SELECT c.changeid, c.revision, (SELECT count(*) FROM buildset_sourcestamps s JOIN buildsets b \
    ON b.id = s.buildsetid WHERE s.sourcestampid = c.sourcestampid AND b.reason LIKE '%on-commit%') AS buildsets \
    FROM changes c ORDER BY c.changeid";

/// Reads everything.
pub fn read(cluster: &Cluster) -> Facts {
    let requests = rows(
        cluster,
        "SELECT r.id, r.complete, r.results, c.brid FROM buildrequests r LEFT JOIN buildrequest_claims c ON c.brid = r.id \
         ORDER BY r.id",
    );
    let builds = rows(
        cluster,
        "SELECT b.id, u.name AS builder, b.number, b.buildrequestid, w.name AS worker, b.results, b.started_at, \
         b.complete_at, b.state_string FROM builds b JOIN builders u ON u.id = b.builderid LEFT JOIN workers w \
         ON w.id = b.workerid ORDER BY b.id",
    );
    let steps = rows(
        cluster,
        "SELECT s.buildid, u.name AS builder, b.number, s.name, s.results FROM steps s JOIN builds b ON b.id = s.buildid \
         JOIN builders u ON u.id = b.builderid ORDER BY s.id",
    );
    Facts {
        requests: requests.iter().map(request).collect(),
        builds: builds.iter().map(build).collect(),
        steps: steps.iter().map(step).collect(),
        changes: changes(cluster),
        journals: journals(&cluster.site),
        stuck: stuck(cluster),
    }
}

fn request(row: &Value) -> Request {
    Request {
        id: number(row, "id"),
        complete: number(row, "complete") == 1,
        results: number(row, "results"),
        claimed: !row["brid"].is_null(),
    }
}

fn build(row: &Value) -> Build {
    Build {
        id: number(row, "id"),
        builder: text(row, "builder"),
        number: number(row, "number"),
        request: number(row, "buildrequestid"),
        worker: text(row, "worker"),
        results: row["results"].as_i64(),
        started: number(row, "started_at"),
        completed: row["complete_at"].as_i64(),
        state: text(row, "state_string"),
    }
}

fn step(row: &Value) -> Step {
    let name =
        StepName { builder: text(row, "builder"), number: number(row, "number"), step: text(row, "name") };
    Step { build: number(row, "buildid"), name, results: row["results"].as_i64() }
}

fn changes(cluster: &Cluster) -> Vec<Change> {
    let change = |row: &Value| Change {
        id: number(row, "changeid"),
        revision: text(row, "revision"),
        buildsets: number(row, "buildsets"),
    };
    rows(cluster, CHANGES).iter().map(change).collect()
}

fn stuck(cluster: &Cluster) -> Vec<(String, i64)> {
    let count = |query: &str| cluster.ask(query).and_then(|text| text.parse().ok()).unwrap_or(-1);
    let counts = OPEN_WORK.iter().map(|(kind, query)| ((*kind).to_owned(), count(query)));
    counts.filter(|(_, count)| *count != 0).collect()
}

/// What keeps the cluster from being idle; empty when it is.
pub fn left_to_do(cluster: &Cluster, accepted: &Accepted) -> Vec<String> {
    let mut left: Vec<String> =
        stuck(cluster).into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let Some(last) = accepted.commits.last() else { return left };
    let changes = changes(cluster);
    if !changes.iter().any(|change| change.revision == *last) {
        left.push(format!("the last commit, {last}, is no change yet"));
    }
    let unclassified = changes.iter().filter(|change| change.buildsets == 0).count();
    if unclassified > 0 {
        left.push(format!("{unclassified} changes without a buildset"));
    }
    left
}

fn journals(site: &Site) -> BTreeMap<StepName, Journal> {
    let entries = fs::read_dir(site.path("journal")).unwrap().flatten();
    let named = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let parts: Vec<&str> = name.split('.').collect();
        let [builder, number, step] = parts[..] else { return None };
        let name =
            StepName { builder: builder.to_owned(), number: number.parse().ok()?, step: step.to_owned() };
        Some((name, journal(&fs::read_to_string(entry.path()).unwrap())))
    });
    named.collect()
}

fn journal(text: &str) -> Journal {
    let mut journal = Journal::default();
    for line in text.lines() {
        let Some((time, what)) = line.split_once(' ') else { continue };
        let Ok(time) = time.parse::<f64>() else { continue };
        journal.last = journal.last.max(time);
        match what.split_once(' ').unwrap_or((what, "")) {
            ("start", _) => journal.starts.push(time),
            ("o", line) => journal.out.push(line.to_owned()),
            ("e", line) => journal.err.push(line.to_owned()),
            ("end", _) => journal.end = Some(time),
            _ => {}
        }
    }
    journal
}

/// The lines of a step's output and of its errors, as a master shows them.
pub fn lines_of(cluster: &Cluster) -> impl Fn(&Step) -> (Vec<String>, Vec<String>) + use<> {
    let rest = cluster.any_rest();
    move |step: &Step| {
        let of = |stream| rest.lines(step.build, &step.name.step, stream);
        (of('o'), of('e'))
    }
}

fn logs(site: &Site) -> Vec<(String, String)> {
    let entries = fs::read_dir(site.path("")).unwrap().flatten();
    let logs = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"));
    let mut logs: Vec<(String, String)> = logs
        .map(|entry| {
            let text = String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned();
            (entry.file_name().to_string_lossy().into_owned(), text)
        })
        .collect();
    logs.sort();
    logs
}

/// Panics of masters, workers and the router.
pub fn panics(site: &Site) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in logs(site) {
        let lines = text.lines().filter(|line| line.contains("panicked at"));
        found.extend(lines.map(|line| format!("{name}: {line}")));
    }
    found
}

/// What masters warned of, without what differs each time, with the number of times.
pub fn rare_words(site: &Site) -> String {
    let mut counts = HashMap::<String, usize>::new();
    for (_, text) in logs(site) {
        for line in text.lines().filter(|line| line.contains(" ERROR ") || line.contains(" WARN ")) {
            let words: String =
                line.chars().skip(28).filter(|char| !char.is_ascii_digit()).take(160).collect();
            *counts.entry(words).or_default() += 1;
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let lines: Vec<String> =
        counts.into_iter().take(30).map(|(words, count)| format!("{count:6} {words}")).collect();
    format!("warnings and errors:\n{}", lines.join("\n"))
}

/// Copies the logs to where they outlive the site.
pub fn keep(site: &Site, seed: u64) {
    let place = std::env::temp_dir().join(format!("muster-torture-{seed}"));
    // What an earlier run with this seed left.
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    for (name, text) in logs(site) {
        fs::write(place.join(name), text).unwrap();
    }
    println!("logs of all processes: {}", place.display());
}
