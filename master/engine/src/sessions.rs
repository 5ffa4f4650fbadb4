//! The workers as an engine sees them: one slot for each configured worker, with the session it has or had.
//!
//! A worker that doesn't know a command never got its order: that is how whoever goes on with a run finds out whether
//! the order must still be sent. So a worker may be made to forget a command only after a commit that says that nobody
//! will ask for it: its run is over, or does it again under another number. What a worker holds and nobody here knows is
//! therefore kept until the database has said that its run is over ([`Slot::strangers`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use muster_core::{BuildId, CommandId, Epoch, WorkerId};
use muster_data::Trust;
use muster_session::wire::GATEWAY;
use muster_session::{
    BootId, CommandState, MasterEvent, MasterEvents, MasterLink, OrderError, PackedInfo, StartCommand,
    WorkerInfo,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::session_news::{CommandNews, Gone, StartError};

/// News of one command that its run has not taken yet. When it is full the worker's socket is not read.
const COMMAND_QUEUE: usize = 64;

/// How long a worker may be away before its builds are given up. A flapping network is not worth a lost build, and a
/// worker that is gone for good should not hold one for long.
pub(crate) const GRACE: Duration = Duration::from_secs(60);

/// The same for a stock worker, whose commands end with its gateway. One that was killed took no leave, but mostly its
/// workers are back within seconds, as another life; this is for those that are not. An engine that is away for longer
/// than this from its gateway loses the builds there.
const GATEWAY_GRACE: Duration = Duration::from_secs(20);

/// One configured worker. Clones are the same worker.
#[derive(Clone)]
pub(crate) struct Slot(Arc<Inner>);

struct Inner {
    name: String,
    id: WorkerId,
    state: Mutex<State>,
    /// Counts changes; whoever waits for a state looks again.
    changed: watch::Sender<u64>,
    bells: Bells,
    /// Whether this master may act, and so let workers in.
    trust: Trust,
}

/// What all workers of an engine tell together.
#[derive(Clone, Default)]
pub(crate) struct Bells {
    /// Counts changes: the distributor waits on it.
    pub(crate) changed: watch::Sender<u64>,
    /// Counts connections.
    pub(crate) come: watch::Sender<u64>,
    /// Counts those that brought commands of which nobody here knows.
    pub(crate) strange: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    life: Option<Life>,
    /// The last dial that won the session here: its life and number.
    dial: Option<(BootId, u64)>,
    away_since: Option<Instant>,
    info: PackedInfo,
    /// Where the news of each running command go.
    streams: BTreeMap<CommandId, Listener>,
    /// Builds that run on this worker here.
    builds: BTreeSet<BuildId>,
    /// A life that is over for good, and how. Only as long as nothing speaks against it: when the same life dials once more
    /// and wins, the word is taken back.
    ended: Option<(BootId, Gone)>,
    /// Its operator asked it to go.
    leaving: bool,
    /// A build was lost here since it was last looked at how its builds end.
    is_doubtful: bool,
}

impl State {
    fn is_connected(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.connected)
    }

    /// Whether its present life is over, as far as anybody knows: its connection may break any moment, or has to.
    fn has_ended(&self) -> bool {
        let present = self.life.as_ref().map(|life| &life.boot);
        self.ended.as_ref().is_some_and(|(boot, _)| Some(boot) == present)
    }

    /// The number of the last dial that won the session here.
    fn dial_no(&self) -> Option<u64> {
        self.dial.as_ref().map(|(_, number)| *number)
    }

    /// Whether a later dial of the same life has come here since.
    fn is_outdated(&self, boot: &BootId, dial_no: u64) -> bool {
        self.dial.as_ref().is_some_and(|(known, latest)| known == boot && dial_no < *latest)
    }

    /// Makes the worker forget a build's commands.
    fn forget(&mut self, build: BuildId) {
        let Some(life) = &mut self.life else { return };
        life.link.abandon(build);
        life.unclaimed.retain(|id, _| {
            let goes = id.build == build;
            if goes {
                life.link.forget(*id);
            }
            !goes
        });
    }

    fn lose_connection(&mut self) {
        let Some(life) = self.life.as_mut().filter(|life| life.connected) else { return };
        life.connected = false;
        life.unclaimed.clear();
        self.away_since = Some(Instant::now());
    }
}

