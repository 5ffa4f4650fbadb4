//! What a step may do. A step touches the world only through its context (rule 4): every effect leaves a journal row,
//! durable before the next effect that the world can see.

use std::sync::Arc;

use muster_config::snapshot::{LogEncoding, StepConfig};
use muster_core::{
    LogKind, Properties, Results,
    identifier::{next_slug, slug},
};
use muster_data::RunWrite;
use muster_store::runs::JournalRow;
use serde::Serialize;
use serde_json::Value;

#[cfg(test)]
use super::effect::{Effect, Outcome};
use super::{
    core::{RunCore, StopOrder},
    end::{Halt, HaltReason, StepEnd, leaving},
    facts::Answers,
    journal::Journal,
    logs::LogRef,
    summary::OwnSummary,
};

/// The effects of one running step.
pub struct StepContext<'a> {
    pub(crate) core: &'a mut RunCore,
    pub(crate) number: u32,
    pub(crate) config: &'a StepConfig,
    pub(crate) journal: Journal,
    pub(crate) slugs: Vec<String>,
    pub(crate) answers: Answers,
    /// What its summary says unless the configuration says something.
    pub(crate) summary: Option<String>,
    /// What its summary says in any case.
    pub(crate) outcome: Option<String>,
    /// Its summary, where its kind doesn't leave it to the configuration.
    pub(crate) own_summary: OwnSummary,
    /// The last command was ended for its time or for its lines.
    pub(crate) note: Option<&'static str>,
    /// The worker went away under it.
    pub(crate) lost: bool,
    /// Its name within the build, once it has one.
    pub(crate) name: String,
    /// Statistics that later effects of the same step look at.
    pub(crate) new_properties: Properties,
    /// Answers effects in place of the world.
    #[cfg(test)]
    pub(crate) double: Option<Double>,
}

/// What an effect comes to in a test; what it doesn't know is really done.
#[cfg(test)]
pub(crate) type Double = Box<dyn FnMut(&Effect) -> Option<Result<Outcome, StepEnd>> + Send + Sync>;

