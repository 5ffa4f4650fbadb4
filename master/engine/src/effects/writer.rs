//! The writer of this master: commits what all its runs have gathered, together.
//!
//! A run hands over what it has done and goes on; what somebody waits for is committed at once, everything else within
//! [`GATHER_TIME`]. While one commit is under way the next one gathers, so under load a commit carries many runs. Text is
//! compressed outside of the transaction, on threads of its own, while the commit before is still under way.
//!
//! What a worker sent is acknowledged only after the commit that stores it. A run that has another owner by now loses its
//! own part of a commit and no other. When the database has something against a commit, each run is tried by itself: what it
//! won't ever take ends that run's account ([`Halt::Refused`]), everything else is tried again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use muster_core::RequestId;
use muster_data::{Data, RunPart, RunWrite};
use muster_session::wire;
use muster_store::{Error, chunks::Compression, runs::RunKey};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

mod account;

pub(crate) use account::{Account, Waiter};

use super::{
    end::Halt,
    gathered::{Acknowledgements, Gathered},
};

/// Longest time that output waits for its commit when nobody asks for it.
const GATHER_TIME: Duration = Duration::from_millis(30);
/// Text of one run that waits to be committed. A run that has more takes no more news of its worker meanwhile.
const MAX_OF_RUN: usize = 2 << 20;
/// Text of all runs that waits to be committed; beyond it no run takes news. Twice [`MAX_OF_GROUP`] is under way beside.
const MAX_WAITING: usize = 16 << 20;
/// Text in one commit, before compression: a server takes a few MB in some tens of milliseconds.
const MAX_OF_GROUP: usize = 4 << 20;
/// So much text is worth a commit of its own, and being compressed ahead while one is under way. A worker sends no more
/// than a window without acknowledgement: this has to be well below it, or the two would wait for each other's timers.
const WORTH_A_COMMIT: usize = wire::WINDOW / 4;
/// Runs in one commit: it bounds how long their rows are locked, and the length of statements.
const MAX_RUNS: usize = 64;
/// Waits between attempts while the database refuses: first and longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));

/// The writer. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Writer(Arc<Shared>);

struct Shared {
    data: Data,
    state: Mutex<State>,
    /// Wakes the writer.
    wake: Notify,
    /// Tells runs that there is room again.
    room: watch::Sender<u64>,
    /// Whether the database refuses at present.
    refused: watch::Sender<bool>,
    /// Tells that some log has ended whose chunks should be grouped.
    regroup: watch::Sender<u64>,
    closed: CancellationToken,
}

#[derive(Default)]
struct State {
    accounts: HashMap<u64, Queue>,
    last_id: u64,
    /// Accounts that have something, the one that waits longest first.
    due: VecDeque<u64>,
    /// Accounts whose data could not be stored, and when they are due again.
    resting: Vec<(Instant, u64)>,
    /// Bytes of text in all of them.
    waiting: usize,
    /// Since when the first of them waits.
    since: Option<Instant>,
    /// Somebody waits for a commit.
    urgent: bool,
    /// Groups that were taken and are not committed yet.
    under_way: usize,
}

/// What one run has handed over.
struct Queue {
    key: RunKey,
    request: RequestId,
    compression: Compression,
    gathered: Gathered,
    /// Counts what was handed over.
    posted: u64,
    outcome: watch::Sender<Outcome>,
    is_due: bool,
    /// Its run is gone; what is left is still written.
    orphaned: bool,
    /// What could not be stored for its own sake.
    held: Option<Part>,
}

#[derive(Clone, Default)]
struct Outcome {
    durable: u64,
    /// Nothing more is written for the run here.
    over: Option<Halt>,
}

/// What is committed of one run.
struct Part {
    account: u64,
    key: RunKey,
    request: RequestId,
    writes: Vec<RunWrite>,
    acknowledge: Acknowledgements,
    upto: u64,
    /// How long it waits when it fails by itself once more.
    wait: Duration,
}

/// What was taken from one run, and is still to be compressed.
struct Taken {
    account: u64,
    key: RunKey,
    request: RequestId,
    compression: Compression,
    gathered: Gathered,
    upto: u64,
    held: Option<Part>,
}

