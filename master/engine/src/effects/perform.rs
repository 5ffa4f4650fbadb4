//! The one door of a step to the world: [`StepContext::perform`]. Several effects of one step may be under way at the same time:
//! what they do to the context they do in short turns, and nobody waits in one.

use std::{
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use futures_util::future::join_all;
use muster_core::{
    Results,
    render::{Answer, Callable, RenderError, Renderable, Request, render},
};
use muster_session::command::Output;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    callables::{Question, StepQuestion},
    context::StepContext,
    core::Interrupts,
    effect::{Effect, Outcome},
    end::{StepEnd, outcome},
    facts::View,
    journal::{Entry, Matching},
    observer::LineObserver,
};

/// The longest wait of a step.
const LONGEST_SLEEP: f64 = 86_400.0 * 366.0;

/// What goes along with an effect that takes its time.
pub struct PerformOptions<'o> {
    /// How a replay finds what it came to before.
    pub matching: Matching,
    /// Looks at the lines of a command; what it knows is stored with the command.
    pub observer: Option<&'o mut dyn LineObserver>,
    /// Gets the whole lines of a command, as they come. While it is full, nothing more is taken from the worker.
    pub output: Option<mpsc::Sender<Output>>,
    /// Ends the effect early: a command is interrupted and comes to its own end, everything else is [`StepEnd::Cancelled`].
    pub cancel: CancellationToken,
}

impl Default for PerformOptions<'_> {
    fn default() -> Self {
        PerformOptions {
            matching: Matching::ByOrder,
            observer: None,
            output: None,
            cancel: CancellationToken::new(),
        }
    }
}

impl<'o> PerformOptions<'o> {
    /// Somebody looks at the lines of a command.
    pub fn observed(observer: &'o mut dyn LineObserver) -> PerformOptions<'o> {
        PerformOptions { observer: Some(observer), ..PerformOptions::default() }
    }

    /// The options of one of several branches, which ends early when `cancel` says so.
    pub fn of_branch(cancel: CancellationToken) -> PerformOptions<'o> {
        PerformOptions { matching: Matching::ByOccurrence, cancel, ..PerformOptions::default() }
    }
}

/// The context of a step while several of its effects are under way.
pub struct SharedContext<'s, 'a>(Mutex<&'s mut StepContext<'a>>);

type Performing<'p> = Pin<Box<dyn Future<Output = Result<Outcome, StepEnd>> + Send + 'p>>;

impl<'a> StepContext<'a> {
    /// Performs an effect; a replay gets what it came to before.
    ///
    /// # Errors
    /// When the effect ends the step: it can't be done, the build is stopped meanwhile, the run is over here, or the step asks
    /// for something else than before.
    pub async fn perform(&mut self, effect: Effect) -> Result<Outcome, StepEnd> {
        self.share().perform(effect).await
    }

    /// The context, for several effects at the same time.
    pub fn share(&mut self) -> SharedContext<'_, 'a> {
        SharedContext(Mutex::new(self))
    }
}

