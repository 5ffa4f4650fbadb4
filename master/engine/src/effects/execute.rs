//! Running a command on the worker as one effect: ordered once, followed to its end, gone on with after an adoption.

use muster_core::{BuildId, CommandId, LogKind};
use muster_data::RunWrite;
use muster_session::{
    BootId, Command, OrderError, StartCommand, UpdateBody,
    command::{Output, Stream},
};
use muster_store::runs::JournalRow;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    command::{CommandRequest, CommandResult, CommandState},
    context::{StepContext, StepEnd, outcome},
    core::ordered,
    halt::Halt,
    journal::{self, Effect},
    logs::{LogRef, marker},
    transfer::{Sink, Source, Transfer, feed},
};
use crate::session_news::{CommandNews, Gone, StartError};

/// Looks at a command's lines while it runs. Its state is a fold over them: small, and stored with the command, so that
/// another master goes on with it.
pub trait LineObserver: Send {
    /// A whole line, without its newline.
    fn line(&mut self, stream: &Stream, line: &str);
    /// What it knows.
    fn state(&self) -> Value;
    /// Goes on from such a state.
    fn restore(&mut self, state: Value);
}

/// The kind of the effect.
const COMMAND: &str = "command";

/// Room for the number of attempts in a command's ordinal.
const ATTEMPT_SHIFT: u32 = 24;