impl Writer {
    pub(crate) fn new(data: Data) -> Writer {
        Writer(Arc::new(Shared {
            data,
            state: Mutex::default(),
            wake: Notify::new(),
            room: watch::Sender::new(0),
            refused: watch::Sender::new(false),
            regroup: watch::Sender::new(0),
            closed: CancellationToken::new(),
        }))
    }

    /// Opens the account of a run.
    pub(crate) fn open(&self, key: RunKey, request: RequestId, compression: Compression) -> Account {
        let outcome = watch::Sender::new(Outcome::default());
        let seen = outcome.subscribe();
        let mut state = self.0.state();
        state.last_id += 1;
        let id = state.last_id;
        let queue = Queue {
            key,
            request,
            compression,
            gathered: Gathered::default(),
            posted: 0,
            outcome,
            is_due: false,
            orphaned: false,
            held: None,
        };
        state.accounts.insert(id, queue);
        drop(state);
        Account::new(self.0.clone(), id, seen)
    }

    /// Changes whenever logs are to be grouped.
    pub(crate) fn regroup_wanted(&self) -> watch::Receiver<u64> {
        self.0.regroup.subscribe()
    }

    /// No run hands over anything any more: the writer ends when it has written what there is, or the database refuses.
    pub(crate) fn close(&self) {
        self.0.closed.cancel();
        self.0.wake.notify_one();
    }

    /// Writes until it is closed.
    pub(crate) async fn run(&self) {
        let (packed, groups) = mpsc::channel(1);
        tokio::join!(self.gather(packed), self.commit(groups));
    }

    async fn gather(&self, packed: mpsc::Sender<Vec<Part>>) {
        while let Some(group) = self.next_group().await {
            let parts = join_all(group.into_iter().map(Taken::packed)).await;
            if packed.send(parts).await.is_err() {
                return;
            }
        }
    }

    /// Waits until there is something that should be committed; `None` when nothing comes any more.
    async fn next_group(&self) -> Option<Vec<Taken>> {
        loop {
            let woken = self.0.wake.notified();
            let next = {
                let mut state = self.0.state();
                let closed = self.0.closed.is_cancelled();
                state.wake_rested(Instant::now());
                if closed && state.due.is_empty() && state.under_way == 0 {
                    return None;
                }
                match state.ready_at(closed) {
                    Some(at) if at <= Instant::now() && !state.due.is_empty() => {
                        let group = state.take();
                        drop(state);
                        self.0.room.send_modify(|count| *count += 1);
                        return Some(group);
                    }
                    at => at,
                }
            };
            let timer = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = woken => {}
                () = timer => {}
            }
        }
    }

    async fn commit(&self, mut groups: mpsc::Receiver<Vec<Part>>) {
        while let Some(group) = groups.recv().await {
            self.write(group).await;
            self.0.state().under_way -= 1;
            self.0.wake.notify_one();
        }
    }

    /// Commits a group, however often the database has to be asked.
    async fn write(&self, group: Vec<Part>) {
        let group = self.0.without_held(group);
        let mut wait = RETRY.0;
        while !group.is_empty() {
            tokio::select! {
                biased;
                () = self.0.data.trust().held() => {}
                // What is lost now is done again by whoever goes on with the builds.
                () = self.0.closed.cancelled() => return,
            }
            let parts: Vec<RunPart<'_>> = group.iter().map(Part::as_run).collect();
            match self.0.data.commit_runs(&parts).await {
                Ok(committed) => {
                    self.0.refused.send_if_modified(|refused| std::mem::replace(refused, false));
                    if committed.regroup {
                        self.0.regroup.send_modify(|count| *count += 1);
                    }
                    let outcomes = group.into_iter().zip(committed.ours);
                    return outcomes.for_each(|(part, ours)| self.0.settle(part, ours));
                }
                Err(error) if is_of_data(&error) => return self.write_alone(group, error).await,
                // Written once more it might be there twice.
                Err(error @ Error::Unknown { .. }) => {
                    return group.iter().for_each(|part| self.0.end(part, Halt::Unsure, &error));
                }
                Err(error) => tracing::error!(%error, "can't write about builds; trying again"),
            }
            self.0.refused.send_replace(true);
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(RETRY.1),
                // What is lost now is done again by whoever goes on with the builds.
                () = self.0.closed.cancelled() => return,
            }
        }
    }

    /// Something in the group can't be stored: each run by itself, so that only the one concerned waits or ends.
    async fn write_alone(&self, group: Vec<Part>, error: Error) {
        let mut known = Some(error).filter(|_| group.len() == 1);
        for part in group {
            let outcome = match known.take() {
                Some(error) => Err(error),
                None => self.commit_part(part.as_run()).await,
            };
            match outcome {
                Ok(ours) => self.0.settle(part, ours),
                Err(error) if error.is_for_good() => self.write_in_steps(part).await,
                Err(error) => self.0.put_aside(part, &error),
            }
        }
    }

    /// Something in the part won't ever be stored: the step that it belongs to is found out, so that those before it, which
    /// ended in the same moment, are as they were.
    async fn write_in_steps(&self, mut part: Part) {
        let mut stored = 0;
        for writes in part.writes.split_inclusive(|write| matches!(write, RunWrite::StepFinished { .. })) {
            match self.commit_part(RunPart { writes, ..part.as_run() }).await {
                Ok(true) => stored += writes.len(),
                Ok(false) => return self.0.settle(part, false),
                Err(error) => {
                    part.writes.drain(..stored);
                    return self.0.put_aside(part, &error);
                }
            }
        }
        self.0.settle(part, true);
    }

    /// Whether the run was this master's.
    async fn commit_part(&self, part: RunPart<'_>) -> Result<bool, Error> {
        let committed = self.0.data.commit_runs(&[part]).await?;
        if committed.regroup {
            self.0.regroup.send_modify(|count| *count += 1);
        }
        Ok(committed.ours == [true])
    }
}

