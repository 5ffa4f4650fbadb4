//! What a run works with: the build, its writes, its worker, the orders it gets.

use std::{path::PathBuf, sync::Arc, time::Duration};

use muster_core::{
    BuildId, Properties,
    render::{Renderable, Request},
};
use muster_data::{Data, RunWrite};
use muster_store::{
    runs::{self, JournalRow, RunKey},
    steps,
};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    callables::{Callables, Question},
    end::{Halt, StepEnd, leaving},
    facts::Facts,
    recorder::Recorder,
};
use crate::{plan::Stopped, sessions::Slot, triggers::Triggers};

/// The wait before a database that refused is asked again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// An order to stop a build. A later one has a higher number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StopOrder {
    pub(crate) number: i64,
    pub(crate) reason: String,
}

/// Where orders to stop show up. Steps that always run come after one was carried out, and only the next one stops them.
#[derive(Clone)]
pub(crate) struct StopReceiver {
    newest: watch::Receiver<Option<Arc<StopOrder>>>,
    carried_out: Option<Arc<StopOrder>>,
}

impl StopReceiver {
    /// `carried_out` is the newest order that an earlier execution of the run has carried out.
    pub(crate) fn new(
        newest: watch::Receiver<Option<Arc<StopOrder>>>,
        carried_out: Option<StopOrder>,
    ) -> StopReceiver {
        StopReceiver { newest, carried_out: carried_out.map(Arc::new) }
    }

    /// The order that is to be carried out.
    pub(crate) fn order(&self) -> Option<Arc<StopOrder>> {
        self.newest.borrow().clone().filter(|order| self.is_open(order))
    }

    /// The newest order, carried out or not.
    pub(crate) fn newest(&self) -> Option<Arc<StopOrder>> {
        self.order().or_else(|| self.carried_out.clone())
    }

    /// What has come until now is carried out.
    pub(crate) fn carry_out(&mut self) {
        self.carried_out = self.newest();
    }

    fn is_open(&self, order: &StopOrder) -> bool {
        self.carried_out.as_ref().is_none_or(|done| done.number < order.number)
    }
}

/// Waits for an order to stop; for ever, when none can come any more.
pub(crate) async fn ordered(stop: &mut StopReceiver) {
    let StopReceiver { newest, carried_out } = stop;
    let done = carried_out.as_ref().map(|order| order.number);
    if newest.wait_for(|order| order.as_ref().map(|order| order.number) > done).await.is_err() {
        std::future::pending().await
    }
}

/// What a run works with.
pub(crate) struct RunCore {
    pub(crate) data: Data,
    pub(crate) key: RunKey,
    pub(crate) facts: Facts,
    pub(crate) properties: Properties,
    pub(crate) recorder: Recorder,
    pub(crate) slot: Slot,
    pub(crate) stop: StopReceiver,
    /// This master goes: put everything down, leave the rows.
    pub(crate) leaving: CancellationToken,
    /// Tells whoever waits for locks that some were released.
    pub(crate) releases: watch::Sender<u64>,
    pub(crate) basedir: PathBuf,
    pub(crate) callables: Callables,
    /// Schedulers that its steps may ask for other builds.
    pub(crate) triggers: Arc<dyn Triggers>,
    /// The database won't ever take what the step under way did in an earlier execution of the run here, and says so.
    pub(crate) refused: Option<String>,
}

impl RunCore {
    pub(crate) fn stop_order(&self) -> Option<Arc<StopOrder>> {
        self.stop.order()
    }

    /// Conceals what an earlier execution of the run has concealed: steps that are over won't ask for their secrets again.
    pub(crate) async fn conceal_again(&mut self) {
        for name in self.facts.plan.secrets.clone() {
            let request = Request::Secret { name: name.clone() };
            let question = Question::of(&request, &self.properties, &self.facts);
            match self.callables.answer(question).await {
                Ok(Renderable::Literal(Value::String(value))) => self.recorder.conceal(&value, &name),
                Ok(_) => {}
                Err(reason) => {
                    let build = self.key.build;
                    tracing::error!(%build, name, reason, "a secret of an earlier step can't be had: logs may show it");
                }
            }
        }
    }

