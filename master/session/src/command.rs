//! What a worker can be asked to do, and what it tells about it (`docs/compat/worker-protocol.md`, section 3).
//!
//! Paths are relative to the command's `builddir` unless they are absolute. Times are seconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One command as it is started: where, and what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartCommand {
    /// The builder's directory, relative to the worker's base directory. Created when missing.
    pub builddir: String,
    /// What to do there.
    pub command: Command,
}

/// The kinds of commands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Runs a program.
    Shell(Shell),
    /// Sends a file of the worker as [`UpdateBody::Chunk`]s.
    UploadFile(UploadFile),
    /// Sends a directory of the worker as a tar stream in [`UpdateBody::Chunk`]s.
    UploadDirectory(UploadDirectory),
    /// Writes a file on the worker from [`Order::Chunk`](crate::wire::Order::Chunk)s.
    DownloadFile(DownloadFile),
    /// Makes directories with their parents; one that exists is fine.
    Mkdir {
        /// What to make.
        dirs: Vec<String>,
    },
    /// Removes directories with all they hold; a missing one is fine.
    Rmdir {
        /// What to remove.
        dirs: Vec<String>,
        /// As in [`Shell::timeout`].
        timeout: Option<f64>,
        /// As in [`Shell::max_time`].
        max_time: Option<f64>,
    },
    /// Copies a directory; an existing target gets the source inside it.
    Cpdir {
        /// The source.
        from: String,
        /// The target.
        to: String,
        /// As in [`Shell::timeout`].
        timeout: Option<f64>,
        /// As in [`Shell::max_time`].
        max_time: Option<f64>,
    },
    /// Asks for [`UpdateBody::Stat`].
    Stat {
        /// A path, relative to `workdir`.
        file: String,
        /// Relative to the builder's directory.
        workdir: Option<String>,
    },
    /// Asks for [`UpdateBody::Files`]: absolute paths that match; `**` crosses directories.
    Glob {
        /// The pattern.
        pattern: String,
    },
    /// Asks for [`UpdateBody::Files`]: the names in a directory.
    Listdir {
        /// The directory.
        dir: String,
    },
    /// Removes one file.
    Rmfile {
        /// The file.
        path: String,
    },
}

impl Command {
    /// The name that stock workers know it by.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Shell(_) => "shell",
            Command::UploadFile(_) => "uploadFile",
            Command::UploadDirectory(_) => "uploadDirectory",
            Command::DownloadFile(_) => "downloadFile",
            Command::Mkdir { .. } => "mkdir",
            Command::Rmdir { .. } => "rmdir",
            Command::Cpdir { .. } => "cpdir",
            Command::Stat { .. } => "stat",
            Command::Glob { .. } => "glob",
            Command::Listdir { .. } => "listdir",
            Command::Rmfile { .. } => "rmfile",
        }
    }
}

/// A program and the rules for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shell {
    /// Relative to the builder's directory; created when missing.
    pub workdir: String,
    /// The program.
    pub command: CommandLine,
    /// Put over the worker's own environment.
    pub env: BTreeMap<String, EnvValue>,
    /// Whether standard output is sent (it resets `timeout` either way).
    pub want_stdout: bool,
    /// Whether standard error is sent.
    pub want_stderr: bool,
    /// Files to follow while the program runs, by the log's name.
    pub logfiles: BTreeMap<String, LogFile>,
    /// Ends the program after so long without output; `None`: never.
    pub timeout: Option<f64>,
    /// Ends the program after so long in all; `None`: never.
    pub max_time: Option<f64>,
    /// Ends the program when it wrote more lines.
    pub max_lines: Option<u64>,
    /// To end it, SIGTERM comes first and `interrupt_signal` after so long.
    pub sigterm_time: Option<f64>,
    /// A signal's name without SIG, for the whole process group.
    pub interrupt_signal: String,
    /// Runs it on a pseudo-terminal; ignored, with a header line, when there is `initial_stdin`.
    pub use_pty: bool,
    /// Written to standard input, which is closed after it.
    pub initial_stdin: Option<String>,
    /// Whether the header lists the environment.
    pub log_environ: bool,
    /// Python's name of the encoding of all output; `None` for UTF-8. A worker that doesn't know it reads UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
}

impl Default for Shell {
    fn default() -> Shell {
        Shell {
            workdir: "build".into(),
            command: CommandLine::Argv(Vec::new()),
            env: BTreeMap::new(),
            want_stdout: true,
            want_stderr: true,
            logfiles: BTreeMap::new(),
            timeout: Some(1200.0),
            max_time: None,
            max_lines: None,
            sigterm_time: None,
            interrupt_signal: "KILL".into(),
            use_pty: false,
            initial_stdin: None,
            log_environ: true,
            encoding: None,
        }
    }
}