/// Whether trying again with other company may help: the server is there and has something against what was written.
fn is_of_data(error: &Error) -> bool {
    !matches!(error, Error::Lost(_) | Error::Transient(_) | Error::Unknown { .. } | Error::Untrusted)
}

impl Part {
    /// Adds what came later of the same run.
    fn append(&mut self, later: Part) {
        self.writes.extend(later.writes);
        self.acknowledge.merge(later.acknowledge);
        self.upto = later.upto;
    }

    fn as_run(&self) -> RunPart<'_> {
        RunPart { run: self.key, request: self.request, writes: &self.writes }
    }
}

impl Taken {
    async fn packed(self) -> Part {
        let Taken { account, key, request, compression, gathered, upto, held } = self;
        let (writes, acknowledge) = gathered.packed(compression).await;
        let later = Part { account, key, request, writes, acknowledge, upto, wait: RETRY.0 };
        match held {
            None => later,
            Some(mut part) => {
                part.append(later);
                part
            }
        }
    }
}

impl Queue {
    /// Nothing more is written for the run; answers how many bytes of text were dropped.
    fn end(&mut self, why: Halt) -> usize {
        self.outcome.send_modify(|outcome| outcome.over = Some(why));
        std::mem::take(&mut self.gathered).text_bytes()
    }
}

impl State {
    /// When the next group should be taken, if anything is there for one, or when that should be asked again.
    fn ready_at(&self, closed: bool) -> Option<Instant> {
        let rested = self.resting.iter().map(|(until, _)| *until).min();
        if self.due.is_empty() {
            return rested;
        }
        let now = Instant::now();
        match self.under_way {
            0 if self.urgent || closed || self.waiting >= WORTH_A_COMMIT => Some(now),
            0 => Some(self.since.map_or(now, |since| since + GATHER_TIME)),
            1 if self.waiting >= WORTH_A_COMMIT => Some(now),
            _ => None,
        }
    }

    /// Those that have rested long enough are due.
    fn wake_rested(&mut self, now: Instant) {
        let (up, resting) = self.resting.drain(..).partition(|(until, _)| *until <= now);
        self.resting = resting;
        let up: Vec<(Instant, u64)> = up;
        if !up.is_empty() {
            self.since.get_or_insert(now);
        }
        self.due.extend(up.into_iter().map(|(_, id)| id));
    }

