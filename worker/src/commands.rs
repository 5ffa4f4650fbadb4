//! The commands that a worker holds, running or ended, until the master has stored all they had to say.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_core::CommandId;
use muster_session::command::{Argument, Command, CommandLine, Output, StartCommand, Stream, UpdateBody};
use muster_session::wire::{self, Order, Settings};
use muster_session::{BootId, WorkerLink};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::context::{Chunk, CommandIo, Stop, StopRequest, Surroundings};
use crate::execute::execute;
use crate::outbox::Outbox;
use crate::records::{RecordDir, Records};
use crate::spool::{Spool, SpoolBudget, SpoolError};

/// How long to wait before a disk that refused is tried again; the command holds back meanwhile.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// Characters of a program's name in the log and the record.
const MAX_SHOWN: usize = 200;

/// One command, as the session sees it.
#[derive(Debug)]
struct Held {
    id: CommandId,
    spool: Mutex<Spool>,
    /// Something left the spool.
    acknowledged: Notify,
    stop: watch::Sender<StopRequest>,
    chunks: mpsc::UnboundedSender<Chunk>,
    record: RecordDir,
}

impl Held {
    fn spool(&self) -> MutexGuard<'_, Spool> {
        // A spool changes only after its file was written, so a panic leaves it whole.
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a request known unless a stronger one is.
    fn request_stop(&self, request: StopRequest) {
        self.stop.send_if_modified(|current| {
            let stronger = request > *current;
            *current = request.max(*current);
            stronger
        });
    }

    fn is_abandoned(&self) -> bool {
        *self.stop.borrow() == StopRequest::Abandon
    }
}

/// All commands of a worker.
#[derive(Debug)]
pub(crate) struct Commands {
    held: Mutex<HashMap<CommandId, Arc<Held>>>,
    records: Records,
    budget: Arc<SpoolBudget>,
    around: Arc<Surroundings>,
    settings: watch::Sender<Settings>,
    boot_id: BootId,
}

impl muster_session::Spool for Commands {
    fn load(&self, command: CommandId, number: u64) -> io::Result<UpdateBody> {
        let gone = || io::Error::other(format!("update {number} of command {command} is not in the spool"));
        let held = self.find(command).ok_or_else(gone)?;
        let bytes = held.spool().read(number)?.ok_or_else(gone)?;
        wire::decode(&bytes).map_err(io::Error::other)
    }
}

impl Commands {
    pub(crate) fn new(records: Records, around: Surroundings, boot_id: BootId) -> Arc<Self> {
        Arc::new(Self {
            held: Mutex::default(),
            records,
            budget: SpoolBudget::new(around.limits.spool_total),
            around: Arc::new(around),
            settings: watch::channel(Settings::default()).0,
            boot_id,
        })
    }

    /// How output is gathered from now on.
    pub(crate) fn set(&self, settings: Settings) {
        self.settings.send_replace(settings);
    }

    /// Carries out an order; a new command runs as a task of `running`.
    pub(crate) fn order(
        &self,
        command: CommandId,
        number: u64,
        order: Order,
        link: &WorkerLink,
        running: &mut JoinSet<()>,
    ) {
        let held = self.find(command);
        match (order, held) {
            (Order::Start(start), None) => self.start(command, number, *start, link, running),
            (Order::Interrupt { why }, Some(held)) => {
                tracing::info!("command {command} is interrupted: {why}");
                held.request_stop(StopRequest::Interrupt);
                link.acknowledge(command, number);
            }
            (Order::Chunk { bytes, eof }, Some(held)) => {
                // Acknowledged when it is written; a command that has ended needs it no more.
                if held.chunks.send(Chunk { number, bytes, eof }).is_err() {
                    link.acknowledge(command, number);
                }
            }
            // Started twice, or gone: the session sorts these out, so they must not happen; doing nothing is safe.
            (order, _) => tracing::error!("order {number} of command {command} has no place: {order:?}"),
        }
    }

    /// Drops what the master has stored.
    pub(crate) fn stored(&self, command: CommandId, number: u64, over: bool) {
        let Some(held) = self.find(command) else { return };
        if let Err(error) = held.spool().acknowledge(number) {
            tracing::warn!("can't shrink the spool of command {command}: {error}");
        }
        held.acknowledged.notify_one();
        if over {
            self.remove(&held);
        }
    }

    /// Ends a command that nobody wants any more; its task cleans up behind it.
    pub(crate) fn forget(&self, command: CommandId) {
        if let Some(held) = self.lock().remove(&command) {
            tracing::info!("command {command} is not wanted any more");
            held.request_stop(StopRequest::Abandon);
            // A command that has already ended has no task that would do it.
            if held.chunks.is_closed() {
                remove_record(&held);
            }
        }
    }

    /// Ends all commands, because the worker ends.
    pub(crate) fn abandon_all(&self) {
        for (_, held) in self.lock().drain() {
            held.request_stop(StopRequest::Abandon);
            if held.chunks.is_closed() {
                remove_record(&held);
            }
        }
    }

