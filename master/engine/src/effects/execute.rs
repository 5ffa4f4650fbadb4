//! Running a command on the worker as one effect: ordered once, followed to its end, gone on with after an adoption.

use muster_core::{BuildId, CommandId, Epoch, LogKind};
use muster_data::RunWrite;
use muster_session::{
    BootId, Command, OrderError, StartCommand, UpdateBody,
    command::{Output, Stream},
};
use muster_store::runs::{FIRST_PART, JournalRow};
use tokio::sync::mpsc;

use super::{
    command::{CommandRequest, CommandResult, CommandState},
    command_rows::{self, CommandRows, Restored},
    context::StepContext,
    core::Interrupts,
    effect::{COMMAND, Effect},
    end::{StepEnd, leaving},
    journal::{self, Entry},
    logs::{LogRef, marker},
    observer::LineObserver,
    perform::{PerformOptions, SharedContext},
    transfer::{Sink, Source, feed, open},
};
use crate::{
    session_news::{CommandNews, Gone, StartError},
    sessions::Slot,
};

/// Room for the number of attempts in a command's ordinal.
const ATTEMPT_SHIFT: u32 = 24;

impl StepContext<'_> {
    /// What an ended command means to its step, whether it has ended just now or before a replay.
    fn concluded(&mut self, result: CommandResult) -> Result<CommandResult, StepEnd> {
        if result.timed_out() {
            self.note = Some("timed out");
        } else if result.exceeded_lines() {
            self.note = Some("max lines");
        }
        match &result.error {
            Some(error) => Err(StepEnd::Exception(format!("the worker could not run the command: {error}"))),
            None => Ok(result),
        }
    }

    /// Folds one update into the state, its text into logs, and has it acknowledged with the next commit. Answers the lines.
    fn take_update(
        &mut self,
        running: &mut Running,
        number: u64,
        body: &UpdateBody,
        request: &CommandRequest,
        observer: &mut Option<&mut dyn LineObserver>,
    ) -> Result<Vec<Output>, StepEnd> {
        let outputs = running.state.fold(number, body, request, self.core.recorder.secrets());
        for Output { stream, text } in &outputs {
            if let Some(observer) = observer {
                text.split_terminator('\n').for_each(|line| observer.line(stream, line));
            }
            if let Some(log) = self.log_of(request, running, stream) {
                self.core.recorder.append(self.number, &log, marker(stream), text);
            }
        }
        let observer = observer.as_mut().map(|observer| &mut **observer as &mut dyn LineObserver);
        self.record_command(&mut running.rows, &running.state, observer)?;
        self.core.recorder.acknowledge(&running.worker.slot, running.id, number);
        self.core.recorder.post();
        Ok(outputs)
    }

    fn record_command(
        &mut self,
        rows: &mut CommandRows,
        state: &CommandState,
        observer: Option<&mut dyn LineObserver>,
    ) -> Result<(), StepEnd> {
        for row in rows.changed(state, observer)? {
            self.core.recorder.write(RunWrite::Journal(row));
        }
        Ok(())
    }

    /// The log that a stream goes to. A followed file gets its log with its first line.
    fn log_of(&mut self, request: &CommandRequest, running: &mut Running, stream: &Stream) -> Option<LogRef> {
        let Stream::Log(name) = stream else { return request.stdio.clone() };
        if let Some((_, log)) = request.logfiles.iter().find(|(known, _)| known == name) {
            return Some(log.clone());
        }
        if let Some(slug) = running.state.lazy_logs.get(name) {
            return Some(LogRef { slug: slug.clone(), kind: LogKind::Stdio });
        }
        let shown = self.core.recorder.concealed(name).into_owned();
        let slug = self.free_slug(&shown);
        self.core.recorder.write(RunWrite::LogAdded {
            step: self.number,
            slug: slug.clone(),
            name: shown,
            kind: LogKind::Stdio,
        });
        running.state.lazy_logs.insert(name.clone(), slug.clone());
        Some(LogRef { slug, kind: LogKind::Stdio })
    }
}

impl SharedContext<'_, '_> {
    /// Runs a command to its end, or goes on with one that an earlier execution has begun.
    pub(super) async fn command(
        &self,
        mut request: CommandRequest,
        options: PerformOptions<'_>,
        mut interrupts: Interrupts,
    ) -> Result<CommandResult, StepEnd> {
        let PerformOptions { matching, mut observer, output, cancel: _ } = options;
        if let Command::Shell(shell) = &mut request.command {
            shell.encoding = self.with(|context| context.log_encoding());
        }
        let effect = Effect::Command(Box::new(request.clone()));
        let begun = match self.entry(&effect, matching)? {
            Entry::Recorded(recorded) => {
                let mut restored = Restored::read(recorded)?;
                if let Some(observer) = &mut observer {
                    restored.inform(*observer);
                }
                let slugs = restored.state.lazy_logs.values().cloned();
                self.with(|context| context.slugs.extend(slugs));
                if restored.state.ended {
                    return self.with(|context| context.concluded(restored.state.result));
                }
                Begun::Before(Box::new(restored))
            }
            Entry::Live(row) => Begun::Now(row),
        };
        if let (Begun::Now(_), Some(order)) = (&begun, self.with(|context| context.stopped())) {
            let build = self.with(|context| context.core.key.build);
            tracing::debug!(%build, reason = order.reason, "no command after a stop");
            return Err(StepEnd::Cancelled);
        }
        let transfers = request.transfer.moves();
        let ends = open(request.transfer.clone()).await.map_err(StepEnd::Exception)?;
        let mut running = self.begin(begun, &request, transfers, &mut interrupts).await?;
        let lines = Lines { observer, output };
        let end = self.until_end(&mut running, &request, ends, lines, &mut interrupts).await;
        // The worker is made to forget one that was given up when the end of the build is committed, not earlier: this
        // master may be fenced, and whoever goes on would take the command for one that was never sent.
        running.worker.slot.done(running.id, running.worker.epoch);
        end?;
        self.with(|context| context.concluded(running.state.result))
    }

