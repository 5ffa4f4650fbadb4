//! A directory and an address of one's own, and the end of everything that was started there.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Lines of each log that a failed test shows.
const SHOWN_LINES: usize = 60;

/// A temporary directory. When it goes, every process that works in it is killed; it is kept when the test failed.
pub struct Site {
    dir: Option<TempDir>,
    path: PathBuf,
}

impl Site {
    /// An empty one.
    #[allow(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Site {
        let dir = tempfile::Builder::new().prefix("muster-").tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        Site { dir: Some(dir), path }
    }

    /// The path of `name` in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file and answers its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The processes that work in this directory. Commands of a worker that was killed live on in groups of their own;
    /// this tells whose they are.
    pub fn processes(&self) -> impl Iterator<Item = Pid> {
        self.processes_in(&self.path)
    }

    /// Those that work in one part of it.
    pub fn processes_in(&self, dir: &Path) -> impl Iterator<Item = Pid> {
        let dir = dir.to_owned();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes.filter_map(move |entry| {
            let pid = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
            let works_in = std::fs::read_link(entry.path().join("cwd")).ok()?;
            works_in.starts_with(&dir).then_some(pid)
        })
    }

    /// A loopback address that no other process uses, so that ports are free once they were found free.
    pub fn address() -> Ipv4Addr {
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        Ipv4Addr::new(127, 1 + high, middle, low)
    }

    /// A port that is free now on an address that others use as well; for what can't be on [`Site::address`].
    pub fn free_port_of(address: &str) -> u16 {
        TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port()
    }

    /// A port of [`Site::address`] that nobody has, and nobody gets again.
    pub fn free_port() -> u16 {
        static NEXT: AtomicU16 = AtomicU16::new(20_000);
        loop {
            let port = NEXT.fetch_add(1, Ordering::Relaxed);
            if TcpListener::bind((Site::address(), port)).is_ok() {
                return port;
            }
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for pid in self.processes() {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
        if std::thread::panicking() {
            show_logs(&self.path);
            if let Some(dir) = self.dir.take() {
                eprintln!("kept: {}", dir.keep().display());
            }
        }
    }
}

fn show_logs(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut logs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.sort();
    for path in logs {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        eprintln!("---- {}", path.display());
        for line in &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
            eprintln!("{line}");
        }
    }
}
