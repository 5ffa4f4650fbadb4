//! What a step may do. A step touches the world only through its context (rule 4): every effect leaves a journal row,
//! durable before the next effect that the world can see.

use std::sync::Arc;

use muster_core::{
    LogKind, Properties, Results, StepUrl, Timestamp,
    identifier::{next_slug, slug},
    render::{Callable, Renderable},
};
use muster_data::RunWrite;
use muster_store::runs::JournalRow;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    core::{RunCore, StopOrder},
    effect::{Effect, LineKind, Outcome, Unkeyed},
    facts::{Answers, truth},
    halt::Halt,
    journal::{Journal, JournalError, Matching},
    logs::LogRef,
    perform::{PerformOptions, leaving},
    summary::OwnSummary,
};
use muster_config::snapshot::{Condition, LogEncoding, StepConfig};

/// Why a step's function ends without a result of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum StepEnd {
    /// The step failed and says so in its logs.
    Failed,
    /// It was stopped.
    Cancelled,
    /// The step can't be replayed: the build is wanted again. The text says why.
    Retry(String),
    /// The worker is gone, and the build is wanted again. The text says more.
    Lost(String),
    /// Something is wrong with the step itself; the text goes to a log.
    Exception(String),
    /// The run must not be touched any more.
    Halt(HaltReason),
}

/// Opaque outside the engine: the run goes on elsewhere, or later.
#[derive(Debug, Clone, PartialEq)]
pub struct HaltReason(pub(crate) Halt);

impl From<Halt> for StepEnd {
    fn from(halt: Halt) -> StepEnd {
        StepEnd::Halt(HaltReason(halt))
    }
}

impl From<JournalError> for StepEnd {
    fn from(error: JournalError) -> StepEnd {
        match error {
            JournalError::Unkeyed(unkeyed) => unkeyed.into(),
            error => StepEnd::Retry(format!("can't be replayed: {error}")),
        }
    }
}

impl From<Unkeyed> for StepEnd {
    fn from(unkeyed: Unkeyed) -> StepEnd {
        StepEnd::Exception(unkeyed.to_string())
    }
}

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

