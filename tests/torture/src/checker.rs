//! Compares what the database says with what really happened.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use muster_core::invariants::{self, RequestFacts};
use muster_core::lock::Queued;
use muster_core::{BuildId, CommandId};

use crate::config::{COUNTED, LINES};
use crate::facts::{Build, Facts, Journal, Step, StepName};
use crate::load::Accepted;
use crate::nemesis::Loss;

const SUCCESS: i64 = 0;
const RETRY: i64 = 5;
/// Steps that are no commands.
const WITHOUT_COMMAND: [&str; 2] = ["worker_preparation", "locks_acquire"];
/// Rows have whole seconds, and masters write them a little after the fact.
const SECONDS_OF_ROWS: f64 = 2.0;
/// A worker that is away for so long costs its builds, and the moment of the loss stands that much before their end.
const GRACE: f64 = 90.0;
/// Builds of one request. That one meets an accident several times is bad luck; that it goes on and on is a fault.
const MOST_BUILDS: usize = 6;

/// How the output and the errors of a step look in its log.
pub type Lines<'a> = Box<dyn Fn(&Step) -> (Vec<String>, Vec<String>) + 'a>;

/// What the checker reads.
#[allow(missing_docs, reason = "the names say it")]
pub struct Reading<'a> {
    pub accepted: &'a Accepted,
    /// How wrong the times of rows may be, in seconds, beside being rounded.
    pub vague: f64,
    pub losses: &'a [Loss],
    /// Builds at a time on each worker.
    pub max_builds: usize,
    pub facts: Facts,
    pub lines: Lines<'a>,
}

/// Everything that is not as it must be.
pub fn check(reading: &Reading) -> Vec<String> {
    let facts = &reading.facts;
    let mut found = Vec::new();
    found.extend(facts.stuck.iter().map(|(kind, count)| format!("{count} {kind} are left")));
    requests(reading, &mut found);
    builds(reading, &mut found);
    commands(reading, &mut found);
    logs(reading, &mut found);
    changes(reading, &mut found);
    locks(facts, &mut found);
    found
}

fn requests(reading: &Reading, found: &mut Vec<String>) {
    let facts = &reading.facts;
    let mut builds = HashMap::<i64, Vec<&Build>>::new();
    for build in &facts.builds {
        builds.entry(build.request).or_default().push(build);
    }
    for request in &facts.requests {
        let of_it = builds.get(&request.id).map(Vec::as_slice).unwrap_or_default();
        let count =
            |wanted: &dyn Fn(Option<i64>) -> bool| of_it.iter().filter(|build| wanted(build.results)).count();
        let verdict = invariants::request_is_kept(RequestFacts {
            complete: request.complete,
            claimed: request.claimed,
            running: count(&|results| results.is_none()),
            final_builds: count(&|results| results.is_some_and(|results| results != RETRY)),
        });
        if let Err(violation) = verdict {
            found.push(format!("request {}: {violation}; {of_it:?}", request.id));
        }
        if of_it.len() > MOST_BUILDS {
            found.push(format!("request {} has {} builds; {of_it:?}", request.id, of_it.len()));
        }
        if request.complete && request.results != SUCCESS {
            found.push(format!("request {} ended with {}; {of_it:?}", request.id, request.results));
        }
    }
    let known: HashSet<i64> = facts.requests.iter().map(|request| request.id).collect();
    let lost = reading.accepted.requests.iter().filter(|id| !known.contains(id));
    found.extend(lost.map(|id| format!("request {id} was accepted and is not there")));
}

