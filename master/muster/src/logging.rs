//! Where the log goes: the terminal, or a file of bounded size.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, Result};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::filter_fn, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::master_dir::{MasterDir, PRIVATE_FILE};

/// What is logged when `MUSTER_LOG` does not say otherwise.
const DEFAULT_FILTER: &str = "info";

/// What decides what is logged; a configuration that is read later may ask for more.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Says more about the message bus from now on, if `level` asks for more than usual and `MUSTER_LOG` says nothing.
pub fn of_bus(level: &str) {
    if !matches!(level, "debug" | "trace") || std::env::var_os("MUSTER_LOG").is_some() {
        return;
    }
    let filter = format!("{DEFAULT_FILTER},muster_bus={level},muster_router_compat={level}");
    if let Some(handle) = FILTER.get()
        && let Err(error) = handle.reload(EnvFilter::new(filter))
    {
        tracing::warn!("c['mq']['wamp_debug_level'] has no effect: {error}");
    }
}

/// Logs to standard error.
pub fn to_terminal() {
    init(Some(DEFAULT_FILTER), None);
}

/// Logs warnings to standard error, for commands whose own words stand on the terminal.
pub fn warnings_to_terminal() {
    init(Some("warn"), None);
}

/// Logs to the master's log file, and to standard error when `terminal`.
pub fn of_master(dir: &MasterDir, terminal: bool) -> Result<()> {
    let (length, kept) = dir.log_rotation();
    let file = RotatingFile::open(&dir.log_file(), length, kept)
        .with_context(|| format!("can't write the log {}", dir.log_file().display()))?;
    init(terminal.then_some(DEFAULT_FILTER), Some(file));
    Ok(())
}

/// Logs warnings to standard error, and what a configuration prints while it is read, as it is.
pub fn of_checks() {
    let own = "muster::master_cfg";
    let filter = EnvFilter::try_from_env("MUSTER_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let others = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false).with_writer(io::stderr);
    let printed =
        tracing_subscriber::fmt::layer().with_ansi(false).with_target(false).with_writer(io::stderr);
    let printed = printed.without_time().with_level(false);
    tracing_subscriber::registry()
        .with(others.with_filter(filter).with_filter(filter_fn(move |about| about.target() != own)))
        .with(printed.with_filter(filter_fn(move |about| about.target() == own)))
        .init();
}

fn init(terminal: Option<&str>, file: Option<RotatingFile>) {
    let filter =
        |default: &str| EnvFilter::try_from_env("MUSTER_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let to_file = file.map(|file| {
        tracing_subscriber::fmt::layer().with_ansi(false).with_target(false).with_writer(Mutex::new(file))
    });
    let to_terminal = terminal.map(|_| {
        let coloured = io::stderr().is_terminal();
        tracing_subscriber::fmt::layer().with_ansi(coloured).with_target(false).with_writer(io::stderr)
    });
    let (filter, handle) = reload::Layer::new(filter(terminal.unwrap_or(DEFAULT_FILTER)));
    // A process starts its log once.
    let _ = FILTER.set(handle);
    let registry = tracing_subscriber::registry().with(filter);
    registry.with(to_file).with(to_terminal).init();
}

/// A log file that gives way to a new one when it is full: `NAME`, `NAME.1` (the last full one), `NAME.2`, ….
pub struct RotatingFile {
    path: PathBuf,
    file: File,
    written: u64,
    length: u64,
    kept: u64,
}

impl RotatingFile {
    /// Goes on in the file that is there. `length` is that of a full one, `kept` how many full ones stay.
    pub fn open(path: &Path, length: u64, kept: u64) -> io::Result<RotatingFile> {
        let file = append(path)?;
        let written = file.metadata()?.len();
        Ok(RotatingFile { path: path.to_owned(), file, written, length, kept })
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (0..self.kept).rev() {
            let (from, to) = (self.numbered(number), self.numbered(number + 1));
            match std::fs::rename(from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.kept == 0 {
            std::fs::remove_file(&self.path)?;
        }
        self.file = append(&self.path)?;
        self.written = 0;
        Ok(())
    }

    fn numbered(&self, number: u64) -> PathBuf {
        match number {
            0 => self.path.clone(),
            _ => PathBuf::from(format!("{}.{number}", self.path.display())),
        }
    }
}

impl Write for RotatingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.written >= self.length {
            // A full disk or a lost right must not silence the log: go on in the old file.
            let _ = self.rotate();
        }
        let written = self.file.write(line)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).mode(PRIVATE_FILE).open(path)
}

/// Lets `tell` say that this program has a mistake, in one line and without a backtrace.
pub fn on_panic(tell: fn(&str)) {
    std::panic::set_hook(Box::new(move |panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let said = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("(no message)");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tell(&format!("an internal error at {place}: {said}; please report it"));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_gives_way_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("muster.log");
        let mut log = RotatingFile::open(&path, 4, 2).unwrap();
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(
            (read("muster.log"), read("muster.log.1"), read("muster.log.2")),
            ("four\n".to_owned(), "three\n".to_owned(), "two\n".to_owned())
        );
        assert!(!dir.path().join("muster.log.3").exists());
    }
}
