//! One command from its start to its last update, whatever its kind.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use muster_session::command::{Command, StartCommand, UpdateBody};
use tokio::sync::{mpsc, watch};

use crate::files::{self, FileError};
use crate::launch::Launcher;
use crate::options::Limits;
use crate::outbox::Outbox;
use crate::records::RecordDir;
use crate::{dirs, shell, transfer};

/// What commands share: the worker's side of the world.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// The worker's directory; builders' directories lie in it.
    pub base: PathBuf,
    /// The worker's own environment.
    pub environment: BTreeMap<OsString, OsString>,
    /// Starts programs.
    pub launcher: Launcher,
    /// The worker's bounds.
    pub limits: Limits,
}

/// How a command is asked to end early; each is stronger than the ones before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StopRequest {
    /// Not at all.
    #[default]
    None,
    /// Its updates and its end are still wanted.
    Interrupt,
    /// Nobody listens any more: kill it at once.
    Abandon,
}

/// The command's view of [`StopRequest`].
#[derive(Clone, Debug)]
pub(crate) struct Stop(pub watch::Receiver<StopRequest>);

impl Stop {
    /// What was asked for so far.
    pub(crate) fn current(&self) -> StopRequest {
        *self.0.borrow()
    }

    /// Waits until anything stronger than `known` is asked for.
    pub(crate) async fn beyond(&self, known: StopRequest) -> StopRequest {
        let mut requests = self.0.clone();
        let asked = requests.wait_for(|request| *request > known).await.map(|request| *request);
        match asked {
            Ok(request) => request,
            // Nobody is left who could ask.
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until the command shall end.
    pub(crate) async fn requested(&self) -> StopRequest {
        self.beyond(StopRequest::None).await
    }
}

/// The next bytes of a download.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The order's number.
    pub number: u64,
    /// What to write.
    pub bytes: Vec<u8>,
    /// Nothing follows.
    pub eof: bool,
}

/// The ends of a command that its master sees.
pub(crate) struct CommandIo {
    /// Where its updates go.
    pub outbox: Arc<Outbox>,
    /// Whether it shall end.
    pub stop: Stop,
    /// Chunks of a download; the session's window bounds them.
    pub chunks: mpsc::UnboundedReceiver<Chunk>,
    /// Tells the master that it may send more chunks.
    pub acknowledge: Box<dyn Fn(u64) + Send + Sync>,
    /// Where its process is put on record.
    pub record: RecordDir,
}

impl CommandIo {
    /// All orders up to `number` are done.
    pub(crate) fn acknowledge(&self, number: u64) {
        (self.acknowledge)(number);
    }
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Its exit code, unless it was sent already or there is none.
    pub rc: Option<i64>,
    /// Why it broke, if it did.
    pub error: Option<String>,
}

impl Outcome {
    pub(crate) fn rc(rc: i64) -> Self {
        Self { rc: Some(rc), error: None }
    }

    pub(crate) fn broken(error: String) -> Self {
        Self { rc: None, error: Some(error) }
    }
}

/// Runs a command and fills its outbox up to [`UpdateBody::Complete`].
pub(crate) async fn execute(start: StartCommand, mut io: CommandIo, around: &Surroundings) {
    let began = Instant::now();
    let outcome = perform(start, &mut io, around).await;
    if let Some(rc) = outcome.rc {
        io.outbox.send(UpdateBody::Rc(rc));
    }
    io.outbox.finish_streams();
    // An interrupted command's own account of itself ends with the interrupt.
    if io.stop.current() == StopRequest::None {
        io.outbox.send(UpdateBody::Elapsed(began.elapsed().as_secs_f64()));
    }
    io.outbox.send(UpdateBody::Complete { error: outcome.error });
    io.outbox.close();
}

async fn perform(start: StartCommand, io: &mut CommandIo, around: &Surroundings) -> Outcome {
    let builder = around.base.join(&start.builddir);
    if let Err(error) = std::fs::create_dir_all(&builder) {
        let problem = files::describe(&error);
        return Outcome::broken(format!(
            "can't make the builder's directory {}: {problem}",
            builder.display()
        ));
    }
    match start.command {
        Command::Shell(shell) => shell::run(&builder, shell, io, around).await,
        Command::UploadFile(args) => transfer::upload_file(&builder, args, io).await,
        Command::UploadDirectory(args) => transfer::upload_directory(&builder, args, io).await,
        Command::DownloadFile(args) => transfer::download_file(&builder, args, io).await,
        Command::Rmdir { dirs, timeout, max_time } => {
            dirs::rmdir(&builder, &dirs, dirs::Times { timeout, max_time }, io, around).await
        }
        Command::Cpdir { from, to, timeout, max_time } => {
            dirs::cpdir(&builder, &from, &to, dirs::Times { timeout, max_time }, io, around).await
        }
        Command::Mkdir { dirs } => {
            on_files(io, move || files::mkdir(&builder, &dirs).map(|()| Vec::new())).await
        }
        Command::Stat { file, workdir } => {
            let path = builder.join(workdir.unwrap_or_default()).join(file);
            on_files(io, move || files::stat(&path).map(|found| vec![found])).await
        }
        Command::Glob { pattern } => {
            on_files(io, move || files::glob(&builder, &pattern).map(files::file_updates)).await
        }
        Command::Listdir { dir } => {
            on_files(io, move || files::listdir(&builder.join(dir)).map(files::file_updates)).await
        }
        Command::Rmfile { path } => {
            let path = builder.join(files::expand_home(&path));
            on_files(io, move || files::rmfile(&path).map(|()| Vec::new())).await
        }
    }
}

/// Runs a quick command on a thread that may block, and tells its result.
async fn on_files(
    io: &CommandIo,
    command: impl FnOnce() -> Result<Vec<UpdateBody>, FileError> + Send + 'static,
) -> Outcome {
    match tokio::task::spawn_blocking(command).await {
        Ok(Ok(updates)) => {
            for update in updates {
                io.outbox.room().await;
                io.outbox.send(update);
            }
            Outcome::rc(0)
        }
        Ok(Err(error)) => {
            io.outbox.header(&error.header);
            Outcome::rc(error.rc)
        }
        Err(error) => Outcome::broken(format!("the command broke: {error}")),
    }
}
