//! `muster worker`: the worker in this process.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use muster_session::{MasterUrl, Password};
use muster_worker::{PASSWORD_VARIABLE, Stops, WorkerOptions};
use tokio::signal::unix::{SignalKind, signal};

use super::worker_file::{self, WorkerFile};
use crate::cli::Worker;
use crate::{commands, logging};

/// Longest password that is read from a file.
const MAX_PASSWORD_BYTES: u64 = 4096;

/// Runs until the worker is told to stop.
pub fn run(options: Worker) -> Result<ExitCode> {
    logging::to_terminal();
    let stop_at_eof = options.stop_at_eof;
    let options = worker_options(options, std::env::var(PASSWORD_VARIABLE).ok())?;
    commands::block_on(async move {
        let exit = if stop_at_eof {
            run_until_eof(options).await?
        } else {
            muster_worker::run_until_signal(options).await?
        };
        tracing::info!("the worker has stopped ({exit:?})");
        Ok(ExitCode::SUCCESS)
    })
}

/// Command line first, then the environment, then `worker.toml`.
fn worker_options(options: Worker, from_environment: Option<String>) -> Result<WorkerOptions> {
    let file = WorkerFile::read(&options.dir)?;
    let dir = options.dir.display();
    let masters = if options.masters.is_empty() { file.masters } else { options.masters };
    if masters.is_empty() {
        bail!(
            "no master is named; add --master ws://HOST:PORT, or write {dir}/{} with `muster create-worker`",
            worker_file::NAME
        );
    }
    let Some(name) = options.name.or(file.name) else {
        bail!("the worker has no name; add --name NAME, as master.cfg has it");
    };
    let from_file = options.password_file.as_deref().map(read_password).transpose()?;
    let given = options.password.or(from_file).or(from_environment).or(file.password);
    let Some(password) = given else {
        bail!("worker {name} has no password; add --password-file FILE, or set {PASSWORD_VARIABLE}");
    };
    let masters = masters.iter().map(|url| url.parse()).collect::<Result<Vec<MasterUrl>, _>>()?;
    Ok(WorkerOptions::new(options.dir, masters, name, Password::new(password)))
}

fn read_password(path: &std::path::Path) -> Result<String> {
    let told = || format!("can't read the password file {}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(told)?;
    file.take(MAX_PASSWORD_BYTES).read_to_string(&mut text).with_context(told)?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(password.to_owned()),
        _ => bail!("the password file {} has no password in its first line", path.display()),
    }
}

/// Runs until a signal comes or standard input ends, which it does when whoever started this worker is gone.
async fn run_until_eof(options: WorkerOptions) -> Result<muster_worker::Exit> {
    let stops = Stops::default();
    let mut terminate = signal(SignalKind::terminate()).context("can't listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for signals")?;
    let input_ended = stops.now.clone();
    // A thread of its own: a blocking read can't be taken back, and the process must end without it.
    std::thread::spawn(move || {
        // An error ends the input as well.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        input_ended.cancel();
    });
    let mut running = std::pin::pin!(muster_worker::run(options, stops.clone()));
    loop {
        tokio::select! {
            exit = &mut running => return Ok(exit?),
            _ = terminate.recv() => stops.now.cancel(),
            _ = interrupt.recv() => stops.now.cancel(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn options(arguments: &[&str]) -> Result<WorkerOptions> {
        match Cli::try_parse_from([&["muster", "worker"], arguments].concat())?.command {
            Command::Worker(options) => worker_options(options, None),
            _ => bail!("another command"),
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().to_str().unwrap();
        let says = |arguments: &[&str], words: &str| {
            let error = options(arguments).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        says(&[dir], "--master ws://HOST:PORT");
        says(&[dir, "--master", "ws://h"], "--name NAME");
        says(&[dir, "--master", "ws://h", "--name", "w"], "--password-file");
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = WorkerFile {
            masters: vec!["ws://filed:1".to_owned()],
            name: Some("filed".to_owned()),
            password: Some("filed".to_owned()),
        };
        file.create(dir.path()).unwrap();
        let options = options(&[dir.path().to_str().unwrap(), "--name", "given"]).unwrap();
        assert_eq!((options.name.as_str(), options.masters[0].host.as_str()), ("given", "filed"));
    }

    #[test]
    fn a_password_is_a_first_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "secret\nmore\n").unwrap();
        assert_eq!(read_password(&path).unwrap(), "secret");
        std::fs::write(&path, "\n").unwrap();
        assert!(read_password(&path).is_err());
    }
}