    async fn begin(
        &self,
        begun: Begun,
        request: &CommandRequest,
        transfers: bool,
        interrupts: &mut Interrupts,
    ) -> Result<Running, StepEnd> {
        let (worker, builddir) = self.with(|context| {
            let core = &*context.core;
            let worker = Worker { slot: core.slot.clone(), build: core.key.build, epoch: core.key.epoch };
            (worker, core.facts.plan.builddir.clone())
        });
        let order = StartCommand { builddir, command: request.command.clone() };
        let (mut rows, mut state, resumed) = match begun {
            Begun::Now(row) => {
                let boot = worker.connected(interrupts).await?;
                (CommandRows::new(row), CommandState::new(boot), false)
            }
            Begun::Before(restored) => (restored.rows, restored.state, true),
        };
        let mut id = worker.command_id(&rows, &state);
        let started = if resumed && !transfers {
            self.resume(&worker, &mut rows, &state, id, order, interrupts).await?
        } else {
            let former = resumed.then_some(id);
            if resumed {
                // A transfer can't go on in the middle: its first part is on the master that is gone.
                worker.back(&state.boot, interrupts).await?;
                state = CommandState { attempt: state.attempt + 1, ..CommandState::new(state.boot) };
                rows.begin_anew();
                id = worker.command_id(&rows, &state);
            }
            self.intend(&mut rows, &state).await?;
            if let Some(former) = former {
                worker.slot.forget(former, worker.epoch);
            }
            worker.slot.start(&state.boot, id, worker.epoch, order)
        };
        match started {
            Ok(news) => Ok(Running { worker, id, rows, state, news }),
            Err(StartError::Gone(gone)) => Err(lost(gone)),
            Err(StartError::Order(error)) => Err(refused(&error)),
        }
    }

    /// Commits that a command is about to be sent: whoever owns the run after that asks the worker whether it was, and a
    /// master that finds no such row has sent nothing. The commit is the fence, too: after it only this master has sent it.
    async fn intend(&self, rows: &mut CommandRows, state: &CommandState) -> Result<(), StepEnd> {
        self.with(|context| context.record_command(rows, state, None))?;
        self.flush().await
    }

