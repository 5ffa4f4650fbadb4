//! `start`, `stop`, `restart`, `reconfig`: a master in the background, asked by signals and heard by its log.

use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::cli::{Reconfig, Restart, RunMaster, Serving, Start, StartPatience, Stop};
use crate::log_follower::LogFollower;
use crate::master::said;
use crate::master_dir::{MasterDir, PRIVATE_FILE};
use crate::pid_file;

/// How long `stop` waits without --graceful. Longer than a master takes that hands over by default, and then gives its
/// parts their time, see `master::tasks::STOP_PATIENCE`.
const STOP_PATIENCE: Duration = Duration::from_secs(60);
/// How often another process is looked at.
const POLL: Duration = Duration::from_millis(50);

/// `muster start`.
pub fn start(options: &Start) -> Result<ExitCode> {
    if options.nodaemon {
        let dir = options.target.dir.clone();
        return super::master::run(&RunMaster { dir, detached: false, serving: options.serving.clone() });
    }
    let dir = MasterDir::open(&options.target.dir)?;
    start_in(&dir, &options.patience, options.target.quiet, &options.serving)
}

/// `muster stop`.
pub fn stop(options: &Stop) -> Result<ExitCode> {
    let dir = MasterDir::at(&options.target.dir)?;
    stop_in(&dir, options.graceful, !options.no_wait, options.target.quiet)?;
    Ok(ExitCode::SUCCESS)
}

/// `muster restart`.
pub fn restart(options: &Restart) -> Result<ExitCode> {
    let dir = MasterDir::open(&options.target.dir)?;
    // What could not start must not end what runs.
    if pid_file::running(&dir).is_some() && !super::checkconfig::is_good(&dir)? {
        bail!("nothing was stopped: the master in {} goes on as it was", dir.path().display());
    }
    stop_in(&dir, options.graceful, true, options.target.quiet)?;
    start_in(&dir, &options.patience, options.target.quiet, &options.serving)
}

/// `muster reconfig`.
pub fn reconfig(options: &Reconfig) -> Result<ExitCode> {
    let dir = MasterDir::open(&options.target.dir)?;
    let Some(pid) = pid_file::running(&dir) else {
        bail!("no master runs in {0}; start it with `muster start {0}`", dir.path().display());
    };
    let mut log = LogFollower::at_end(&dir.log_file());
    signal(pid, Signal::HUP)?;
    let patience = Duration::from_secs(options.progress_timeout);
    let heard = follow(&mut log, patience, options.target.quiet, || Ok(pid_file::running(&dir).is_none()))?;
    match heard {
        Heard::Good => Ok(ExitCode::SUCCESS),
        Heard::Bad => Ok(ExitCode::FAILURE),
        Heard::Nothing => bail!(
            "the master says nothing about its new configuration; it may still be at it, see {}",
            dir.log_file().display()
        ),
        Heard::Ended => bail!("the master ended meanwhile; see {}", dir.log_file().display()),
    }
}

fn start_in(dir: &MasterDir, patience: &StartPatience, quiet: bool, serving: &Serving) -> Result<ExitCode> {
    let patience = Duration::from_secs(patience.start_timeout);
    if let Some(pid) = pid_file::running(dir) {
        let dir = dir.path().display();
        bail!("a master already runs in {dir} (process {pid}); stop it with `muster stop {dir}`");
    }
    let mut log = LogFollower::at_end(&dir.log_file());
    let mut child = spawn(dir, serving)?;
    let ended = || Ok(child.try_wait().context("can't look at the new process")?.is_some());
    match follow(&mut log, patience, quiet, ended)? {
        Heard::Good => Ok(ExitCode::SUCCESS),
        Heard::Bad | Heard::Ended => {
            bail!("the master did not start; its log is {}", dir.log_file().display())
        }
        Heard::Nothing => bail!(
            "the master has not said within {} s that it runs; it may still be starting, see {}",
            patience.as_secs(),
            dir.log_file().display()
        ),
    }
}

fn spawn(dir: &MasterDir, serving: &Serving) -> Result<Child> {
    let program = std::env::current_exe().context("can't find this program's own file")?;
    let log = std::fs::File::options().append(true).create(true).mode(PRIVATE_FILE).open(dir.log_file());
    let log = log.with_context(|| format!("can't write the log {}", dir.log_file().display()))?;
    let mut command = Command::new(program);
    command.arg("master").arg("--detached").args(serving.to_arguments());
    command.arg(dir.path()).current_dir(dir.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().context("can't start a process for the master")
}

fn stop_in(dir: &MasterDir, graceful: bool, wait: bool, quiet: bool) -> Result<()> {
    let tell = |what: &str| {
        if !quiet {
            println!("{what}");
        }
    };
    let Some(pid) = pid_file::running(dir) else {
        tell("the master was not running");
        return Ok(());
    };
    signal(pid, if graceful { Signal::USR1 } else { Signal::TERM })?;
    if !wait {
        tell(&format!("told process {pid} to stop"));
        return Ok(());
    }
    let deadline = (!graceful).then(|| Instant::now() + STOP_PATIENCE);
    while pid_file::running(dir) == Some(pid) {
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            bail!(
                "process {pid} has not stopped within {} s; see {}",
                STOP_PATIENCE.as_secs(),
                dir.log_file().display()
            );
        }
        std::thread::sleep(POLL);
    }
    tell("the master has stopped");
    Ok(())
}

fn signal(pid: Pid, signal: Signal) -> Result<()> {
    kill_process(pid, signal).with_context(|| format!("can't send a signal to the master, process {pid}"))
}

/// What a master's log told.
#[derive(Clone, Copy, PartialEq)]
enum Heard {
    Good,
    Bad,
    /// No new line within the patience.
    Nothing,
    /// The process is gone.
    Ended,
}

/// Shows new lines until one of them tells how it went.
fn follow(
    log: &mut LogFollower,
    patience: Duration,
    quiet: bool,
    mut ended: impl FnMut() -> Result<bool>,
) -> Result<Heard> {
    let mut deadline = Instant::now() + patience;
    loop {
        // Looked at before the log, so that the last words of a process are read after its end was seen.
        let gone = ended()?;
        while let Some(line) = log.next_line()? {
            deadline = Instant::now() + patience;
            let heard = told(&line);
            if !quiet || heard == Some(Heard::Bad) {
                println!("{line}");
            }
            if let Some(heard) = heard {
                return Ok(heard);
            }
        }
        if gone {
            return Ok(Heard::Ended);
        }
        if Instant::now() > deadline {
            return Ok(Heard::Nothing);
        }
        std::thread::sleep(POLL);
    }
}

fn told(line: &str) -> Option<Heard> {
    let says = |words: &[&str]| words.iter().any(|word| line.contains(word));
    if says(&[said::RUNNING, said::RECONFIGURED]) {
        return Some(Heard::Good);
    }
    says(&[said::START_FAILED, said::RECONFIG_ABORTED]).then_some(Heard::Bad)
}
