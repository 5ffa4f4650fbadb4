//! The runs of this engine: begun, adopted, stopped, counted.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use muster_core::{BuildId, BuilderId, Properties, RequestId, Results, SourceStamp, Step, WorkerId};
use muster_store::{
    Error, builds, control, query,
    runs::{self, RunKey, RunRow},
    steps,
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Engine,
    effects::{Callables, Facts, Halt, Recorder, RunCore, StopOrder, StopReceiver},
    places::{Reservation, Reservations},
    plan::{self, Plan},
    run,
    sessions::Slot,
};

/// Waits before a run goes on whose data was refused: first and longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));

/// Where a run finds the orders to stop it.
type Orders = watch::Receiver<Option<Arc<StopOrder>>>;

/// How the task of a run ended.
enum Outcome {
    /// The run is over.
    Over,
    /// It is somebody else's, or goes on later.
    PutDown,
}

/// The runs under way, and where orders to stop them go.
#[derive(Default)]
pub(crate) struct Runs {
    handles: Mutex<BTreeMap<BuildId, Handle>>,
    /// Places on workers.
    pub(crate) reservations: Reservations,
    tasks: TaskTracker,
    /// Runs of this master that could not be taken up because the database refused.
    put_off: Mutex<Vec<RunRow>>,
    /// Counts ends of runs: a worker is free again.
    ended: watch::Sender<u64>,
}

/// How a run under way is reached.
struct Handle {
    key: RunKey,
    slot: Slot,
    stop: watch::Sender<Option<Arc<StopOrder>>>,
    /// Puts it down: rows and journal stay.
    down: CancellationToken,
    /// Its task has ended.
    ended: CancellationToken,
}

impl Runs {
    /// The runs under way, each with the epoch under which it runs.
    pub(crate) fn keys(&self) -> Vec<RunKey> {
        self.handles().values().map(|handle| handle.key).collect()
    }

    /// The worker of a run under way.
    pub(crate) fn worker_of(&self, key: &RunKey) -> Option<Slot> {
        let handles = self.handles();
        handles.get(&key.build).filter(|handle| handle.key == *key).map(|handle| handle.slot.clone())
    }

    /// Puts a run down, unless it has begun anew under a later epoch.
    pub(crate) fn put_down(&self, key: &RunKey) {
        if let Some(handle) = self.handles().get(&key.build).filter(|handle| handle.key == *key) {
            handle.down.cancel();
        }
    }

    /// Hands an order to stop to its build, if that runs here.
    pub(crate) fn stop(&self, build: BuildId, order: StopOrder) {
        if let Some(handle) = self.handles().get(&build) {
            handle.stop.send_if_modified(|newest| {
                let is_new = newest.as_ref().is_none_or(|known| known.number < order.number);
                if is_new {
                    *newest = Some(Arc::new(order));
                }
                is_new
            });
        }
    }

    fn put_off(&self, run: RunRow) {
        self.put_off.lock().unwrap_or_else(PoisonError::into_inner).push(run);
    }