impl<'a> StepContext<'a> {
    /// A step that begins, or goes on from the rows of its journal. `changes` says how often the effects of its kind have
    /// changed.
    pub(crate) fn new(
        core: &'a mut RunCore,
        number: u32,
        config: &'a StepConfig,
        changes: u32,
        rows: Vec<JournalRow>,
    ) -> StepContext<'a> {
        let journal = Journal::new(changes, number, rows);
        StepContext {
            core,
            number,
            config,
            slugs: journal.slugs(),
            journal,
            answers: Answers::default(),
            summary: None,
            outcome: None,
            own_summary: OwnSummary::None,
            note: None,
            lost: false,
            name: String::new(),
            new_properties: Properties::new(),
            #[cfg(test)]
            double: None,
        }
    }

    /// The step as it is configured.
    pub fn config(&self) -> &StepConfig {
        self.config
    }

    /// Its name, which no other step of the build has.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sourcestamp of a codebase.
    pub fn source(&self, codebase: &str) -> Option<&muster_core::SourceStamp> {
        self.core.facts.source(codebase)
    }

    /// All sourcestamps of the build.
    pub fn sources(&self) -> &[muster_core::SourceStamp] {
        &self.core.facts.sources
    }

    /// What the worker told about itself under `key`.
    pub fn worker_info(&self, key: &str) -> Option<&Value> {
        self.core.facts.worker_info.get(key)
    }

    /// The worker's name.
    pub fn worker(&self) -> &str {
        &self.core.facts.worker
    }

    /// The directory that the master's own paths are relative to.
    pub fn basedir(&self) -> &std::path::Path {
        &self.core.basedir
    }

    /// The build's directory on the worker, relative to the worker's base directory.
    pub fn builddir(&self) -> &str {
        &self.core.facts.plan.builddir
    }

    /// The properties as the build has them now.
    pub fn properties(&self) -> &Properties {
        &self.core.properties
    }

    /// Which order to stop has come, if any.
    pub(crate) fn stopped(&self) -> Option<Arc<StopOrder>> {
        self.core.stop_order()
    }

    /// Whether a test has killed this master.
    pub(crate) fn is_killed(&self) -> bool {
        #[cfg(test)]
        return self.journal.is_dead();
        #[cfg(not(test))]
        false
    }

    /// Whether nothing was said yet about what the step does.
    pub(crate) fn is_silent(&self) -> bool {
        self.summary.is_none() && self.outcome.is_none()
    }

    /// A slug that no log of this step has.
    pub(crate) fn free_slug(&mut self, name: &str) -> String {
        let mut candidate = slug(name);
        while self.slugs.contains(&candidate) {
            candidate = next_slug(&candidate);
        }
        self.slugs.push(candidate.clone());
        candidate
    }

    /// Python's name of the encoding of what programs write; `None` for UTF-8.
    pub(crate) fn log_encoding(&self) -> Option<String> {
        let own = self.config.log_encoding.literal_str();
        let LogEncoding::Name(name) = &self.core.facts.snapshot.log_encoding;
        Some(own.unwrap_or(name)).filter(|name| !["utf-8", "ascii"].contains(name)).map(str::to_owned)
    }

    /// Notes with the plan that a secret was used, before anything that it is used for.
    pub(crate) fn note_secret(&mut self, name: &str) {
        let plan = &mut self.core.facts.plan;
        if plan.secrets.iter().any(|known| known == name) {
            return;
        }
        plan.secrets.push(name.to_owned());
        self.core.write_plan();
    }

    /// The end of a step that this master, which goes, leaves to the next one. What it did last is not recorded.
    pub(crate) fn leave(&self) -> StepEnd {
        leaving()
    }

    /// Records what Python answered, without secrets. Whoever goes on with the step and gets another answer by that gives the
    /// step up: what it orders then is not what it ordered before.
    pub(crate) fn record_answer(
        &mut self,
        row: JournalRow,
        answered: &impl Serialize,
    ) -> Result<(), StepEnd> {
        let mut outcome = serde_json::to_value(answered)
            .map_err(|error| StepEnd::Exception(format!("an answer can't be recorded: {error}")))?;
        self.core.recorder.secrets().conceal_value(&mut outcome);
        self.record(row, &outcome)
    }

    /// Completes a row and hands it to the recorder.
    pub(crate) fn record(&mut self, mut row: JournalRow, outcome: &impl Serialize) -> Result<(), StepEnd> {
        row.outcome = serde_json::to_string(outcome)
            .map_err(|error| StepEnd::Exception(format!("an outcome can't be recorded: {error}")))?;
        self.core.recorder.write(RunWrite::Journal(row));
        Ok(())
    }

    /// Turns `Failed`, `Cancelled` and the like into the step's result; what ends the run stays an error.
    pub(crate) fn settle(&mut self, end: StepEnd) -> Result<Results, Halt> {
        let (results, name, text) = match end {
            StepEnd::Halt(HaltReason(halt)) => return Err(halt),
            StepEnd::Failed => return Ok(Results::Failure),
            StepEnd::Cancelled => return Ok(Results::Cancelled),
            StepEnd::Retry(reason) => (Results::Retry, "interrupt", reason),
            StepEnd::Lost(reason) => {
                self.lost = true;
                (Results::Retry, "cancelled", reason)
            }
            StepEnd::Exception(reason) => (Results::Exception, "err.text", reason),
        };
        // The journal may be what is wrong, so this log is written past it.
        let (step, slug) = (self.number, self.free_slug(name));
        self.core.recorder.write(RunWrite::LogAdded {
            step,
            slug: slug.clone(),
            name: name.to_owned(),
            kind: LogKind::Text,
        });
        self.core.recorder.append(step, &LogRef { slug, kind: LogKind::Text }, 'o', &text);
        Ok(results)
    }
}