/// What a nested context did to the one around it.
pub(crate) struct Parts {
    journal: Journal,
    slugs: Vec<String>,
    answers: Answers,
    new_properties: Properties,
    lost: bool,
    summary: Option<String>,
}

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

    /// The same step with another configuration; what it does and says is brought back by [`bring_back`](Self::bring_back).
    pub(crate) fn nested<'n>(&'n mut self, config: &'n StepConfig) -> StepContext<'n> {
        StepContext {
            core: &mut *self.core,
            number: self.number,
            config,
            journal: std::mem::replace(
                &mut self.journal,
                Journal::new(&config.kind, self.number, Vec::new()),
            ),
            slugs: std::mem::take(&mut self.slugs),
            answers: std::mem::take(&mut self.answers),
            summary: None,
            outcome: None,
            own_summary: OwnSummary::None,
            note: None,
            lost: false,
            name: self.name.clone(),
            new_properties: std::mem::take(&mut self.new_properties),
            #[cfg(test)]
            double: None,
        }
    }

    /// Its parts, for the context that it was nested in.
    pub(crate) fn into_parts(self) -> Parts {
        Parts {
            journal: self.journal,
            slugs: self.slugs,
            answers: self.answers,
            new_properties: self.new_properties,
            lost: self.lost,
            summary: self.outcome.or(self.summary),
        }
    }

    /// Takes back what a nested context had.
    pub(crate) fn bring_back(&mut self, parts: Parts) -> Option<String> {
        self.journal = parts.journal;
        self.slugs = parts.slugs;
        self.answers = parts.answers;
        self.new_properties = parts.new_properties;
        self.lost |= parts.lost;
        parts.summary
    }

    /// Begins anew with what is stored: the process that ran the step is gone.
    ///
    /// # Errors
    /// When this master goes meanwhile.
    pub(crate) async fn rewind(&mut self, ordinal: u32, properties: &Properties) -> Result<(), StepEnd> {
        self.core.recorder.flush().await?;
        let rows = self.core.journal_of(self.number).await?;
        self.journal = Journal::new(&self.config.kind, self.number, rows);
        self.journal.go_on_from(ordinal);
        self.slugs = self.journal.slugs();
        self.core.properties = properties.clone();
        self.new_properties = Properties::new();
        Ok(())
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

    /// Sets a property. It reaches the database when the step ends; replays find it in the journal.
    ///
    /// # Errors
    /// When the database can't hold it, or the step's replay asks for something else than before.
    pub fn set_property(&mut self, name: &str, value: Value, source: &str) -> Result<(), StepEnd> {
        let (name, source) = (name.to_owned(), source.to_owned());
        self.perform_now(&Effect::SetProperty { name, value, source }, Matching::ByOrder).map(drop)
    }

    /// Adds a link to the step. Doing it twice is the same as once, so it needs no row.
    pub fn add_url(&mut self, name: &str, url: &str) {
        let url = StepUrl { name: name.to_owned(), url: url.to_owned() };
        self.core.recorder.write(RunWrite::StepUrl { step: self.number, url });
    }

    /// Sets the line that people see while the step runs.
    pub fn set_state(&mut self, state: &str) {
        self.core.recorder.write(RunWrite::StepState { step: self.number, state: state.to_owned() });
    }

    /// Sets what the step's summary says when it has ended, unless it is configured with a `descriptionDone`.
    pub fn set_summary(&mut self, summary: impl Into<String>) {
        self.summary = Some(summary.into());
    }

    /// Sets what the step's summary says when it has ended, whatever it is configured with.
    pub fn set_outcome(&mut self, outcome: impl Into<String>) {
        self.outcome = Some(outcome.into());
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

    /// A new log. The name may be taken in this step: then the slug counts up.
    ///
    /// # Errors
    /// When the step's replay asks for something else than before.
    pub fn add_log(&mut self, name: &str, kind: LogKind) -> Result<LogRef, StepEnd> {
        match self.perform_now(&Effect::AddLog { name: name.to_owned(), kind }, Matching::ByOrder)? {
            Outcome::Log(log) => Ok(log),
            other => Err(other.unexpected()),
        }
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

    /// Appends whole lines to a log, as standard output in a log of stdio.
    ///
    /// # Errors
    /// When the step's replay asks for something else than before.
    pub fn write_log(&mut self, log: &LogRef, text: &str) -> Result<(), StepEnd> {
        self.append(log, LineKind::Stdout, text)
    }

    /// Appends lines of the master's own words.
    ///
    /// # Errors
    /// When the step's replay asks for something else than before.
    pub fn write_header(&mut self, log: &LogRef, text: &str) -> Result<(), StepEnd> {
        self.append(log, LineKind::Header, text)
    }

    /// Appends lines about what went wrong.
    ///
    /// # Errors
    /// When the step's replay asks for something else than before.
    pub fn write_stderr(&mut self, log: &LogRef, text: &str) -> Result<(), StepEnd> {
        self.append(log, LineKind::Stderr, text)
    }

    fn append(&mut self, log: &LogRef, stream: LineKind, text: &str) -> Result<(), StepEnd> {
        let effect = Effect::Append { log: log.clone(), stream, text: text.to_owned() };
        self.perform_now(&effect, Matching::ByOrder).map(drop)
    }

    /// A whole log at once.
    ///
    /// # Errors
    /// When the step's replay asks for something else than before.
    pub fn add_complete_log(&mut self, name: &str, kind: LogKind, text: &str) -> Result<(), StepEnd> {
        let log = self.add_log(name, kind)?;
        if !text.is_empty() {
            self.write_log(&log, text)?;
        }
        Ok(())
    }

    /// The present second. A replay gets the one it got before.
    ///
    /// # Errors
    /// When the step's replay asks for something else than before.
    pub fn now(&mut self) -> Result<Timestamp, StepEnd> {
        self.moment(&Effect::Time, Matching::ByOrder)
    }

    /// Waits. A replay waits no longer than what is left.
    ///
    /// # Errors
    /// When the build is stopped meanwhile, or this master goes.
    pub async fn sleep(&mut self, seconds: f64) -> Result<(), StepEnd> {
        self.perform(Effect::Sleep { seconds }).await.map(drop)
    }

    /// Renders a value of the configuration against the build.
    ///
    /// # Errors
    /// When it can't be rendered: the step becomes an exception with the reason.
    pub async fn render(&mut self, renderable: &Renderable) -> Result<Value, StepEnd> {
        self.perform(Effect::Render { value: renderable.clone() }).await?.value()
    }

    /// Decides a condition about the step: whether it runs at all, or (with its results) whether it is hidden.
    pub(crate) async fn decide(
        &mut self,
        condition: &Condition,
        results: Option<Results>,
    ) -> Result<bool, StepEnd> {
        let value = match condition {
            Condition::Fixed(value) => return Ok(*value),
            Condition::Renderable(renderable) => self.render(renderable).await?,
            Condition::Callable(callable) => {
                self.perform(Effect::AskAboutStep { callable: callable.clone(), results }).await?.value()?
            }
        };
        Ok(truth(&value))
    }

    /// Calls a function of the configuration with plain arguments, once: a replay gets the answer it got before.
    ///
    /// # Errors
    /// When it raises or can't be called: the step becomes an exception.
    pub async fn call(&mut self, callable: &Callable, args: &[Value]) -> Result<Value, StepEnd> {
        self.perform(Effect::Call { callable: callable.clone(), args: args.to_vec() }).await?.value()
    }

    /// Python's name of the encoding of what programs write; `None` for UTF-8.
    pub(crate) fn log_encoding(&self) -> Option<String> {
        let own = self.config.log_encoding.literal_str();
        let LogEncoding::Name(name) = &self.core.facts.snapshot.log_encoding;
        Some(own.unwrap_or(name)).filter(|name| !["utf-8", "ascii"].contains(name)).map(str::to_owned)
    }

    /// The step's directory on the worker, below the builder's: its own, or the factory's.
    ///
    /// # Errors
    /// When it can't be rendered to text.
    pub async fn workdir(&mut self) -> Result<String, StepEnd> {
        self.own_workdir(|own| own.is_null()).await
    }

    /// The same for a step that runs programs: an empty one is none, as in Buildbot.
    ///
    /// # Errors
    /// As [`workdir`](StepContext::workdir).
    pub async fn program_workdir(&mut self) -> Result<String, StepEnd> {
        self.own_workdir(|own| own.is_null() || own == "").await
    }

    async fn own_workdir(&mut self, is_none: fn(&Value) -> bool) -> Result<String, StepEnd> {
        let own = self.config.workdir.clone();
        let rendered = match self.render(&own).await? {
            own if is_none(&own) => {
                let factory = self.core.facts.plan.workdir.clone();
                self.render(&factory).await?
            }
            own => own,
        };
        match rendered {
            Value::String(workdir) => Ok(workdir),
            Value::Null => Ok("build".to_owned()),
            other => Err(StepEnd::Exception(format!("workdir is {other}, not text"))),
        }
    }

    /// The environment of the builder's commands.
    ///
    /// # Errors
    /// When it can't be rendered.
    pub async fn builder_env(&mut self) -> Result<Value, StepEnd> {
        let env = self.core.facts.plan.env.clone();
        self.render(&env).await
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

    /// An effect on this side (a file of the master, an HTTP call): done once, unless this master dies between the act
    /// and the commit of its outcome.
    ///
    /// # Errors
    /// When the step's replay asks for something else than before, or the run is over here.
    pub async fn once<T, F>(&mut self, kind: &str, args: &impl Serialize, act: F) -> Result<T, StepEnd>
    where
        T: Serialize + DeserializeOwned,
        F: AsyncFnOnce() -> T,
    {
        let effect = Effect::once(kind, args)?;
        self.share().act(effect, PerformOptions::default(), act).await
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

impl Outcome {
    /// A plain value.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn value(self) -> Result<Value, StepEnd> {
        match self {
            Outcome::Value(value) => Ok(value),
            other => Err(other.unexpected()),
        }
    }
}

/// The outcome in a row.
pub(crate) fn outcome<T: DeserializeOwned>(row: &JournalRow) -> Result<T, StepEnd> {
    serde_json::from_str(&row.outcome).map_err(|error| {
        StepEnd::Retry(format!("can't be replayed: the outcome of {} is unreadable: {error}", row.kind))
    })
}
