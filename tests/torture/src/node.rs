//! One process of the cluster that is killed, stopped and started again.

use std::path::{Path, PathBuf};
use std::process::Command;

use muster_tests::Process;
use rustix::process::Signal;

/// A process, its lives and its words.
pub struct Node {
    /// Its name in the history.
    pub name: String,
    logs: PathBuf,
    lives: u32,
    process: Option<Process>,
    paused: bool,
}

impl Node {
    /// One that does not run yet; its words go to files in `logs`.
    pub fn new(name: &str, logs: &Path) -> Node {
        Node { name: name.to_owned(), logs: logs.to_owned(), lives: 0, process: None, paused: false }
    }

    /// Starts its next life.
    pub fn start(&mut self, command: &mut Command) {
        self.lives += 1;
        let log = self.logs.join(format!("{}-{}.log", self.name, self.lives));
        self.process = Some(Process::start(command, &log));
        self.paused = false;
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("the node was started").id()
    }

    /// Whether it runs, or stands still.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Whether it was stopped by [`Node::pause`].
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Lets it stand still.
    pub fn pause(&mut self) {
        if self.is_running() {
            self.signal(Signal::STOP);
            self.paused = true;
        }
    }

    /// Lets it go on.
    pub fn resume(&mut self) {
        if self.is_running() {
            self.signal(Signal::CONT);
        }
        self.paused = false;
    }

    /// Sends a signal to the running process.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// Waits until it says `words`.
    pub fn wait_for(&mut self, words: &str) {
        self.process.as_mut().expect("the node was started").wait_for(words);
    }

    /// What its present life said last, and forgets the process, which has ended.
    pub fn last_words(&mut self) -> String {
        let said = self.process.take().map(|process| process.said()).unwrap_or_default();
        said.lines().last().unwrap_or_default().chars().skip(28).collect()
    }
}