    /// The runs that were put off, to be tried again.
    pub(crate) fn again(&self) -> Vec<RunRow> {
        std::mem::take(&mut *self.put_off.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells whenever a run has ended.
    pub(crate) fn ends(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// Wakes whoever waits for free workers.
    pub(crate) fn poke(&self) {
        self.ended.send_modify(|count| *count += 1);
    }

    /// Enters a run whose task is about to start. `false`: the build runs here already, under this epoch or a later one.
    fn enter(&self, handle: Handle) -> bool {
        let mut handles = self.handles();
        let build = handle.key.build;
        if handles.get(&build).is_some_and(|known| known.key.epoch >= handle.key.epoch) {
            return false;
        }
        handles.insert(build, handle);
        true
    }

    /// Whether a build runs here under this epoch or a later one.
    fn is_ahead_of(&self, key: &RunKey) -> bool {
        self.handles().get(&key.build).is_some_and(|known| known.key.epoch >= key.epoch)
    }

    /// Strikes out a run whose task has let go of its worker.
    fn leave(&self, key: &RunKey) {
        let mut handles = self.handles();
        if handles.get(&key.build).is_some_and(|handle| handle.key == *key) {
            handles.remove(&key.build);
        }
    }

    /// Puts down what runs here of a build under an epoch before this one, and waits for its end.
    async fn end_earlier(&self, key: &RunKey) -> bool {
        let earlier =
            self.handles().get(&key.build).filter(|handle| handle.key.epoch < key.epoch).map(|handle| {
                handle.down.cancel();
                handle.ended.clone()
            });
        let Some(ended) = earlier else { return false };
        ended.cancelled().await;
        true
    }

    /// Waits until no run is under way.
    pub(crate) async fn wait(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn handles(&self) -> MutexGuard<'_, BTreeMap<BuildId, Handle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A build that begins or goes on here.
pub(crate) struct Begin {
    pub(crate) key: RunKey,
    pub(crate) request: RequestId,
    pub(crate) builder: BuilderId,
    pub(crate) number: i64,
    pub(crate) plan: Plan,
    pub(crate) slot: Slot,
    pub(crate) properties: Properties,
    pub(crate) sources: Vec<SourceStamp>,
    /// Rows of an earlier execution.
    pub(crate) rows: Vec<Step>,
    /// An order to stop that was given before and is not carried out yet.
    pub(crate) ordered: Option<StopOrder>,
    /// The newest order to stop that it may have carried out.
    pub(crate) carried_out: Option<StopOrder>,
    /// Its place on the worker, when it was taken before.
    pub(crate) reservation: Option<Reservation>,
}

impl Engine {
    /// Takes up the builds that an earlier life of this master left behind.
    pub(crate) async fn adopt(
        &self,
        leaving: &CancellationToken,
        shutdown: &CancellationToken,
    ) -> muster_store::Result<()> {
        let left = loop {
            match self.data().adopt_runs(self.master(), self.master()).await {
                // The database hung since the lease was taken: the next renewal lets this master go on.
                Err(Error::Untrusted) => tokio::select! {
                    () = self.data().trust().held() => {}
                    () = shutdown.cancelled() => return Ok(()),
                },
                left => break left?,
            }
        };
        self.take_up(left, leaving).await;
        Ok(())
    }

    /// Goes on with runs that are this master's now; one that can't be gone on with is given back.
    pub(crate) async fn take_up(&self, runs: Vec<RunRow>, leaving: &CancellationToken) {
        for run in runs.into_iter().filter(|run| !self.0.runs.is_ahead_of(&run.key)) {
            let build = run.key.build;
            self.settle(&run.key, run.worker).await;
            let given_back = match self.restore(&run).await {
                Ok(Ok(begin)) => {
                    tracing::info!(%build, "goes on with a build");
                    metrics::counter!("muster_builds_adopted_total").increment(1);
                    self.begin(begin, leaving);
                    continue;
                }
                Ok(Err(reason)) => {
                    tracing::warn!(%build, reason, "can't go on with a build; its request is pending again");
                    self.give_back(&run, &reason).await
                }
                Err(error) => Err(error),
            };
            let slot = self.slots().by_id(run.worker);
            match given_back {
                Ok(()) => slot.iter().for_each(|slot| slot.release(build)),
                Err(Error::Fenced(_)) => slot.iter().for_each(|slot| slot.part(build)),
                Err(error) => {
                    tracing::error!(%build, %error, "can't go on with a build yet; trying again");
                    self.0.runs.put_off(run);
                }
            }
        }
    }

    /// Ends what an earlier epoch of a run left here: it went away and came back, and two tasks of one build would take
    /// each other's news. Afterwards the worker may come again.
    async fn settle(&self, key: &RunKey, worker: WorkerId) {
        if self.0.runs.end_earlier(key).await
            && let Some(slot) = self.slots().by_id(worker)
        {
            slot.expect(key.build);
        }
    }

    /// Puts down what runs here on a worker under epochs that are over, before the worker comes: what it says is for
    /// their successors.
    pub(crate) async fn settle_worker(&self, present: &[RunKey]) {
        for key in present {
            self.0.runs.end_earlier(key).await;
        }
    }

    /// What a stored run needs to go on, or why it can't.
    async fn restore(&self, run: &RunRow) -> muster_store::Result<Result<Begin, String>> {
        let plan = match serde_json::from_str::<Plan>(&run.plan) {
            Ok(plan) if plan.version == plan::VERSION => plan,
            Ok(plan) => return Ok(Err(format!("its plan has version {}, unknown here", plan.version))),
            Err(error) => return Ok(Err(format!("its plan is unreadable: {error}"))),
        };
        let Some(slot) = self.slots().by_id(run.worker) else {
            return Ok(Err("its worker is no longer configured".to_owned()));
        };
        let (build, request) = (run.key.build, run.request);
        let was_stopped = plan.stopped.is_some();
        let (properties, sources, rows, ordered, carried_out) = self
            .data()
            .db()
            .read("restore_run", |tx| async move {
                let properties = builds::properties(&tx, build).await?;
                let rows = steps::of_build(&tx, build).await?;
                let set = match query::requests::by_id(&tx, request).await? {
                    Some(request) => query::buildsets::by_id(&tx, request.buildset).await?,
                    None => None,
                };
                let sources = set.map(|set| set.sourcestamps).unwrap_or_default();
                // What stopped a step must not stop those that follow.
                let was_stopped =
                    was_stopped || rows.iter().any(|row| row.results == Some(Results::Cancelled));
                let order = control::newest(&tx, "build", build.0).await?;
                let order = order.map(|order| StopOrder { number: order.id, reason: order.reason });
                let (ordered, carried_out) = if was_stopped { (None, order) } else { (order, None) };
                Ok::<_, muster_store::Error>((properties, sources, rows, ordered, carried_out))
            })
            .await?;
        Ok(Ok(Begin {
            key: run.key,
            request,
            builder: run.builder,
            number: run.number,
            plan,
            slot,
            properties,
            sources,
            rows,
            ordered,
            carried_out,
            reservation: None,
        }))
    }

    /// Ends a run that can't go on, so that its request is pending again.
    async fn give_back(&self, run: &RunRow, reason: &str) -> muster_store::Result<()> {
        let (at, build) = (muster_data::now(), run.key.build);
        let rows =
            self.data().db().read("unfinished_steps", |tx| async move { steps::of_build(&tx, build).await });
        let mut writes: Vec<muster_data::RunWrite> = rows
            .await?
            .into_iter()
            .filter(|row| row.results.is_none())
            .map(|row| muster_data::RunWrite::StepFinished {
                step: row.number as u32,
                results: Results::Retry,
                hidden: false,
                state: row.state_string,
                at,
            })
            .collect();
        let results = Results::Retry;
        writes.push(muster_data::RunWrite::BuildFinished { results, state: format!("retry {reason}"), at });
        self.data().commit_run(&run.key, run.request, &writes).await
    }

    /// Starts the task that owns a run.
    pub(crate) fn begin(&self, mut begin: Begin, leaving: &CancellationToken) {
        let key = begin.key;
        let build = key.build;
        let slot = begin.slot.clone();
        let (stop, stopped) = watch::channel(begin.ordered.take().map(Arc::new));
        let (down, ended) = (leaving.child_token(), CancellationToken::new());
        let handle = Handle { key, slot: slot.clone(), stop, down: down.clone(), ended: ended.clone() };
        if !self.0.runs.enter(handle) {
            return;
        }
        slot.expect(build);
        let place = begin.reservation.take();
        let place = place.unwrap_or_else(|| self.0.runs.reservations.insist(begin.builder, slot.name()));
        let (engine, leaving) = (self.clone(), leaving.clone());
        self.0.runs.tasks.spawn(async move {
            let _ended = ended.drop_guard();
            let outcome = engine.execute(begin, stopped, down).await;
            drop(place);
            match outcome {
                Outcome::Over => slot.release(build),
                // The next start goes on, or whoever gets the worker: its commands are not to be touched.
                Outcome::PutDown if leaving.is_cancelled() => {}
                // Its commands belong to the new owner.
                Outcome::PutDown => slot.part(build),
            }
            // Only now: whoever goes on with the build here finds this run as long as it touches the worker.
            engine.0.runs.leave(&key);
            engine.0.runs.poke();
        });
    }

    /// Executes a run to its end, or until it must be put down. What the database won't ever take is dropped, and what may be
    /// stored or not: the run goes on from what is stored, as after an adoption; in the first case with the step under way
    /// ended.
    async fn execute(&self, mut begin: Begin, orders: Orders, down: CancellationToken) -> Outcome {
        let (key, mut refused, mut wait) = (begin.key, None, AGAIN.0);
        let slot = begin.slot.clone();
        loop {
            let stop = StopReceiver::new(orders.clone(), begin.carried_out.take());
            let rows = std::mem::take(&mut begin.rows);
            let core = RunCore { refused, ..self.core(begin, stop, down.clone()) };
            refused = match run::execute(core, rows).await {
                Ok(()) => return Outcome::Over,
                Err(Halt::Fenced | Halt::Leaving) => return Outcome::PutDown,
                Err(Halt::Refused(reason)) => Some(reason),
                Err(Halt::Unsure) => {
                    // The worker tells anew what it holds.
                    slot.expect(key.build);
                    None
                }
            };
            begin = loop {
                // That it was refused may be refused as well.
                tokio::select! {
                    () = tokio::time::sleep(wait) => wait = (wait * 2).min(AGAIN.1),
                    () = down.cancelled() => return Outcome::PutDown,
                }
                match self.begin_again(key).await {
                    Ok(Ok(begin)) => break begin,
                    Ok(Err(outcome)) => return outcome,
                    Err(error) => {
                        tracing::error!(build = %key.build, %error, "can't go on with a build yet; trying again");
                    }
                }
            };
        }
    }

    /// What a run of this master needs to go on from what is stored, or how it ended.
    async fn begin_again(&self, key: RunKey) -> muster_store::Result<Result<Begin, Outcome>> {
        let row =
            self.data().db().look("run", |tx| async move { runs::by_build(&tx, key.build).await }).await?;
        let Some(row) = row.filter(|row| row.key == key) else { return Ok(Err(Outcome::PutDown)) };
        match self.restore(&row).await? {
            Ok(begin) => Ok(Ok(begin)),
            Err(reason) => match self.give_back(&row, &reason).await {
                Ok(()) => Ok(Err(Outcome::Over)),
                Err(Error::Fenced(_)) => Ok(Err(Outcome::PutDown)),
                Err(error) => Err(error),
            },
        }
    }

    fn core(&self, begin: Begin, stop: StopReceiver, leaving: CancellationToken) -> RunCore {
        let active = self.active();
        let recorder =
            Recorder::new(&self.0.writer, begin.key, begin.request, active.compression, leaving.clone());
        RunCore {
            place: 0,
            results: Results::Success,
            done: Vec::new(),
            data: self.data().clone(),
            key: begin.key,
            facts: Facts {
                number: begin.number,
                builder_id: begin.builder,
                plan: begin.plan,
                snapshot: active.snapshot.clone(),
                worker: begin.slot.name().to_owned(),
                worker_info: begin.slot.info(),
                sources: begin.sources,
            },
            properties: begin.properties,
            recorder,
            slot: begin.slot,
            stop,
            leaving,
            releases: self.0.releases.clone(),
            basedir: self.0.basedir.clone(),
            callables: Callables(active.host.clone()),
            triggers: self.0.triggers.clone(),
            refused: None,
        }
    }
}