impl StepContext<'_> {
    /// Runs a command to its end.
    ///
    /// # Errors
    /// When the worker is gone for good (`Lost`), or the run is over here.
    pub async fn command(&mut self, request: CommandRequest) -> Result<CommandResult, StepEnd> {
        self.follow(request, Transfer::None, None).await
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
        self.follow(request, Transfer::None, Some(observer)).await
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
        self.follow(request, transfer, None).await
    }

    async fn follow(
        &mut self,
        mut request: CommandRequest,
        transfer: Transfer,
        mut observer: Option<&mut dyn LineObserver>,
    ) -> Result<CommandResult, StepEnd> {
        if let Command::Shell(shell) = &mut request.command {
            shell.encoding = self.log_encoding();
        }
        let effect = self.journal.effect(COMMAND, &request.command)?;
        if let Effect::Recorded(row) = &effect {
            let state: CommandState = outcome(row)?;
            restore(&mut observer, &state);
            self.slugs.extend(state.lazy_logs.values().cloned());
            if state.ended {
                return self.concluded(state.result);
            }
        }
        if let (Effect::Live(_), Some(order)) = (&effect, self.stopped()) {
            tracing::debug!(build = %self.core.key.build, reason = order.reason, "no command after a stop");
            return Err(StepEnd::Cancelled);
        }
        let transfers = transfer.moves();
        let ends = transfer.open().await.map_err(StepEnd::Exception)?;
        let mut running = self.begin(effect, &request, transfers).await?;
        let end = self.until_end(&mut running, &request, ends, &mut observer).await;
        // The worker is made to forget one that was given up when the end of the build is committed, not earlier: this
        // master may be fenced, and whoever goes on would take the command for one that was never sent.
        self.core.slot.done(running.id, self.core.key.epoch);
        end?;
        self.concluded(running.state.result)
    }

    /// What an ended command means to its step, whether it has ended just now or before a replay.
    fn concluded(&mut self, result: CommandResult) -> Result<CommandResult, StepEnd> {
        self.note_end(&result);
        match &result.error {
            Some(error) => Err(StepEnd::Exception(format!("the worker could not run the command: {error}"))),
            None => Ok(result),
        }
    }

    async fn begin(
        &mut self,
        effect: Effect,
        request: &CommandRequest,
        transfers: bool,
    ) -> Result<Running, StepEnd> {
        let order = StartCommand {
            builddir: self.core.facts.plan.builddir.clone(),
            command: request.command.clone(),
        };
        let (row, mut state, resumed) = match effect {
            Effect::Live(row) => {
                let boot = self.connected().await?;
                (row, CommandState::new(boot), false)
            }
            Effect::Recorded(row) => {
                let state: CommandState = outcome(&row)?;
                (row, state, true)
            }
        };
        let mut id = self.command_id(&row, &state);
        let started = if resumed && !transfers {
            self.resume(&row, &state, id, order).await?
        } else {
            let former = resumed.then_some(id);
            if resumed {
                // A transfer can't go on in the middle: its first part is on the master that is gone.
                self.back(&state.boot).await?;
                state = CommandState { attempt: state.attempt + 1, ..CommandState::new(state.boot) };
                id = self.command_id(&row, &state);
            }
            self.intend(&row, &state).await?;
            let (slot, epoch) = (&self.core.slot, self.core.key.epoch);
            if let Some(former) = former {
                slot.forget(former, epoch);
            }
            slot.start(&state.boot, id, epoch, order)
        };
        match started {
            Ok(news) => Ok(Running { id, row, state, news }),
            Err(StartError::Gone(gone)) => Err(lost(gone)),
            Err(StartError::Order(error)) => Err(refused(&error)),
        }
    }

    /// Commits that a command is about to be sent: whoever owns the run after that asks the worker whether it was, and a
    /// master that finds no such row has sent nothing. The commit is the fence, too: after it only this master has sent it.
    async fn intend(&mut self, row: &JournalRow, state: &CommandState) -> Result<(), StepEnd> {
        self.record(row.clone(), state)?;
        Ok(self.core.recorder.flush().await?)
    }

    /// Goes on with a command that was intended before: the worker says whether it has it.
    async fn resume(
        &mut self,
        row: &JournalRow,
        state: &CommandState,
        id: CommandId,
        order: StartCommand,
    ) -> Result<Result<mpsc::Receiver<CommandNews>, StartError>, StepEnd> {
        let (slot, epoch) = (self.core.slot.clone(), self.core.key.epoch);
        let resumed = tokio::select! {
            resumed = slot.resume(&state.boot, id, epoch, state.seen) => resumed,
            () = self.core.leaving.cancelled() => return Err(self.leave()),
        };
        match resumed {
            Ok(Some(news)) => Ok(Ok(news)),
            Ok(None) => {
                self.intend(row, state).await?;
                Ok(slot.start(&state.boot, id, epoch, order))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Waits for the worker, as long as it may be away. Nobody waits for a build that is stopped.
    async fn connected(&self) -> Result<BootId, StepEnd> {
        let mut stop = self.core.stop.clone();
        tokio::select! {
            boot = self.core.slot.wait_connected() => boot.map_err(lost),
            () = ordered(&mut stop) => Err(StepEnd::Cancelled),
            () = self.core.leaving.cancelled() => Err(self.leave()),
        }
    }

    /// The same for one of its lives, to go on with what it did there.
    async fn back(&self, boot: &BootId) -> Result<(), StepEnd> {
        let mut stop = self.core.stop.clone();
        tokio::select! {
            back = self.core.slot.wait_back(boot) => back.map_err(lost),
            () = ordered(&mut stop) => Err(StepEnd::Cancelled),
            () = self.core.leaving.cancelled() => Err(self.leave()),
        }
    }

    fn command_id(&self, row: &JournalRow, state: &CommandState) -> CommandId {
        command_id(self.core.key.build, row, state)
    }

    /// Follows a command until its end is folded into the state; what comes on the way is handed over with each update.
    async fn until_end(
        &mut self,
        running: &mut Running,
        request: &CommandRequest,
        (mut sink, source): (Sink, Source),
        observer: &mut Option<&mut dyn LineObserver>,
    ) -> Result<(), StepEnd> {
        let slot = self.core.slot.clone();
        let mut feeding = std::pin::pin!(feed(slot.clone(), running.id, source));
        let mut fed = false;
        let mut gone = std::pin::pin!({
            let (slot, boot) = (slot.clone(), running.state.boot.clone());
            async move { slot.wait_gone(&boot).await }
        });
        let mut stop = self.core.stop.clone();
        let leaving = self.core.leaving.clone();
        loop {
            let full = self.core.recorder.is_full();
            tokio::select! {
                biased;
                // When the database is slower than the worker, the worker waits.
                news = running.news.recv(), if !full => {
                    let Some(CommandNews::Update(number, body)) = news else {
                        return Err(self.lost(running).await);
                    };
                    if let UpdateBody::Chunk(bytes) = &body {
                        self.take_chunk(running, number, bytes, &mut sink).await?;
                        continue;
                    }
                    if let UpdateBody::Complete { .. } = &body {
                        sink.finish(&mut running.state.result).await.map_err(StepEnd::Exception)?;
                    }
                    self.take(running, number, &body, request, observer)?;
                    if running.state.ended {
                        return Ok(());
                    }
                }
                attended = self.core.recorder.attend(full) => attended?,
                ended = &mut feeding, if !fed => {
                    fed = true;
                    if let Err(reason) = ended {
                        slot.interrupt(running.id, &reason);
                        running.state.result.error.get_or_insert(reason);
                    }
                }
                () = ordered(&mut stop), if !running.state.result.interrupted => {
                    let reason = self.stopped().map_or_else(String::new, |order| order.reason.clone());
                    slot.interrupt(running.id, &reason);
                    running.state.result.interrupted = true;
                }
                gone = &mut gone => return Err(lost(gone)),
                () = leaving.cancelled() => {
                    self.core.recorder.flush().await?;
                    return Err(Halt::Leaving.into());
                }
            }
        }
    }

    /// Why the news of a command ended too early.
    async fn lost(&mut self, running: &Running) -> StepEnd {
        if self.core.leaving.is_cancelled() {
            return Halt::Leaving.into();
        }
        lost(match self.core.slot.wait_back(&running.state.boot).await {
            Ok(()) => Gone::Forgotten,
            Err(gone) => gone,
        })
    }

    /// Folds one update into the state, its text into logs, and has it acknowledged with the next commit.
    fn take(
        &mut self,
        running: &mut Running,
        number: u64,
        body: &UpdateBody,
        request: &CommandRequest,
        observer: &mut Option<&mut dyn LineObserver>,
    ) -> Result<(), StepEnd> {
        for Output { stream, text } in running.state.fold(number, body, request, self.core.recorder.secrets())
        {
            if let Some(observer) = observer {
                text.split_terminator('\n').for_each(|line| observer.line(&stream, line));
            }
            if let Some(log) = self.log_of(request, running, &stream) {
                self.core.recorder.append(self.number, &log, marker(&stream), &text);
            }
        }
        if let Some(observer) = observer {
            running.state.observer = observer.state();
        }
        self.record(running.row.clone(), &running.state)?;
        let slot = self.core.slot.clone();
        self.core.recorder.acknowledge(&slot, running.id, number);
        self.core.recorder.post();
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

    /// Writes uploaded bytes, and acknowledges them: what came before is committed first.
    async fn take_chunk(
        &mut self,
        running: &mut Running,
        number: u64,
        bytes: &[u8],
        sink: &mut Sink,
    ) -> Result<(), StepEnd> {
        running.state.see(number);
        if running.state.result.error.is_none()
            && let Err(reason) = sink.write(bytes).await
        {
            // The worker is told to stop; its end still comes.
            self.core.slot.interrupt(running.id, &reason);
            running.state.result.error = Some(reason);
        }
        self.core.recorder.flush().await?;
        self.core.slot.acknowledge(running.id, number);
        Ok(())
    }

    fn note_end(&mut self, result: &CommandResult) {
        if result.timed_out() {
            self.note = Some("timed out");
        } else if result.exceeded_lines() {
            self.note = Some("max lines");
        }
    }
}

fn command_id(build: BuildId, row: &JournalRow, state: &CommandState) -> CommandId {
    CommandId { build, step: row.step, ordinal: row.ordinal | state.attempt << ATTEMPT_SHIFT }
}

/// The commands that a step may still have on its worker, by its journal.
pub(crate) fn unfinished_commands(build: BuildId, journal: &[JournalRow]) -> Vec<CommandId> {
    let commands = journal.iter().filter(|row| journal::is_of(row, COMMAND));
    let states = commands.filter_map(|row| Some((row, outcome::<CommandState>(row).ok()?)));
    states.filter(|(_, state)| !state.ended).map(|(row, state)| command_id(build, row, &state)).collect()
}

/// A command under way.
struct Running {
    id: CommandId,
    row: JournalRow,
    state: CommandState,
    news: mpsc::Receiver<CommandNews>,
}

fn restore(observer: &mut Option<&mut dyn LineObserver>, state: &CommandState) {
    if let Some(observer) = observer
        && !state.observer.is_null()
    {
        observer.restore(state.observer.clone());
    }
}

fn lost(gone: Gone) -> StepEnd {
    StepEnd::Lost(gone.to_string())
}

fn refused(error: &OrderError) -> StepEnd {
    StepEnd::Exception(format!("the command can't be sent to the worker: {error}"))
}