    /// Takes what the next commit carries.
    fn take(&mut self) -> Vec<Taken> {
        let mut group: Vec<Taken> = Vec::new();
        let mut bytes = 0;
        while group.len() < MAX_RUNS && bytes < MAX_OF_GROUP {
            let Some(id) = self.due.front().copied() else { break };
            let Some(queue) = self.accounts.get_mut(&id) else {
                self.due.pop_front();
                continue;
            };
            // The same build under two epochs, or a run that fails by itself: not in one commit with others.
            let alone = queue.held.is_some() || group.iter().any(|taken| taken.key.build == queue.key.build);
            if alone && !group.is_empty() {
                break;
            }
            self.due.pop_front();
            queue.is_due = false;
            let gathered = std::mem::take(&mut queue.gathered);
            bytes += gathered.text_bytes();
            group.push(Taken {
                account: id,
                key: queue.key,
                request: queue.request,
                compression: queue.compression,
                gathered,
                upto: queue.posted,
                held: queue.held.take(),
            });
            if alone {
                break;
            }
        }
        self.waiting -= bytes;
        self.under_way += 1;
        if self.due.is_empty() {
            (self.urgent, self.since) = (false, None);
        } else {
            self.since = Some(Instant::now());
        }
        group
    }

    fn make_due(&mut self, id: u64) {
        if let Some(queue) = self.accounts.get_mut(&id)
            && !std::mem::replace(&mut queue.is_due, true)
        {
            self.due.push_back(id);
            self.since.get_or_insert_with(Instant::now);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part is committed, or was left out because its run is not ours any more.
    fn settle(&self, part: Part, ours: bool) {
        if ours {
            part.acknowledge.send();
        }
        let mut state = self.state();
        let State { accounts, waiting, .. } = &mut *state;
        let Some(queue) = accounts.get_mut(&part.account) else { return };
        if !ours {
            tracing::warn!(build = %part.key.build, "the run has another owner now; this master lets go of it");
            *waiting -= queue.end(Halt::Fenced);
        }
        queue.outcome.send_modify(|outcome| outcome.durable = part.upto);
        if queue.orphaned && queue.posted == part.upto {
            accounts.remove(&part.account);
        }
    }

    /// A part could not be stored for its own sake.
    fn put_aside(&self, part: Part, error: &Error) {
        match error {
            Error::Unknown { .. } => self.end(&part, Halt::Unsure, error),
            error if error.is_for_good() => self.end(&part, Halt::Refused(error.to_string()), error),
            error => self.hold(part, error),
        }
    }

    /// A part is dropped with all that came after it: its run goes on from what is stored. What the worker sent for it is
    /// not acknowledged.
    fn end(&self, part: &Part, why: Halt, error: &Error) {
        tracing::error!(build = %part.key.build, %error, "what a build did last is dropped; it goes on from what is stored");
        let mut state = self.state();
        let State { accounts, waiting, .. } = &mut *state;
        let Some(queue) = accounts.get_mut(&part.account) else { return };
        *waiting -= queue.end(why);
        if queue.orphaned {
            accounts.remove(&part.account);
        }
    }

    /// What was packed of a run while an earlier part of it failed goes behind that one, or where that one went.
    fn without_held(&self, group: Vec<Part>) -> Vec<Part> {
        let mut state = self.state();
        let mut rest = Vec::with_capacity(group.len());
        for part in group {
            let queue = state.accounts.get_mut(&part.account);
            let Some(queue) = queue.filter(|queue| queue.outcome.borrow().over.is_none()) else { continue };
            match queue.held.as_mut() {
                Some(held) => held.append(part),
                None => rest.push(part),
            }
        }
        rest
    }

    /// A part is tried again by itself.
    fn hold(&self, mut part: Part, error: &Error) {
        tracing::error!(build = %part.key.build, %error, "can't write about a build; trying again");
        self.refused.send_replace(true);
        if self.closed.is_cancelled() {
            return;
        }
        let mut state = self.state();
        let State { accounts, resting, .. } = &mut *state;
        let Some(queue) = accounts.get_mut(&part.account) else { return };
        queue.is_due = true;
        resting.push((Instant::now() + part.wait, part.account));
        part.wait = (part.wait * 2).min(RETRY.1);
        queue.held = Some(part);
    }
}

#[cfg(test)]
mod tests;
