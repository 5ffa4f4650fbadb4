//! The conversation with the host about one step: effects come in, are performed at the same time, and are answered.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use muster_config::{Conversation, StepNews, StepOrder};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    End,
    effects::{self, Answer, Asked, Stock},
    lines::Feeding,
};
use crate::effects::{LogRef, SharedContext, StepContext, StepEnd};

/// How long a new effect waits for the recorded ones before it that the step has not asked for again, while nothing else is
/// under way that they may come after.
const REPLAY_PATIENCE: Duration = Duration::from_secs(30);
/// How long a step may take to end after its build was stopped. The host cancels its code earlier.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// Why the conversation pauses.
pub(super) enum Turn {
    Ended(End),
    /// The engine's own step of some kind is to run; nothing else is under way.
    Stock(u64, Stock),
    /// The process is gone.
    Gone(String),
}

type Performing<'p> = Pin<Box<dyn Future<Output = (u64, Answer)> + Send + 'p>>;

/// One conversation.
pub(super) struct Talk {
    conversation: Conversation,
    /// The logs of the step by the numbers of the effects that made them.
    pub(super) logs: HashMap<u64, LogRef>,
    /// What waits for recorded effects to be asked for again.
    held: VecDeque<(u64, Value)>,
    /// Since when they wait for the step's code alone.
    held_since: Option<Instant>,
    pub(super) feeding: Feeding,
    told_to_stop: Option<Instant>,
}

impl Talk {
    pub(super) async fn begin(context: &mut StepContext<'_>, wanted: Value) -> Result<Talk, StepEnd> {
        let feeding = Feeding::new(super::logs_of(context).await?);
        let host = context.core.callables.host().map_err(StepEnd::Exception)?;
        Ok(Talk {
            conversation: host.begin(wanted),
            logs: HashMap::new(),
            held: VecDeque::new(),
            held_since: None,
            feeding,
            told_to_stop: None,
        })
    }

    /// Answers an effect.
    pub(super) fn answer(&self, seq: u64, answer: Result<Value, String>) {
        let outcome = match answer {
            Ok(value) => json!({"seq": seq, "value": value}),
            Err(text) => json!({"seq": seq, "error": {"kind": "exception", "text": text}}),
        };
        self.conversation.teller().tell(StepOrder::Outcome(outcome));
    }

    fn answer_end(&self, seq: u64, answer: Answer) -> Result<(), StepEnd> {
        let error = match answer {
            Ok(value) => {
                self.answer(seq, Ok(value));
                return Ok(());
            }
            Err(StepEnd::Cancelled) => json!({"kind": "cancelled", "text": "the build is stopped"}),
            Err(StepEnd::Exception(text)) => json!({"kind": "exception", "text": text}),
            Err(StepEnd::Failed) => json!({"kind": "exception", "text": "it failed"}),
            // The run is over here, or for good: dropping the conversation tells the host.
            Err(end) => return Err(end),
        };
        let outcome = json!({"seq": seq, "error": error});
        self.conversation.teller().tell(StepOrder::Outcome(outcome));
        Ok(())
    }

    /// Goes on until something else has to be done with the whole context.
    pub(super) async fn go_on(&mut self, context: &mut StepContext<'_>) -> Result<Turn, StepEnd> {
        let mut stop = context.core.interrupts(CancellationToken::new());
        let leaving = context.core.leaving.clone();
        let shared = context.share();
        let mut performing: FuturesUnordered<Performing<'_>> = FuturesUnordered::new();
        let mut stock = None;
        loop {
            self.take_held(&shared, &mut performing)?;
            if performing.is_empty()
                && let Some((seq, stock)) = stock.take()
            {
                return Ok(Turn::Stock(seq, stock));
            }
            // When the database is slower than the step, the step waits.
            let full = shared.with(|context| {
                context.core.recorder.post();
                !context.core.recorder.waiter().has_room()
            });
            if full {
                shared.flush().await?;
            }
            let patience = self.deadline(performing.is_empty());
            tokio::select! {
                Some((seq, answer)) = performing.next(), if !performing.is_empty() => self.answer_end(seq, answer)?,
                news = self.conversation.next() => match news {
                    StepNews::Perform { seq, effect } => match effects::stock_of(&effect) {
                        Some(wanted) => stock = Some((seq, wanted)),
                        None => self.perform(&shared, seq, effect, &mut performing)?,
                    },
                    StepNews::Read(bytes) => self.feeding.credit.read(bytes),
                    StepNews::End(end) => {
                        self.feeding.credit.close();
                        drain(&mut performing).await?;
                        return Ok(Turn::Ended(ended(&shared, end)?));
                    }
                    StepNews::Refused(reason) => {
                        return Err(StepEnd::Retry(format!("the host can't go on with the step: {reason}")));
                    }
                    StepNews::Gone(reason) => {
                        self.feeding.credit.close();
                        drain(&mut performing).await?;
                        return Ok(Turn::Gone(reason));
                    }
                },
                reason = stop.stopped(), if self.told_to_stop.is_none() => {
                    self.told_to_stop = Some(Instant::now() + STOP_PATIENCE);
                    self.conversation.teller().tell(StepOrder::Interrupt { reason });
                }
                () = until(patience) => return Err(self.out_of_patience(&shared)),
                () = leaving.cancelled() => {
                    self.feeding.credit.close();
                    return Err(shared.with(|context| context.leave()));
                }
            }
        }
    }