/// A build is retried when its worker was lost, and for nothing else. One loss takes what runs at its time, and what began
/// before anybody noticed.
fn builds(reading: &Reading, found: &mut Vec<String>) {
    let mut taken = vec![0; reading.losses.len()];
    for build in reading.facts.builds.iter().filter(|build| build.results == Some(RETRY)) {
        let (start, end) = (build.started as f64, build.completed.unwrap_or_default() as f64);
        let explains = |loss: &Loss| {
            let at = seconds(loss.at);
            // A build may begin on a worker whose death nobody noticed yet.
            loss.worker == build.worker
                && at > start - GRACE - reading.vague
                && at < end + SECONDS_OF_ROWS + reading.vague
        };
        let explaining = (0..taken.len()).filter(|index| explains(&reading.losses[*index]));
        // The one that has explained least: which it was can't be known.
        match explaining.min_by_key(|index| taken[*index]) {
            Some(index) => taken[index] += 1,
            None => found.push(format!("a retry, though {} was never lost: {build:?}", build.worker)),
        }
    }
    for (loss, taken) in reading.losses.iter().zip(taken) {
        if taken > 2 * reading.max_builds {
            found.push(format!("one loss of {} cost {taken} builds", loss.worker));
        }
    }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn commands(reading: &Reading, found: &mut Vec<String>) {
    let facts = &reading.facts;
    let builds: HashMap<(&str, i64), &Build> =
        facts.builds.iter().map(|build| ((build.builder.as_str(), build.number), build)).collect();
    let mut names = Vec::<&str>::new();
    let mut executions = Vec::new();
    for (name, journal) in &facts.journals {
        let Some(build) = builds.get(&(name.builder.as_str(), name.number)) else {
            found.push(format!("{name} was executed without a build"));
            continue;
        };
        let step = names.iter().position(|known| *known == name.step).unwrap_or_else(|| {
            names.push(&name.step);
            names.len() - 1
        });
        let id = CommandId { build: BuildId(build.id), step: step as u32, ordinal: 0 };
        executions.extend(journal.starts.iter().map(|_| id));
        let late = build.completed.map_or(0.0, |end| end as f64 + SECONDS_OF_ROWS + reading.vague);
        if journal.starts.iter().any(|start| *start > late) {
            found.push(format!("{name} was started after its build had ended: an order under an old epoch"));
        }
    }
    if let Err(violation) = invariants::executed_once(executions) {
        let twice = facts.journals.iter().filter(|(_, journal)| journal.starts.len() > 1);
        let twice: Vec<String> = twice.map(|(name, _)| name.to_string()).collect();
        found.push(format!("{violation} (all: {twice:?})"));
    }
}

fn logs(reading: &Reading, found: &mut Vec<String>) {
    let facts = &reading.facts;
    let commands = facts.steps.iter().filter(|step| !WITHOUT_COMMAND.contains(&step.name.step.as_str()));
    for step in commands {
        let journal = facts.journals.get(&step.name);
        if step.results == Some(SUCCESS) && journal.is_none_or(|journal| !is_whole(journal)) {
            found.push(format!("{} succeeded, but what it did is {journal:?}", step.name));
        }
        let nothing = Journal::default();
        let journal = journal.unwrap_or(&nothing);
        let (out, err) = (reading.lines)(step);
        for (stream, said, wrote) in [("output", &out, &journal.out), ("errors", &err, &journal.err)] {
            // A command that was lost with its worker has written more than anybody could store.
            let agrees = match step.results {
                Some(SUCCESS) => said == wrote,
                _ => wrote.starts_with(said),
            };
            if !agrees {
                found.push(format!(
                    "{} {} ({:?}): the log has {said:?}, written was {wrote:?}",
                    step.name, stream, step.results
                ));
            }
        }
    }
}

fn is_whole(journal: &Journal) -> bool {
    journal.out.len() == LINES as usize && journal.end.is_some()
}

fn changes(reading: &Reading, found: &mut Vec<String>) {
    let mut counts = BTreeMap::<&str, usize>::new();
    for change in &reading.facts.changes {
        *counts.entry(&change.revision).or_default() += 1;
        if change.buildsets != 1 {
            found.push(format!("change {} was classified {} times", change.id, change.buildsets));
        }
    }
    let accepted = &reading.accepted;
    for revision in accepted.commits.iter().chain(&accepted.sent) {
        let count = counts.get(revision.as_str()).copied().unwrap_or_default();
        if count != 1 {
            found.push(format!("revision {revision} was accepted and is there {count} times"));
        }
    }
}

/// Looks at each lock whenever a command that needs it began. A command runs strictly while its step holds the lock.
fn locks(facts: &Facts, found: &mut Vec<String>) {
    for (step, exclusive, max_count) in [("counted", false, COUNTED as i64), ("alone", true, 1)] {
        let of_step =
            || facts.journals.iter().filter(|(name, _)| name.builder == "locked" && name.step == step);
        for (_, journal) in of_step() {
            let Some(begin) = journal.starts.first() else { continue };
            let holders: Vec<(&StepName, &Journal)> =
                of_step().filter(|(_, other)| holds_at(other, *begin)).collect();
            let queue: Vec<Queued> =
                holders.iter().map(|_| Queued { exclusive, units: 1, held: true }).collect();
            if let Err(violation) = invariants::lock_is_not_over_held(&queue, max_count) {
                let names: Vec<String> = holders.iter().map(|(name, _)| name.to_string()).collect();
                found.push(format!("lock {step} at {begin}: {violation} {names:?}"));
            }
        }
    }
}

fn holds_at(journal: &Journal, moment: f64) -> bool {
    journal.starts.first().is_some_and(|start| *start <= moment)
        && moment < journal.end.unwrap_or(journal.last)
}

/// What there was, in a few numbers.
pub fn summary(reading: &Reading) -> String {
    let facts = &reading.facts;
    let with = |results: i64| facts.builds.iter().filter(|build| build.results == Some(results)).count();
    let lines: usize = facts.journals.values().map(|journal| journal.out.len() + journal.err.len()).sum();
    format!(
        "{} requests, {} builds ({} succeeded, {} retried), {} commands, {lines} lines; {} changes ({} commits, {} sent); \
         {} calls refused",
        facts.requests.len(),
        facts.builds.len(),
        with(SUCCESS),
        with(RETRY),
        facts.journals.len(),
        facts.changes.len(),
        reading.accepted.commits.len(),
        reading.accepted.sent.len(),
        reading.accepted.refused,
    )
}
