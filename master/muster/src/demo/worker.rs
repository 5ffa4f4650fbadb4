//! The demo's worker: a process of its own, as a real one.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Mutex;

use super::prepare;
use super::progress::Progress;

/// How long the worker may take to end its commands and itself; then it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(12);
/// Lines of its log that are shown when it fails.
const LAST_LINES: usize = 10;

/// The worker's process. Its standard input stays open as long as the demo lives: when the demo is killed, the worker
/// sees the end of it and goes, too.
pub struct WorkerProcess {
    child: Mutex<Child>,
    _input: Option<ChildStdin>,
    pid: Option<Pid>,
    log: PathBuf,
}

impl WorkerProcess {
    /// Starts it; its password is in the environment.
    pub fn start(dir: &Path, master: SocketAddr) -> Result<WorkerProcess> {
        std::fs::create_dir_all(dir).with_context(|| format!("can't create {}", dir.display()))?;
        let log = dir.join("worker.log");
        let output = File::create(&log).with_context(|| format!("can't write {}", log.display()))?;
        let program = std::env::current_exe().context("can't find this program's own file")?;
        let mut command = Command::new(program);
        command.arg("worker").arg(dir).arg("--stop-at-eof");
        command.args(["--name", "worker-1", "--master", &format!("ws://{master}")]);
        prepare::PRIVATE.iter().for_each(|name| {
            command.env_remove(name);
        });
        // A group of its own: Ctrl-C reaches the demo alone, which then stops things in order.
        command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(output)
            .kill_on_drop(true);
        let mut child = command.spawn().context("can't start a process for the worker")?;
        // Taken out, because waiting for a child closes the input that it holds.
        let _input = child.stdin.take();
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(WorkerProcess { child: Mutex::new(child), _input, pid, log })
    }

    /// Waits until it ends by itself, which it should not.
    pub async fn failed(&self) -> Error {
        let ended = match self.child.lock().await.wait().await {
            Ok(status) => format!("the worker has ended ({status})"),
            Err(error) => format!("the worker is lost: {error}"),
        };
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ");
        anyhow!("{ended}; it said:\n  {last}")
    }

    /// Ends it and all that it runs.
    pub async fn stop(self, progress: &Progress) -> Result<()> {
        let mut child = self.child.into_inner();
        if child.try_wait().context("can't look at the worker")?.is_some() {
            return Ok(());
        }
        progress.meanwhile("stopping the worker");
        if let Some(pid) = self.pid {
            kill_process(pid, Signal::TERM).context("can't stop the worker")?;
        }
        if tokio::time::timeout(STOP_PATIENCE, child.wait()).await.is_err() {
            progress.say("the worker does not stop; killing it");
            child.kill().await.context("can't kill the worker")?;
        }
        Ok(())
    }
}
