//! A command on the worker, as one effect of a step: its state is the fold of the updates that were stored.

use std::{collections::BTreeMap, path::PathBuf};

use muster_core::{
    Results,
    invariants::{debug_check, stores_next},
};
use muster_session::{
    BootId, Command, UpdateBody,
    command::{Output, Stream},
};
use serde::{Deserialize, Serialize};

use super::{
    logs::{LogRef, Tails},
    secrets::Secrets,
};

/// Characters of a stream that a step may collect; what follows is only in the log. Collected text is in the journal a second
/// time, and nothing that a property holds is as long.
pub const MAX_COLLECTED: usize = 256 * 1024;

/// What moves along with a command. Files are opened when the command is ordered, so a replay that finds it ended
/// touches none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Transfer {
    /// Nothing does.
    #[default]
    None,
    /// What the worker sends goes into this file, made anew with the directories above it.
    Upload {
        /// Where; relative to the process's directory.
        path: PathBuf,
        /// More bytes end the command.
        max_size: Option<u64>,
    },
    /// What the worker sends is kept in [`CommandResult::content`]; more than [`MAX_COLLECTED`] bytes end the command.
    Collect,
    /// What the worker asks for is in this file.
    DownloadFile(PathBuf),
    /// What the worker asks for is this.
    DownloadText(String),
}

impl Transfer {
    /// Whether bytes move at all.
    pub(crate) fn moves(&self) -> bool {
        !matches!(self, Transfer::None)
    }

    /// The same with its path left out; `None` when it has no path.
    pub(crate) fn without_path(&self) -> Option<Transfer> {
        match self {
            Transfer::Upload { max_size, .. } => {
                Some(Transfer::Upload { path: PathBuf::new(), max_size: *max_size })
            }
            Transfer::DownloadFile(_) => Some(Transfer::DownloadFile(PathBuf::new())),
            Transfer::None | Transfer::Collect | Transfer::DownloadText(_) => None,
        }
    }
}

/// A command that a step wants to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandRequest {
    /// What the worker is told. Output is decoded as the step is configured, whatever stands here.
    pub command: Command,
    /// Where its output goes; `None` drops it.
    #[serde(default)]
    pub stdio: Option<LogRef>,
    /// Logs of followed files that are there already, by their names; the others are made with their first line.
    #[serde(default)]
    pub logfiles: Vec<(String, LogRef)>,
    /// Keep standard output in the result.
    #[serde(default)]
    pub collect_stdout: bool,
    /// Keep standard error in the result.
    #[serde(default)]
    pub collect_stderr: bool,
    /// The file that moves along.
    #[serde(default)]
    pub transfer: Transfer,
}

impl CommandRequest {
    /// A command whose output goes to `stdio`, if anywhere.
    pub fn new(command: Command, stdio: Option<&LogRef>) -> CommandRequest {
        CommandRequest {
            command,
            stdio: stdio.cloned(),
            logfiles: Vec::new(),
            collect_stdout: false,
            collect_stderr: false,
            transfer: Transfer::None,
        }
    }

    /// The same, with standard output kept in the result.
    pub fn collecting_stdout(mut self) -> CommandRequest {
        self.collect_stdout = true;
        self
    }

    /// The same, with a file that moves along. After an adoption the transfer begins anew.
    pub fn with_transfer(mut self, transfer: Transfer) -> CommandRequest {
        self.transfer = transfer;
        self
    }
}

/// What came of a command.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandResult {
    /// The exit code; `None` when the worker gave none.
    pub rc: Option<i64>,
    /// Why the worker ended it.
    pub failure_reason: Option<String>,
    /// Collected standard output.
    pub stdout: String,
    /// Collected standard error.
    pub stderr: String,
    /// mode, ino, dev, nlink, uid, gid, size, atime, mtime, ctime.
    pub stat: Option<[i64; 10]>,
    /// Names or paths.
    pub files: Vec<String>,
    /// Access and modification time of an uploaded file.
    pub times: Option<(f64, f64)>,
    /// An uploaded file that was to be [kept](Transfer::Collect).
    pub content: Option<String>,
    /// The command itself broke.
    pub error: Option<String>,
    /// It was told to end early.
    pub interrupted: bool,
}

impl CommandResult {
    /// The result with the default meaning of exit codes.
    pub fn results(&self) -> Results {
        self.results_by(|rc| if rc == 0 { Results::Success } else { Results::Failure })
    }