    /// The order to stop that counts before the step at this place of the plan: the one that counted there before, or a
    /// new one. Whoever goes on with the build has to leave out the same steps, so a new one does not count before a step that
    /// an earlier execution has begun: it stops that one, or what follows.
    pub(crate) fn stop_before(&mut self, place: usize, has_begun: bool) -> Option<Arc<StopOrder>> {
        if let Some(Stopped { before, number, reason }) = &self.facts.plan.stopped
            && *before == place
        {
            return Some(Arc::new(StopOrder { number: *number, reason: reason.clone() }));
        }
        let order = self.stop_order().filter(|_| !has_begun)?;
        if self.facts.plan.stopped.is_some() {
            return Some(order);
        }
        let StopOrder { number, reason } = order.as_ref().clone();
        self.facts.plan.stopped = Some(Stopped { before: place, number, reason });
        self.write_plan();
        Some(order)
    }

    /// Stores the plan as it is now.
    pub(crate) fn write_plan(&mut self) {
        let text = serde_json::to_string(&self.facts.plan).expect("a plan is made of JSON");
        self.recorder.write(RunWrite::Plan(text));
    }

    /// What an earlier execution of a step has done.
    pub(crate) async fn journal_of(&self, step: u32) -> Result<Vec<JournalRow>, Halt> {
        let (db, build) = (self.data.db(), self.key.build);
        let read = || db.look("journal", move |tx| async move { runs::journal_of(&tx, build, step).await });
        self.insist("the journal", read).await
    }

    /// The slugs of the logs that a step has.
    pub(crate) async fn slugs_of(&self, step: u32) -> Result<Vec<String>, Halt> {
        let (db, build) = (self.data.db(), self.key.build);
        let read = || {
            db.look("slugs", move |tx| async move { steps::logs_of_numbered(&tx, &[build], &[step]).await })
        };
        let logs = self.insist("the logs", read).await?;
        Ok(logs.into_iter().map(|log| log.slug).collect())
    }

    /// Asks the database for something; one that refuses is asked again.
    pub(super) async fn insist<T, F>(&self, what: &str, read: impl Fn() -> F) -> Result<T, Halt>
    where
        F: Future<Output = muster_store::Result<T>>,
    {
        insist(self.key.build, &self.leaving, what, read).await
    }

    /// What ends a wait of a step early.
    pub(crate) fn interrupts(&self, cancel: CancellationToken) -> Interrupts {
        Interrupts { stop: self.stop.clone(), leaving: self.leaving.clone(), cancel }
    }
}

/// Asks the database for something; one that refuses is asked again.
pub(super) async fn insist<T, F>(
    build: BuildId,
    leaving: &CancellationToken,
    what: &str,
    read: impl Fn() -> F,
) -> Result<T, Halt>
where
    F: Future<Output = muster_store::Result<T>>,
{
    loop {
        match read().await {
            Ok(rows) => return Ok(rows),
            Err(error) => tracing::error!(%build, %error, "can't ask for {what}; trying again"),
        }
        tokio::select! {
            () = tokio::time::sleep(READ_AGAIN) => {}
            () = leaving.cancelled() => return Err(Halt::Leaving),
        }
    }
}

/// What ends a wait of a step early: an order to stop its build, the end of this master, or the step itself.
#[derive(Clone)]
pub(crate) struct Interrupts {
    stop: StopReceiver,
    leaving: CancellationToken,
    cancel: CancellationToken,
}

impl Interrupts {
    /// Whether this master goes.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.is_cancelled()
    }

    /// Waits until this master goes.
    pub(crate) async fn left(&self) {
        self.leaving.cancelled().await;
    }

    /// Waits for an order to stop, or for the step to want the end; answers why.
    pub(crate) async fn stopped(&mut self) -> String {
        tokio::select! {
            () = ordered(&mut self.stop) => self.stop.order().map_or_else(String::new, |order| order.reason.clone()),
            () = self.cancel.cancelled() => "the step has cancelled it".to_owned(),
        }
    }

    /// Waits for any of it.
    pub(crate) async fn any(&mut self) -> StepEnd {
        let Interrupts { stop, leaving: left, cancel } = self;
        tokio::select! {
            () = ordered(stop) => StepEnd::Cancelled,
            () = cancel.cancelled() => StepEnd::Cancelled,
            () = left.cancelled() => leaving(),
        }
    }

    /// The same for what an order to stop the build does not end.
    pub(crate) async fn left_or_cancelled(&self) -> StepEnd {
        tokio::select! {
            () = self.cancel.cancelled() => StepEnd::Cancelled,
            () = self.leaving.cancelled() => leaving(),
        }
    }
}
