//! One command from its start to its last update, whatever its kind.

use std::time::Instant;

use muster_session::command::{Command, StartCommand, UpdateBody};

use crate::context::{CommandIo, Outcome, StopRequest, Surroundings};
use crate::files::{self, FileError};
use crate::{dirs, shell, transfer};

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
