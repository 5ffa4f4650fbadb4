//! The effects of a step by names and types of their own: thin wrappers of [`StepContext::perform`].

use muster_config::snapshot::Condition;
use muster_core::{
    LogKind, Results, StepUrl, Timestamp,
    render::{Callable, Renderable},
};
use muster_data::RunWrite;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    command::{CommandRequest, CommandResult, Transfer},
    context::StepContext,
    effect::{Effect, LineKind, Outcome},
    end::StepEnd,
    journal::Matching,
    logs::LogRef,
    observer::LineObserver,
    perform::PerformOptions,
    truth,
};

impl StepContext<'_> {
    /// Runs a command to its end.
    ///
    /// # Errors
    /// When the worker is gone for good (`Lost`), or the run is over here.
    pub async fn command(&mut self, request: CommandRequest) -> Result<CommandResult, StepEnd> {
        self.command_with(request, PerformOptions::default()).await
    }

    /// The same, with somebody who looks at its lines.
    ///
    /// # Errors
    /// As [`command`](StepContext::command).
    pub async fn observed_command(
        &mut self,
        request: CommandRequest,
        observer: &mut dyn LineObserver,
    ) -> Result<CommandResult, StepEnd> {
        self.command_with(request, PerformOptions::observed(observer)).await
    }

    /// The same, with a file that moves along. After an adoption the transfer begins anew.
    ///
    /// # Errors
    /// As [`command`](StepContext::command).
    pub async fn transfer_command(
        &mut self,
        request: CommandRequest,
        transfer: Transfer,
    ) -> Result<CommandResult, StepEnd> {
        self.command(request.with_transfer(transfer)).await
    }

    async fn command_with(
        &mut self,
        request: CommandRequest,
        options: PerformOptions<'_>,
    ) -> Result<CommandResult, StepEnd> {
        match self.share().perform_with(Effect::Command(Box::new(request)), options).await? {
            Outcome::Command(result) => Ok(*result),
            other => Err(other.unexpected()),
        }
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
        match self.perform_now(&Effect::Time, Matching::ByOrder)? {
            Outcome::Time(now) => Ok(now),
            other => Err(other.unexpected()),
        }
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
}
