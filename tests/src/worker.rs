//! A real worker.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::{Process, Site, binary};

/// What every worker of a test logs in with.
pub const PASSWORD: &str = "secret";

/// A worker's directory, and its process while it runs.
pub struct Worker {
    name: String,
    dir: PathBuf,
    masters: Vec<SocketAddr>,
    password: String,
    lives: u32,
    process: Option<Process>,
}

impl Worker {
    /// A worker that is not started yet.
    pub fn new(site: &Site, name: &str, master: SocketAddr) -> Worker {
        let (dir, password) = (site.path(name), PASSWORD.to_owned());
        let masters = vec![master];
        Worker { name: name.to_owned(), dir, masters, password, lives: 0, process: None }
    }

    /// The same with another password.
    pub fn with_password(self, password: &str) -> Worker {
        Worker { password: password.to_owned(), ..self }
    }

    /// The same, knowing another master as well.
    pub fn knowing(mut self, master: SocketAddr) -> Worker {
        self.masters.push(master);
        self
    }

    /// Starts the process; that it is connected shows at the master.
    pub fn start(&mut self) {
        self.lives += 1;
        let log = self.dir.with_file_name(format!("{}-{}.log", self.name, self.lives));
        let mut command = binary::command(&["worker", self.dir.to_str().unwrap(), "--name", &self.name]);
        for master in &self.masters {
            command.args(["--master", &format!("ws://{master}")]);
        }
        self.process = Some(Process::start(command.env("MUSTER_WORKER_PASSWORD", &self.password), &log));
    }

    /// Its directory.
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// The running process.
    #[track_caller]
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the worker was started")
    }

    /// Ends it as a power cut would.
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.take().expect("the worker was started").kill();
    }

    /// Asks it to end.
    #[track_caller]
    pub fn stop(&mut self) {
        let status = self.process.take().expect("the worker was started").stop();
        assert!(status.success(), "the worker ended with {status}");
    }
}
