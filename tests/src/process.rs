//! A child process whose words go to a file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::until;

/// How a process of Muster tells a panic.
const PANIC: &str = "an internal error at ";

/// A running process; it is killed when this goes.
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// How a command ended, and what it said on both streams.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// Its words.
    pub said: String,
}

/// Runs a command to its end.
pub fn run(command: &mut Command, log: &Path) -> Ended {
    let mut process = Process::start(command, log);
    let status = process.wait();
    Ended { status, said: process.said() }
}

impl Process {
    /// Starts it; both streams go to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Process {
        let file = File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Process { child, log: log.to_owned() }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits until it says `words`; answers all it said.
    #[track_caller]
    pub fn wait_for(&mut self, words: &str) -> String {
        until(&format!("{words:?} in {}", self.log.display()), || {
            let ended = self.child.try_wait().unwrap();
            let said = self.said();
            if said.contains(words) {
                return Some(said);
            }
            assert!(ended.is_none(), "it ended ({}) before it said {words:?}:\n{said}", ended.unwrap());
            None
        })
    }

    /// Waits until it has said `words` so many times.
    #[track_caller]
    pub fn wait_for_times(&mut self, words: &str, times: usize) {
        until(&format!("{words:?} {times} times in {}", self.log.display()), || {
            (self.said().matches(words).count() >= times).then_some(())
        });
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        until(&format!("the end of the process that writes {}", self.log.display()), || {
            self.child.try_wait().unwrap()
        })
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, with SIGTERM, and waits.
    #[track_caller]
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            return;
        }
        // A panic breaks one request or one task only, so whoever looks at others would not see it.
        let said = std::fs::read(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let told: Vec<&str> = said.lines().filter(|line| line.contains(PANIC)).take(6).collect();
        assert!(told.is_empty(), "a process panicked:\n{}", told.join("\n"));
    }
}