/// A run that follows a command. It may be that another run of the same build, under another epoch, follows it here
/// already while this one does not know yet that it is over.
struct Listener {
    epoch: Epoch,
    news: mpsc::Sender<CommandNews>,
}

/// A worker that was missed at some moment.
pub(crate) struct Missed {
    pub(crate) slot: Slot,
    /// Its last dial here by then.
    pub(crate) dial_no: Option<u64>,
}

/// One life of the worker's process.
struct Life {
    link: MasterLink,
    boot: BootId,
    connected: bool,
    /// How long it may be away.
    grace: Duration,
    /// Its commands end with this process: a stock worker, whose connection is held here.
    bound: bool,
    /// Commands it holds that no run has asked for yet.
    unclaimed: BTreeMap<CommandId, CommandState>,
}

impl Slot {
    pub(crate) fn new(name: &str, id: WorkerId, bells: Bells, trust: Trust) -> Slot {
        let (state, changed) = (Mutex::default(), watch::Sender::new(0));
        Slot(Arc::new(Inner { name: name.to_owned(), id, state, changed, bells, trust }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn id(&self) -> WorkerId {
        self.0.id
    }

    pub(crate) fn info(&self) -> WorkerInfo {
        self.state().info.unpack()
    }

    /// Whether its session is here, with a connection.
    pub(crate) fn is_connected(&self) -> bool {
        self.state().is_connected()
    }

    /// Whether it can be given a build now, as far as its connection goes.
    pub(crate) fn is_ready(&self) -> bool {
        let state = self.state();
        // What begins on a life that is over would end at once, again and again.
        !state.leaving && state.is_connected() && !state.has_ended()
    }

    /// Whether this is the present life of its process.
    pub(crate) fn lives(&self, boot: &BootId) -> bool {
        self.state().life.as_ref().is_some_and(|life| life.boot == *boot)
    }

    /// Whether it is told to go, and no build runs on it any more. Without its session this engine doesn't know.
    pub(crate) fn may_go(&self) -> bool {
        let state = self.state();
        state.leaving && state.is_connected() && state.builds.is_empty()
    }

    /// Whether its commands end with this process.
    pub(crate) fn is_bound(&self) -> bool {
        self.state().life.as_ref().is_some_and(|life| life.bound)
    }

    /// Whether builds run on it here.
    pub(crate) fn is_busy(&self) -> bool {
        !self.state().builds.is_empty()
    }

    /// Sends it to other engines, if it is connected and can go.
    pub(crate) fn redirect(&self, reason: &str, elsewhere: &[String]) {
        let state = self.state();
        if let Some(life) = state.life.as_ref().filter(|life| life.connected && !life.bound) {
            life.link.redirect(reason, elsewhere.to_vec());
        }
    }

    /// Whether builds run on it here and it is not connected: then what is known of it, for [`lose`](Slot::lose).
    pub(crate) fn missed(&self) -> Option<Missed> {
        let state = self.state();
        let is_missed = !state.builds.is_empty() && !state.is_connected();
        is_missed.then(|| Missed { slot: self.clone(), dial_no: state.dial_no() })
    }

    /// A life of it is over for good: nobody waits for its commands any more. That was found out about a worker that was
    /// missed; one that has dialled since has shown that it lives, or is another life.
    pub(crate) fn lose(&self, boot: BootId, dial_no: Option<u64>) {
        let mut state = self.state();
        if state.is_connected() || state.dial_no() != dial_no {
            return;
        }
        if state.ended.as_ref().is_none_or(|(known, _)| *known != boot) {
            tracing::info!(worker = self.name(), %boot, "the stock worker's connection is gone for good");
            state.ended = Some((boot, Gone::Away));
            drop(state);
            self.tell();
        }
    }

    /// Gives its builds up: this process ends, and their commands end with it.
    pub(crate) fn give_up(&self) {
        let mut state = self.state();
        state.ended = state.life.as_ref().map(|life| (life.boot.clone(), Gone::Away));
        drop(state);
        self.tell();
    }

    /// This master may act again, or no longer.
    pub(crate) fn wake(&self) {
        if let Some(link) = self.link() {
            link.wake();
        }
    }

    /// A build has another owner now; the worker goes on with its commands.
    pub(crate) fn part(&self, build: BuildId) {
        self.state().builds.remove(&build);
        self.let_go(build);
        self.tell();
    }

    /// Forgets a build's commands here, not on the worker.
    pub(crate) fn let_go(&self, build: BuildId) {
        let mut state = self.state();
        state.streams.retain(|command, _| command.build != build);
        // The worker says anew what it holds.
        if let Some(life) = state.life.as_ref().filter(|life| life.link.let_go(|known| known == build)) {
            life.link.close("a build has a new owner");
            state.lose_connection();
        }
    }

    /// A dial has won the session: a new connection is about to come, and what the one before said it held counts no
    /// more. `false`: a later dial was faster.
    pub(crate) fn supersede(&self, boot: &BootId, dial_no: u64) -> bool {
        let mut state = self.state();
        if state.is_outdated(boot, dial_no) {
            return false;
        }
        state.dial = Some((boot.clone(), dial_no));
        if state.ended.as_ref().is_some_and(|(ended, _)| ended == boot) {
            tracing::info!(worker = self.name(), %boot, "a worker that seemed to be gone for good is back");
            state.ended = None;
        }
        state.lose_connection();
        true
    }

    /// A build on it was lost: before it gets the next one, somebody looks at how the last ones ended.
    pub(crate) fn doubt(&self) {
        self.state().is_doubtful = true;
    }

    /// Whether that is still to be done.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.state().is_doubtful
    }

    /// Its last builds ended well.
    pub(crate) fn trust(&self) {
        self.state().is_doubtful = false;
    }

    /// Its operator, or somebody here, asked it to go when its builds are done.
    pub(crate) fn leave(&self) {
        self.state().leaving = true;
        self.tell();
    }

    /// A run on this worker begins, or is adopted: its commands must not be forgotten. Whatever is left here of an
    /// earlier time of the same run is dropped, so that the worker tells anew what it has.
    pub(crate) fn expect(&self, build: BuildId) {
        let mut state = self.state();
        // Nobody missed it here before: how long it was away from here says nothing, it may have been with another engine.
        if state.builds.is_empty() && !state.is_connected() {
            state.away_since = Some(Instant::now());
        }
        state.builds.insert(build);
        state.streams.retain(|id, _| id.build != build);
        if let Some(life) = &state.life
            && life.link.let_go(|known| known == build)
            && life.connected
        {
            life.link.close("a build on this worker has come back to this master");
            state.lose_connection();
        }
    }

    /// The builds that run on it here.
    pub(crate) fn builds(&self) -> Vec<BuildId> {
        self.state().builds.iter().copied().collect()
    }

    /// A run is over, and that is committed: what is left of its commands is dropped, here and on the worker.
    pub(crate) fn release(&self, build: BuildId) {
        let mut state = self.state();
        state.builds.remove(&build);
        state.streams.retain(|id, _| id.build != build);
        state.forget(build);
        drop(state);
        self.tell();
    }

    /// Builds of which the worker holds commands and nobody here knows anything.
    pub(crate) fn strangers(&self) -> Vec<BuildId> {
        let state = self.state();
        let held = state.life.iter().flat_map(|life| life.unclaimed.keys());
        let strange: BTreeSet<BuildId> =
            held.map(|id| id.build).filter(|build| !state.builds.contains(build)).collect();
        strange.into_iter().collect()
    }

    /// The runs of these strangers are over: the worker needn't keep anything of them.
    pub(crate) fn forget_strangers(&self, over: &[BuildId]) {
        let mut state = self.state();
        over.iter().for_each(|build| state.forget(*build));
    }

    /// The link to the worker's present life, for its connections.
    pub(crate) fn link_for(
        &self,
        boot: &BootId,
        info: &WorkerInfo,
        bound: bool,
    ) -> (MasterLink, Option<MasterEvents>) {
        let mut state = self.state();
        state.info = PackedInfo::new(info);
        if let Some(life) = state.life.as_ref().filter(|life| life.boot == *boot) {
            return (life.link.clone(), None);
        }
        let (link, events) = MasterLink::new(&self.0.name, boot.clone());
        // The commands of an earlier life are gone: closing their streams tells their runs.
        state.streams.clear();
        state.ended = state.life.take().map(|life| (life.boot, Gone::Restarted));
        state.leaving = false;
        state.life = Some(Life {
            link: link.clone(),
            boot: boot.clone(),
            connected: false,
            grace: if info.contains_key(GATEWAY) { GATEWAY_GRACE } else { GRACE },
            bound,
            unclaimed: BTreeMap::new(),
        });
        (link, Some(events))
    }

    /// Carries the news of one life of the worker to its runs, until the session is replaced. What an idle worker has none of
    /// is boxed.
    pub(crate) async fn pump(&self, boot: BootId, mut events: MasterEvents) {
        while let Some(event) = events.next().await {
            match event {
                MasterEvent::Connected { dial_no, unclaimed } => self.connected(&boot, dial_no, unclaimed),
                MasterEvent::Disconnected { dial_no, reason } => self.disconnected(&boot, dial_no, &reason),
                MasterEvent::Update { command, number, body } => {
                    Box::pin(self.deliver(command, CommandNews::Update(number, body))).await;
                }
                MasterEvent::Lost { command } => Box::pin(self.deliver(command, CommandNews::Lost)).await,
                MasterEvent::ShutdownRequested => self.leave(),
                MasterEvent::Over => self.is_over(&boot),
            }
        }
    }

    fn is_over(&self, boot: &BootId) {
        let mut state = self.state();
        if state.life.as_ref().is_some_and(|life| life.boot == *boot) {
            state.ended = Some((boot.clone(), Gone::Away));
        }
        drop(state);
        self.tell();
    }

    fn connected(&self, boot: &BootId, dial_no: u64, unclaimed: Vec<CommandState>) {
        let mut state = self.state();
        if state.is_outdated(boot, dial_no) {
            return;
        }
        state.away_since = None;
        let State { life, builds, .. } = &mut *state;
        let mut has_strangers = false;
        if let Some(life) = life.as_mut().filter(|life| life.boot == *boot) {
            life.connected = true;
            has_strangers = unclaimed.iter().any(|held| !builds.contains(&held.command.build));
            life.unclaimed = unclaimed.into_iter().map(|held| (held.command, held)).collect();
        }
        drop(state);
        self.0.bells.come.send_modify(|count| *count += 1);
        if has_strangers {
            self.0.bells.strange.send_modify(|count| *count += 1);
        }
        self.tell();
    }

    fn disconnected(&self, boot: &BootId, dial_no: u64, reason: &str) {
        let mut state = self.state();
        if state.is_outdated(boot, dial_no) {
            return;
        }
        if let Some(life) = state.life.as_mut().filter(|life| life.boot == *boot) {
            life.connected = false;
            life.unclaimed.clear();
            state.away_since = Some(Instant::now());
            tracing::info!(worker = self.name(), reason, "worker disconnected");
        }
        drop(state);
        self.tell();
    }

    async fn deliver(&self, command: CommandId, news: CommandNews) {
        let stream =
            self.state().streams.get(&command).map(|listener| (listener.epoch, listener.news.clone()));
        let Some((epoch, stream)) = stream else { return };
        // A run that no longer listens has let go of the command.
        if stream.send(news).await.is_err() {
            self.done(command, epoch);
        }
    }

    /// Starts a command whose intent is committed.
    pub(crate) fn start(
        &self,
        boot: &BootId,
        id: CommandId,
        epoch: Epoch,
        order: StartCommand,
    ) -> Result<mpsc::Receiver<CommandNews>, StartError> {
        let mut state = self.state();
        let life = state.life.as_ref().filter(|life| life.boot == *boot).ok_or(Gone::Restarted)?;
        life.link.start(id, epoch, order)?;
        Ok(listen(&mut state, id, epoch))
    }

    /// Goes on with a command that an earlier owner of the run had started, or had been about to start. `None`: the same
    /// life of the worker that it is meant for never got the order, so it must still be [sent](Slot::start).
    pub(crate) async fn resume(
        &self,
        boot: &BootId,
        id: CommandId,
        epoch: Epoch,
        seen: u64,
    ) -> Result<Option<mpsc::Receiver<CommandNews>>, StartError> {
        self.wait_back(boot).await?;
        let mut state = self.state();
        let life = state.life.as_mut().filter(|life| life.boot == *boot).ok_or(Gone::Restarted)?;
        match life.unclaimed.remove(&id) {
            Some(held) => life.link.resume(&held, epoch, seen)?,
            None if seen == 0 => return Ok(None),
            None => return Err(Gone::Forgotten.into()),
        }
        Ok(Some(listen(&mut state, id, epoch)))
    }

    /// Asks a command to end early.
    pub(crate) fn interrupt(&self, id: CommandId, why: &str) {
        if let Some(link) = self.link()
            && let Err(error) = link.interrupt(id, why)
        {
            tracing::debug!(%id, %error, "nothing to interrupt");
        }
    }

    /// Sends the next bytes of a download.
    pub(crate) async fn chunk(&self, id: CommandId, bytes: Vec<u8>, eof: bool) -> Result<(), OrderError> {
        match self.link() {
            Some(link) => link.chunk(id, bytes, eof).await,
            None => Ok(()),
        }
    }

    /// Tells the worker what is stored.
    pub(crate) fn acknowledge(&self, id: CommandId, number: u64) {
        if let Some(link) = self.link() {
            link.acknowledge(id, number);
        }
    }

    /// Gives a command up, which is committed: the worker ends it. Nothing happens when the run goes on here under another
    /// epoch.
    pub(crate) fn forget(&self, id: CommandId, epoch: Epoch) {
        if !self.done(id, epoch) {
            return;
        }
        if let Some(link) = self.link() {
            link.forget(id);
        }
    }

    /// A command is over; nobody listens to it any more. `false`: the run goes on here under another epoch.
    pub(crate) fn done(&self, id: CommandId, epoch: Epoch) -> bool {
        let mut state = self.state();
        let is_ours = state.streams.get(&id).is_none_or(|listener| listener.epoch == epoch);
        if is_ours {
            state.streams.remove(&id);
        }
        is_ours
    }

    /// Asks the worker's process to end.
    pub(crate) fn shut_down(&self) {
        if let Some(link) = self.link() {
            link.shutdown();
        }
    }

    /// Ends the connection; the worker dials again.
    pub(crate) fn close(&self, reason: &str) {
        if let Some(link) = self.link() {
            link.close(reason);
        }
    }

    fn link(&self) -> Option<MasterLink> {
        self.state().life.as_ref().map(|life| life.link.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.0.changed.send_modify(|count| *count += 1);
        self.0.bells.changed.send_modify(|count| *count += 1);
    }
}

fn listen(state: &mut State, id: CommandId, epoch: Epoch) -> mpsc::Receiver<CommandNews> {
    let (news, receiver) = mpsc::channel(COMMAND_QUEUE);
    state.streams.insert(id, Listener { epoch, news });
    receiver
}

mod waits;

#[cfg(test)]
mod tests;