    /// Goes on with a command that was intended before: the worker says whether it has it.
    async fn resume(
        &self,
        worker: &Worker,
        rows: &mut CommandRows,
        state: &CommandState,
        id: CommandId,
        order: StartCommand,
        interrupts: &Interrupts,
    ) -> Result<Result<mpsc::Receiver<CommandNews>, StartError>, StepEnd> {
        let resumed = tokio::select! {
            resumed = worker.slot.resume(&state.boot, id, worker.epoch, state.seen) => resumed,
            () = interrupts.left() => return Err(leaving()),
        };
        match resumed {
            Ok(Some(news)) => Ok(Ok(news)),
            Ok(None) => {
                self.intend(rows, state).await?;
                Ok(worker.slot.start(&state.boot, id, worker.epoch, order))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Follows a command until its end is folded into the state; what comes on the way is handed over with each update.
    async fn until_end(
        &self,
        running: &mut Running,
        request: &CommandRequest,
        (mut sink, source): (Sink, Source),
        mut lines: Lines<'_>,
        interrupts: &mut Interrupts,
    ) -> Result<(), StepEnd> {
        let slot = running.worker.slot.clone();
        let mut waiter = self.with(|context| context.core.recorder.waiter());
        let mut feeding = std::pin::pin!(feed(slot.clone(), running.id, source));
        let mut fed = false;
        let mut gone = std::pin::pin!({
            let (slot, boot) = (slot.clone(), running.state.boot.clone());
            async move { slot.wait_gone(&boot).await }
        });
        let left = interrupts.clone();
        loop {
            let full = !waiter.has_room();
            tokio::select! {
                biased;
                // When the database is slower than the worker, the worker waits.
                news = running.news.recv(), if !full => {
                    let Some(CommandNews::Update(number, body)) = news else {
                        return Err(running.lost(interrupts).await);
                    };
                    self.take(running, number, body, request, &mut sink, &mut lines, interrupts).await?;
                    if running.state.ended {
                        return Ok(());
                    }
                }
                attended = waiter.attend(full) => attended?,
                ended = &mut feeding, if !fed => {
                    fed = true;
                    if let Err(reason) = ended {
                        slot.interrupt(running.id, &reason);
                        running.state.result.error.get_or_insert(reason);
                    }
                }
                reason = interrupts.stopped(), if !running.state.result.interrupted => {
                    slot.interrupt(running.id, &reason);
                    running.state.result.interrupted = true;
                }
                gone = &mut gone => return Err(lost(gone)),
                () = left.left() => {
                    self.flush().await?;
                    return Err(leaving());
                }
            }
        }
    }

    /// Takes one update of a command.
    #[allow(clippy::too_many_arguments)]
    async fn take(
        &self,
        running: &mut Running,
        number: u64,
        body: UpdateBody,
        request: &CommandRequest,
        sink: &mut Sink,
        lines: &mut Lines<'_>,
        interrupts: &Interrupts,
    ) -> Result<(), StepEnd> {
        if let UpdateBody::Chunk(bytes) = &body {
            return self.take_chunk(running, number, bytes, sink).await;
        }
        if let UpdateBody::Complete { .. } = &body {
            sink.finish(&mut running.state.result).await.map_err(StepEnd::Exception)?;
        }
        let observer = &mut lines.observer;
        let outputs = self.with(|context| context.take_update(running, number, &body, request, observer))?;
        let Some(output) = &lines.output else { return Ok(()) };
        for lines in outputs {
            tokio::select! {
                // Who doesn't listen any more misses nothing.
                _ = output.send(lines) => {}
                () = interrupts.left() => return Err(leaving()),
            }
        }
        Ok(())
    }

    /// Writes uploaded bytes, and acknowledges them: what came before is committed first.
    async fn take_chunk(
        &self,
        running: &mut Running,
        number: u64,
        bytes: &[u8],
        sink: &mut Sink,
    ) -> Result<(), StepEnd> {
        let Running { worker, id, state, .. } = running;
        state.see(number);
        if state.result.error.is_none()
            && let Err(reason) = sink.write(bytes).await
        {
            // The worker is told to stop; its end still comes.
            worker.slot.interrupt(*id, &reason);
            state.result.error = Some(reason);
        }
        self.flush().await?;
        worker.slot.acknowledge(*id, number);
        Ok(())
    }
}

/// Where a command runs.
struct Worker {
    slot: Slot,
    build: BuildId,
    epoch: Epoch,
}

impl Worker {
    /// Waits for the worker, as long as it may be away. Nobody waits for a build that is stopped.
    async fn connected(&self, interrupts: &mut Interrupts) -> Result<BootId, StepEnd> {
        tokio::select! {
            boot = self.slot.wait_connected() => boot.map_err(lost),
            end = interrupts.any() => Err(end),
        }
    }

    /// The same for one of its lives, to go on with what it did there.
    async fn back(&self, boot: &BootId, interrupts: &mut Interrupts) -> Result<(), StepEnd> {
        tokio::select! {
            back = self.slot.wait_back(boot) => back.map_err(lost),
            end = interrupts.any() => Err(end),
        }
    }

    fn command_id(&self, rows: &CommandRows, state: &CommandState) -> CommandId {
        command_id(self.build, rows.row(), state.attempt)
    }
}

fn command_id(build: BuildId, row: &JournalRow, attempt: u32) -> CommandId {
    CommandId { build, step: row.step, ordinal: row.ordinal | attempt << ATTEMPT_SHIFT }
}

/// The commands that a step may still have on its worker, by its journal.
pub(crate) fn unfinished_commands(build: BuildId, journal: &[JournalRow]) -> Vec<CommandId> {
    let commands = journal.iter().filter(|row| row.part == FIRST_PART && journal::is_of(row, COMMAND));
    let unfinished = commands.filter_map(|row| Some((row, command_rows::unfinished(row)?)));
    unfinished.map(|(row, attempt)| command_id(build, row, attempt)).collect()
}

/// A command that is asked for.
enum Begun {
    Now(JournalRow),
    Before(Box<Restored>),
}

/// Who gets the lines of a command.
struct Lines<'l> {
    observer: Option<&'l mut dyn LineObserver>,
    output: Option<mpsc::Sender<Output>>,
}

/// A command under way.
struct Running {
    worker: Worker,
    id: CommandId,
    rows: CommandRows,
    state: CommandState,
    news: mpsc::Receiver<CommandNews>,
}

impl Running {
    /// Why the news of a command ended too early.
    async fn lost(&self, interrupts: &Interrupts) -> StepEnd {
        if interrupts.is_leaving() {
            return leaving();
        }
        lost(match self.worker.slot.wait_back(&self.state.boot).await {
            Ok(()) => Gone::Forgotten,
            Err(gone) => gone,
        })
    }
}

fn lost(gone: Gone) -> StepEnd {
    StepEnd::Lost(gone.to_string())
}

fn refused(error: &OrderError) -> StepEnd {
    StepEnd::Exception(format!("the command can't be sent to the worker: {error}"))
}