    /// The result, with exit codes read by `decode`.
    pub fn results_by(&self, decode: impl Fn(i64) -> Results) -> Results {
        if self.interrupted {
            return Results::Cancelled;
        }
        self.rc.map_or(Results::Failure, decode)
    }

    /// Whether it ran to its end with exit code 0.
    pub fn succeeded(&self) -> bool {
        self.results() == Results::Success
    }

    /// What summaries add for an end that the worker brought about.
    pub fn timed_out(&self) -> bool {
        matches!(self.failure_reason.as_deref(), Some("timeout" | "timeout_without_output"))
    }

    /// Whether it was ended for writing too many lines.
    pub fn exceeded_lines(&self) -> bool {
        self.failure_reason.as_deref() == Some("max_lines_failure")
    }
}

/// A command under way, as its updates have made it. Journals of replay version 1 keep the whole of it in one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CommandState {
    /// The worker's life that got the order; in another one the command is gone.
    pub(crate) boot: BootId,
    /// Counts how often the command was ordered anew (transfers are, after an adoption).
    pub(crate) attempt: u32,
    /// The last update that is stored.
    pub(crate) seen: u64,
    pub(crate) ended: bool,
    pub(crate) tails: Tails,
    pub(crate) result: CommandResult,
    /// Slugs of the logs that followed files got with their first lines.
    pub(crate) lazy_logs: BTreeMap<String, String>,
    /// State of the observer, in journals of replay version 1.
    pub(crate) observer: serde_json::Value,
}

impl CommandState {
    pub(crate) fn new(boot: BootId) -> CommandState {
        CommandState {
            boot,
            attempt: 0,
            seen: 0,
            ended: false,
            tails: Tails::default(),
            result: CommandResult::default(),
            lazy_logs: BTreeMap::new(),
            observer: serde_json::Value::Null,
        }
    }

    /// An update is the next one that is stored.
    pub(crate) fn see(&mut self, number: u64) {
        debug_check(|| stores_next(self.seen, number));
        self.seen = number;
    }

    /// Folds an update into the state; answers the text that is ready for logs.
    /// Secrets show neither there nor in what is collected, which is journalled and becomes properties.
    pub(crate) fn fold(
        &mut self,
        number: u64,
        body: &UpdateBody,
        request: &CommandRequest,
        secrets: &Secrets,
    ) -> Vec<Output> {
        self.see(number);
        match body {
            UpdateBody::Output(outputs) => return self.fold_output(outputs, request, secrets),
            UpdateBody::Rc(rc) => {
                self.result.rc = Some(*rc);
                return vec![header(format!("program finished with exit code {rc}\n"))];
            }
            UpdateBody::FailureReason(reason) => self.result.failure_reason = Some(reason.clone()),
            UpdateBody::Stat(stat) => self.result.stat = Some(*stat),
            UpdateBody::Files(files) => self.result.files.extend_from_slice(files),
            UpdateBody::Times { accessed, modified } => self.result.times = Some((*accessed, *modified)),
            // Elapsed is the worker's clock, which means nothing here; chunks are the transfer's business.
            UpdateBody::Elapsed(_) | UpdateBody::Chunk(_) => {}
            UpdateBody::Complete { error } => {
                self.ended = true;
                // What this side found wrong is the cause of what the worker says then.
                self.result.error = self.result.error.take().or_else(|| error.clone());
                let left = self.tails.finish();
                for (stream, text) in &left {
                    self.collect(request, stream, text);
                }
                return left.into_iter().map(|(stream, text)| Output { stream, text: text + "\n" }).collect();
            }
        }
        Vec::new()
    }

    fn fold_output(
        &mut self,
        outputs: &[Output],
        request: &CommandRequest,
        secrets: &Secrets,
    ) -> Vec<Output> {
        let mut ready = Vec::new();
        for Output { stream, text } in outputs {
            let lines = self.tails.push(stream, text, secrets);
            if !lines.is_empty() {
                self.collect(request, stream, &lines);
                ready.push(Output { stream: stream.clone(), text: lines });
            }
        }
        ready
    }

    fn collect(&mut self, request: &CommandRequest, stream: &Stream, text: &str) {
        match stream {
            Stream::Stdout if request.collect_stdout => collect(&mut self.result.stdout, text),
            Stream::Stderr if request.collect_stderr => collect(&mut self.result.stderr, text),
            _ => {}
        }
    }
}

fn header(text: String) -> Output {
    Output { stream: Stream::Header, text }
}

fn collect(collected: &mut String, text: &str) {
    let room = MAX_COLLECTED.saturating_sub(collected.len());
    let end = (0..=room.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    collected.push_str(&text[..end]);
}