impl<'a> SharedContext<'_, 'a> {
    /// One turn with the context.
    pub(crate) fn with<T>(&self, turn: impl FnOnce(&mut StepContext<'a>) -> T) -> T {
        turn(*self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// As [`StepContext::perform`].
    ///
    /// # Errors
    /// As [`StepContext::perform`].
    pub async fn perform(&self, effect: Effect) -> Result<Outcome, StepEnd> {
        self.perform_with(effect, PerformOptions::default()).await
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`StepContext::perform`].
    pub async fn perform_with(
        &self,
        effect: Effect,
        options: PerformOptions<'_>,
    ) -> Result<Outcome, StepEnd> {
        #[cfg(test)]
        if let Some(outcome) = self.with(|context| context.doubled(&effect)) {
            return outcome;
        }
        let mut interrupts = self.with(|context| context.core.interrupts(options.cancel.clone()));
        let matching = options.matching;
        match effect {
            Effect::Command(request) => {
                Ok(Outcome::Command(Box::new(self.command(*request, options, interrupts).await?)))
            }
            Effect::Ask { request } => {
                let answered = self.ask(&request, matching, &mut interrupts).await?;
                Ok(Outcome::Answer(answered))
            }
            Effect::AskAboutStep { callable, results } => {
                self.ask_about_step(callable, results, matching, &mut interrupts).await.map(Outcome::Value)
            }
            Effect::Call { callable, args } => {
                self.call(callable, args, matching, &mut interrupts).await.map(Outcome::Value)
            }
            Effect::Render { value } => {
                self.render(&value, matching, &mut interrupts).await.map(Outcome::Value)
            }
            Effect::Trigger { scheduler, trigger } => {
                let added = self.trigger(scheduler, *trigger, matching, &mut interrupts).await?;
                Ok(Outcome::Triggered(added))
            }
            Effect::AwaitBuildsets { sets, known } => {
                let complete = self.await_buildsets(&sets, known, &mut interrupts).await?;
                Ok(Outcome::Buildsets(complete.into_iter().collect()))
            }
            Effect::CancelRequests { requests } => {
                self.cancel_requests(&requests).await.map(|()| Outcome::Done)
            }
            Effect::Sleep { seconds } => {
                self.sleep(seconds, matching, &mut interrupts).await.map(|()| Outcome::Done)
            }
            Effect::Join { effects } => self.join(effects, matching, options.cancel).await,
            immediate => self.with(|context| context.perform_now(&immediate, matching)),
        }
    }

    /// Commits everything that the step has done.
    pub(crate) async fn flush(&self) -> Result<(), StepEnd> {
        let flushing = self.with(|context| context.core.recorder.flushing());
        Ok(flushing.await?)
    }

    /// What the journal knows of an effect.
    pub(crate) fn entry(&self, effect: &Effect, matching: Matching) -> Result<Entry, StepEnd> {
        Ok(self.with(|context| context.journal.find(effect, matching))?)
    }

    /// Performs several effects; all come to their ends, whatever becomes of the others.
    fn join<'p>(
        &'p self,
        effects: Vec<Effect>,
        matching: Matching,
        cancel: CancellationToken,
    ) -> Performing<'p> {
        Box::pin(async move {
            let in_order = matching == Matching::ByOrder;
            let base = self.with(|context| in_order.then(|| context.journal.begin_join()));
            let branches = effects.into_iter().map(|effect| {
                let branch: Performing<'p> =
                    Box::pin(self.perform_with(effect, PerformOptions::of_branch(cancel.clone())));
                branch
            });
            let outcomes = join_all(branches).await;
            if let Some(base) = base {
                self.with(|context| context.journal.end_join(base));
            }
            // A run that is over here must not be told anything else.
            let mut ends = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
            if let Some(halt) = ends.find(|end| matches!(end, StepEnd::Halt(_))) {
                return Err(halt.clone());
            }
            outcomes.into_iter().collect::<Result<Vec<Outcome>, StepEnd>>().map(Outcome::Joined)
        })
    }

    /// Waits. A replay waits no longer than what is left.
    async fn sleep(
        &self,
        seconds: f64,
        matching: Matching,
        interrupts: &mut Interrupts,
    ) -> Result<(), StepEnd> {
        let effect = Effect::Sleep { seconds };
        let began = self.with(|context| context.moment(&effect, matching))?;
        let passed = (muster_data::now().0 - began.0).max(0) as f64;
        let left = std::time::Duration::from_secs_f64((seconds - passed).clamp(0.0, LONGEST_SLEEP));
        self.flush().await?;
        tokio::select! {
            () = tokio::time::sleep(left) => Ok(()),
            end = interrupts.any() => Err(end),
        }
    }

    /// Renders a value of the configuration against the build.
    async fn render(
        &self,
        renderable: &Renderable,
        matching: Matching,
        interrupts: &mut Interrupts,
    ) -> Result<Value, StepEnd> {
        loop {
            let rendered = self.with(|context| {
                let core = &*context.core;
                let view =
                    View { facts: &core.facts, properties: &core.properties, answers: &context.answers };
                render(renderable, &view)
            });
            match rendered {
                Ok(value) => return Ok(value),
                Err(RenderError::Failed(reason)) => return Err(StepEnd::Exception(reason)),
                Err(RenderError::Pending(requests)) => {
                    for request in requests {
                        let answered = self.ask(&request, matching, interrupts).await?;
                        let answer = answered.map_or_else(Answer::Failed, Answer::Value);
                        self.with(|context| context.answers.add(request, answer));
                    }
                }
            }
        }
    }

    /// Asks the host, once: a replay gets the answer it got before. A secret is asked for again, because its value must
    /// not be written down; where it shows up in logs its name stands for it.
    async fn ask(
        &self,
        request: &Request,
        matching: Matching,
        interrupts: &mut Interrupts,
    ) -> Result<Result<Renderable, String>, StepEnd> {
        let secret = match request {
            Request::Secret { name } => Some(name),
            _ => None,
        };
        let effect = Effect::Ask { request: request.clone() };
        let row = match (self.entry(&effect, matching)?, secret) {
            (Entry::Recorded(recorded), None) => return outcome(&recorded.row),
            (Entry::Recorded(recorded), Some(_)) => recorded.row,
            (Entry::Live(row), _) => row,
        };
        self.flush().await?;
        let question =
            self.with(|context| Question::of(request, &context.core.properties, &context.core.facts));
        let answered = self.answer(question, interrupts).await?;
        self.with(|context| match secret {
            Some(name) => {
                if let Ok(Renderable::Literal(Value::String(value))) = &answered {
                    context.core.recorder.conceal(value, name);
                    context.note_secret(name);
                }
                context.record(row, &())
            }
            None => context.record_answer(row, &answered),
        })?;
        Ok(answered)
    }

    async fn answer(
        &self,
        question: Question,
        interrupts: &mut Interrupts,
    ) -> Result<Result<Renderable, String>, StepEnd> {
        let callables = self.with(|context| context.core.callables.clone());
        tokio::select! {
            answered = callables.answer(question) => Ok(answered),
            end = interrupts.left_or_cancelled() => Err(end),
        }
    }

    async fn ask_about_step(
        &self,
        callable: Callable,
        results: Option<Results>,
        matching: Matching,
        interrupts: &mut Interrupts,
    ) -> Result<Value, StepEnd> {
        let effect = Effect::AskAboutStep { callable: callable.clone(), results };
        let question = |context: &StepContext<'_>| {
            let (properties, facts) = (&context.core.properties, &context.core.facts);
            let about = StepQuestion { name: &context.config.kind, properties, facts };
            Question::about_step(&callable, results, &about)
        };
        self.put(effect, question, matching, interrupts).await
    }

    async fn call(
        &self,
        callable: Callable,
        args: Vec<Value>,
        matching: Matching,
        interrupts: &mut Interrupts,
    ) -> Result<Value, StepEnd> {
        let effect = Effect::Call { callable: callable.clone(), args: args.clone() };
        self.put(effect, |_| Question::plain(callable, args), matching, interrupts).await
    }

    /// Puts a question whose answer is a plain value, once.
    async fn put(
        &self,
        effect: Effect,
        question: impl FnOnce(&StepContext<'_>) -> Question,
        matching: Matching,
        interrupts: &mut Interrupts,
    ) -> Result<Value, StepEnd> {
        let answered: Result<Value, String> = match self.entry(&effect, matching)? {
            Entry::Recorded(recorded) => outcome(&recorded.row)?,
            Entry::Live(row) => {
                self.flush().await?;
                let question = self.with(|context| question(context));
                let answered = self.answer(question, interrupts).await?.and_then(Question::plain_answer);
                self.with(|context| context.record_answer(row, &answered))?;
                answered
            }
        };
        answered.map_err(StepEnd::Exception)
    }

    /// Performs an act of the master, which the caller brings along, once.
    ///
    /// # Errors
    /// When the step's replay asks for something else than before, or the run is over here.
    pub async fn act<T, F>(&self, effect: Effect, options: PerformOptions<'_>, act: F) -> Result<T, StepEnd>
    where
        T: Serialize + DeserializeOwned,
        F: AsyncFnOnce() -> T,
    {
        #[cfg(test)]
        if let Some(doubled) = self.with(|context| context.doubled(&effect)) {
            return match doubled? {
                Outcome::Value(value) => serde_json::from_value(value).map_err(|error| unreadable(&error)),
                other => Err(other.unexpected()),
            };
        }
        let interrupts = self.with(|context| context.core.interrupts(options.cancel));
        match self.entry(&effect, options.matching)? {
            Entry::Recorded(recorded) => outcome(&recorded.row),
            Entry::Live(row) => {
                self.flush().await?;
                let value = tokio::select! {
                    value = act() => value,
                    end = interrupts.left_or_cancelled() => return Err(end),
                };
                self.with(|context| context.record(row, &value))?;
                Ok(value)
            }
        }
    }
}

#[cfg(test)]
fn unreadable(error: &serde_json::Error) -> StepEnd {
    StepEnd::Exception(format!("the double of an act gives something else: {error}"))
}