    /// True if no command runs and everything about ended ones is stored by a master.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn start(
        &self,
        command: CommandId,
        number: u64,
        start: StartCommand,
        link: &WorkerLink,
        running: &mut JoinSet<()>,
    ) {
        let shown = shown(&start.command);
        tracing::info!("command {command}: {shown}");
        let (stop, stop_requests) = watch::channel(StopRequest::None);
        let (chunks, chunk_orders) = mpsc::unbounded_channel();
        let record = self.records.dir(command);
        let refused = self.admit(&record, command, shown, running.len());
        let spool = Spool::new(record.spool_path(), self.around.limits.spool(), self.budget.clone());
        let held = Arc::new(Held {
            id: command,
            spool: Mutex::new(spool),
            acknowledged: Notify::new(),
            stop,
            chunks,
            record: record.clone(),
        });
        self.lock().insert(command, held.clone());
        link.acknowledge(command, number);

        let acknowledging = link.clone();
        let encoding = match &start.command {
            Command::Shell(shell) => shell.encoding.clone(),
            _ => None,
        };
        let outbox = Outbox::new(self.settings.subscribe(), encoding);
        let io = CommandIo {
            outbox: outbox.clone(),
            stop: Stop(stop_requests),
            chunks: chunk_orders,
            acknowledge: Box::new(move |number| acknowledging.acknowledge(command, number)),
            record,
        };
        let (around, budget, link) = (self.around.clone(), self.budget.clone(), link.clone());
        running.spawn(async move {
            let work = async {
                match refused {
                    Some(problem) => refuse(&io.outbox, problem),
                    None => execute(start, io, &around).await,
                }
            };
            tokio::join!(work, pump(&outbox, &held, &budget, &link));
            if held.is_abandoned() {
                remove_record(&held);
            }
        });
    }

    /// Puts a new command on record. Some text: why it can't run.
    fn admit(&self, record: &RecordDir, command: CommandId, shown: String, running: usize) -> Option<String> {
        if running >= self.around.limits.commands {
            return Some(format!("this worker already runs {running} commands, which is its limit"));
        }
        record
            .create(command, &self.boot_id.0, shown)
            .err()
            .map(|error| format!("can't record the command in {}: {error}", record.path().display()))
    }

    fn find(&self, command: CommandId) -> Option<Arc<Held>> {
        self.lock().get(&command).cloned()
    }

    fn remove(&self, held: &Held) {
        self.lock().remove(&held.id);
        remove_record(held);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CommandId, Arc<Held>>> {
        // Whole at any moment: every change is one call.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove_record(held: &Held) {
    if let Err(error) = held.record.remove() {
        tracing::warn!("can't remove {}: {error}", held.record.path().display());
    }
}

fn refuse(outbox: &Outbox, problem: String) {
    tracing::error!("{problem}");
    outbox.text(Stream::Stderr, &format!("{problem}\n"));
    outbox.send(UpdateBody::Complete { error: Some(problem) });
    outbox.close();
}

/// Moves what a command says into its spool, and waits when there is no room: then the outbox fills, and the command
/// holds back. What an abandoned command says is dropped.
async fn pump(outbox: &Outbox, held: &Held, budget: &SpoolBudget, link: &WorkerLink) {
    while let Some(update) = outbox.next().await {
        let ended = matches!(update, UpdateBody::Complete { .. });
        let bytes = encode(&update);
        if let Some(number) = spool(bytes, held, budget).await {
            link.offer(held.id, number, ended);
        }
    }
}

/// The update's bytes. One that fits no frame would end every connection, so its place is taken by a word about it.
fn encode(update: &UpdateBody) -> Vec<u8> {
    wire::encode(update).unwrap_or_else(|error| {
        tracing::error!("an update can't be sent: {error}");
        let text = format!("muster: an update was left out: {error}\n");
        let instead = UpdateBody::Output(vec![Output { stream: Stream::Header, text }]);
        wire::encode(&instead).expect("a short text fits a frame")
    })
}

/// The update's number once it is in the spool; `None` if the command was abandoned.
async fn spool(bytes: Vec<u8>, held: &Held, budget: &SpoolBudget) -> Option<u64> {
    let mut stop = held.stop.subscribe();
    let mut told = false;
    loop {
        if held.is_abandoned() {
            return None;
        }
        let freed = budget.freed();
        let appended = held.spool().append(&bytes);
        let retry = match appended {
            Ok(number) => return Some(number),
            Err(SpoolError::Full) => None,
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::error!("command {} waits, because its output can't be kept: {error}", held.id);
                }
                Some(DISK_RETRY)
            }
        };
        tokio::select! {
            () = freed => {}
            () = held.acknowledged.notified() => {}
            () = tokio::time::sleep(retry.unwrap_or_default()), if retry.is_some() => {}
            // The command is abandoned or gone; the loop looks which.
            _ = stop.wait_for(|request| *request == StopRequest::Abandon) => {}
        }
    }
}

/// What a command is, in one short line for the log and for files of this worker. Nothing of its arguments is in it: only the
/// master knows which of them are secret, and its log of the step has them all.
fn shown(command: &Command) -> String {
    let Command::Shell(shell) = command else { return command.name().to_owned() };
    let words = match &shell.command {
        CommandLine::Script(script) => return format!("a shell script of {} bytes", script.real().len()),
        CommandLine::Argv(words) => words,
    };
    let program = words.first().map(Argument::shown).unwrap_or_default();
    let name: String = program.rsplit('/').next().unwrap_or_default().chars().take(MAX_SHOWN).collect();
    match words.len() {
        0 | 1 => name,
        2 => format!("{name} with 1 argument"),
        more => format!("{name} with {} arguments", more - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_session::command::Shell;

    #[test]
    fn nothing_of_a_commands_arguments_is_shown() {
        let shell = |command| shown(&Command::Shell(Shell { command, ..Shell::default() }));
        let argv = |words: &[&str]| CommandLine::Argv(words.iter().map(|word| (*word).into()).collect());
        assert_eq!(shell(argv(&["/usr/bin/curl", "-H", "Token: s3cret"])), "curl with 2 arguments");
        assert_eq!(shell(argv(&["make", "s3cret"])), "make with 1 argument");
        assert_eq!(shell(argv(&["true"])), "true");
        assert_eq!(shell(argv(&[])), "");
        assert_eq!(shell(CommandLine::Script("echo s3cret".into())), "a shell script of 11 bytes");
    }
}