    fn deadline(&mut self, is_idle: bool) -> Option<Instant> {
        let waits = is_idle && !self.held.is_empty();
        self.held_since = waits.then(|| self.held_since.unwrap_or_else(Instant::now));
        let held = self.held_since.map(|since| since + REPLAY_PATIENCE);
        [held, self.told_to_stop].into_iter().flatten().min()
    }

    fn out_of_patience(&self, shared: &SharedContext<'_, '_>) -> StepEnd {
        if self.told_to_stop.is_some_and(|until| until <= Instant::now()) {
            return StepEnd::Cancelled;
        }
        another_way(shared).unwrap_or(StepEnd::Cancelled)
    }

    /// Performs an effect, or lets it wait while recorded ones were not asked for again.
    fn perform<'p>(
        &mut self,
        shared: &'p SharedContext<'_, '_>,
        seq: u64,
        effect: Value,
        performing: &mut FuturesUnordered<Performing<'p>>,
    ) -> Result<(), StepEnd> {
        let asked = match effects::read(effect.clone(), &self.logs) {
            Ok(asked) => asked,
            Err(text) => {
                self.answer(seq, Err(text));
                return Ok(());
            }
        };
        if !self.held.is_empty() && !asked.is_recorded(shared)? || asked.must_wait(shared)? {
            self.held.push_back((seq, effect));
            return Ok(());
        }
        self.begin_effect(shared, seq, asked, performing)
    }

    fn begin_effect<'p>(
        &mut self,
        shared: &'p SharedContext<'_, '_>,
        seq: u64,
        asked: Asked,
        performing: &mut FuturesUnordered<Performing<'p>>,
    ) -> Result<(), StepEnd> {
        if asked.takes_time() {
            let feed = asked.wants_lines().then(|| self.feeding.of(seq, self.conversation.teller()));
            performing.push(Box::pin(async move { (seq, asked.perform(shared, feed).await) }));
            return Ok(());
        }
        let answer = asked.perform_now(shared, seq, &mut self.logs, &self.feeding);
        self.answer_end(seq, answer)
    }

    /// Begins what has waited, as far as it can.
    fn take_held<'p>(
        &mut self,
        shared: &'p SharedContext<'_, '_>,
        performing: &mut FuturesUnordered<Performing<'p>>,
    ) -> Result<(), StepEnd> {
        while let Some((seq, effect)) = self.held.front() {
            let seq = *seq;
            let asked = effects::read(effect.clone(), &self.logs);
            if let Ok(asked) = &asked
                && asked.must_wait(shared)?
            {
                return Ok(());
            }
            self.held.pop_front();
            match asked {
                Ok(asked) => self.begin_effect(shared, seq, asked, performing)?,
                Err(text) => self.answer(seq, Err(text)),
            }
        }
        Ok(())
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Lets everything come to its end.
async fn drain(performing: &mut FuturesUnordered<Performing<'_>>) -> Result<(), StepEnd> {
    while let Some((_, answer)) = performing.next().await {
        match answer {
            Ok(_) | Err(StepEnd::Cancelled | StepEnd::Exception(_) | StepEnd::Failed) => {}
            Err(end) => return Err(end),
        }
    }
    Ok(())
}

/// The end that the host told, unless the step went another way than before.
fn ended(shared: &SharedContext<'_, '_>, end: Value) -> Result<End, StepEnd> {
    if let Some(another) = another_way(shared) {
        return Err(another);
    }
    serde_json::from_value(end)
        .map_err(|error| StepEnd::Exception(format!("the step's end is unreadable: {error}")))
}

/// A step that left out what it did before its process ended.
fn another_way(shared: &SharedContext<'_, '_>) -> Option<StepEnd> {
    shared.with(|context| {
        let row = context.journal.open()?;
        let kind = row.kind.split('@').next().unwrap_or_default();
        Some(StepEnd::Retry(format!(
            "can't be replayed: the step does not do again what it did before (effect {}: {kind}). \
             Its code must not depend on clocks, random numbers or files of the master",
            row.ordinal
        )))
    })
}