/// A program, with or without a shell around it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandLine {
    /// Text for `/bin/sh -c`.
    Script(Argument),
    /// A program and its arguments.
    Argv(Vec<Argument>),
}

/// One word of a command line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Argument {
    /// Run and shown as it is.
    Plain(String),
    /// Run as `real`, shown as `shown`: a password.
    Obfuscated {
        /// What is run.
        real: String,
        /// What headers show.
        shown: String,
    },
}

impl Argument {
    /// What is run.
    pub fn real(&self) -> &str {
        match self {
            Argument::Plain(text) => text,
            Argument::Obfuscated { real, .. } => real,
        }
    }

    /// What may be shown.
    pub fn shown(&self) -> &str {
        match self {
            Argument::Plain(text) => text,
            Argument::Obfuscated { shown, .. } => shown,
        }
    }
}

impl<T: Into<String>> From<T> for Argument {
    fn from(text: T) -> Argument {
        Argument::Plain(text.into())
    }
}

/// What happens to one variable of the environment. `${NAME}` stands for a variable of the worker's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    /// It gets this value.
    Set(String),
    /// It gets these, joined with the separator of search paths.
    Joined(Vec<String>),
    /// It is removed.
    Remove,
}

/// A file that is followed while a program runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogFile {
    /// Relative to the working directory.
    pub filename: String,
    /// Leaves out what the file held when the program started.
    pub follow: bool,
}

/// Arguments of an upload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UploadFile {
    /// Relative to the builder's directory.
    pub workdir: String,
    /// Relative to `workdir`; `~` is expanded.
    pub source: String,
    /// Bytes after which the upload is cut off, with `rc` 1.
    pub max_size: Option<u64>,
    /// Bytes in one chunk, at most [`MAX_BLOCK`](crate::wire::MAX_BLOCK).
    pub block_size: u32,
    /// Whether [`UpdateBody::Times`] is sent.
    pub keep_stamp: bool,
}

/// Arguments of a directory's upload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UploadDirectory {
    /// Relative to the builder's directory.
    pub workdir: String,
    /// Relative to `workdir`; `~` is expanded.
    pub source: String,
    /// Bytes after which the upload is cut off, with `rc` 1.
    pub max_size: Option<u64>,
    /// Bytes in one chunk, at most [`MAX_BLOCK`](crate::wire::MAX_BLOCK).
    pub block_size: u32,
    /// How the tar stream is packed.
    pub compress: Option<Compression>,
}

/// Packing of a tar stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// gzip.
    Gz,
    /// bzip2.
    Bz2,
}

/// Arguments of a download.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DownloadFile {
    /// Relative to the builder's directory.
    pub workdir: String,
    /// Relative to `workdir`; `~` is expanded, parents are made.
    pub destination: String,
    /// Bytes after which the download is cut off, with `rc` 1.
    pub max_size: Option<u64>,
    /// Permission bits of the file.
    pub mode: Option<u32>,
}

/// One numbered piece of news about a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateBody {
    /// What it wrote, in the order it was read.
    Output(Vec<Output>),
    /// Its exit code; not the end: output and [`UpdateBody::Elapsed`] may follow.
    Rc(i64),
    /// How long it took, by the worker's clock.
    Elapsed(f64),
    /// Why the worker ended it: `timeout`, `timeout_without_output`, `max_lines_failure`.
    FailureReason(String),
    /// mode, ino, dev, nlink, uid, gid, size, atime, mtime, ctime.
    Stat([i64; 10]),
    /// Names or paths; long lists come as several of these.
    Files(Vec<String>),
    /// The next bytes of an upload.
    Chunk(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The uploaded file's times.
    Times {
        /// Last access.
        accessed: f64,
        /// Last change.
        modified: f64,
    },
    /// Always the last one. Success is decided by `rc`; an error means the command itself broke.
    Complete {
        /// What broke.
        error: Option<String>,
    },
}

/// Some text of one stream. It holds whole lines, each ended by a newline; the last line may be unfinished, and is
/// then continued by the next text of the same stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Where it was written.
    pub stream: Stream,
    /// Decoded text, with terminal control already turned into line ends (see `muster_core::lines`).
    pub text: String,
}

/// Where text comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The worker's own words.
    Header,
    /// A followed file, by the log's name.
    Log(String),
}
