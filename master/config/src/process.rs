//! One Python process: its pipes, its greeting, the tail of what it printed.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use crate::errors::HostError;
use crate::spawner;
use crate::wire::{MAX_LINE, Message, PROTOCOL, Request};
use crate::{
    package::{self, Package},
    python,
};

/// How long an interpreter may take to greet. A slow disk needs a few seconds; beyond that it hangs.
const GREETING: Duration = Duration::from_secs(30);

/// How many bytes of what the process printed are kept for error messages; older ones are dropped.
const MAX_TAIL: usize = 16 << 10;

/// Longest line of its output that goes to the log in one piece, in bytes; longer ones are cut.
const MAX_PRINTED_LINE: u64 = 16 << 10;

/// A running interpreter. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Lines for it. A task of its own writes them, so that nobody who writes keeps the process from being read.
    lines: mpsc::UnboundedSender<Vec<u8>>,
    stdout: BufReader<ChildStdout>,
    /// A line that is only partly read; a cancelled read goes on from here.
    partial: Vec<u8>,
    stderr: Option<BufReader<ChildStderr>>,
    printed: Vec<u8>,
    tail: Tail,
    /// The package; it must outlive the process, which imports parts of it late.
    _package: Package,
}

/// What comes out of a process.
#[derive(Debug)]
pub(crate) enum Event {
    Message(Box<Message>),
    /// It is gone; the reason.
    Gone(String),
}

impl Process {
    /// Starts `program` in `basedir` and reads its greeting.
    pub(crate) async fn start(program: &Path, basedir: &Path) -> Result<Process, HostError> {
        let package = package::write_out()
            .map_err(|e| broken(format!("its package can't be written to a temporary directory: {e}")))?;
        let shown = program.display().to_string();
        let mut command = Command::new(program);
        command
            .arg(package.path())
            .current_dir(basedir)
            // Lists made from sets keep their order, so that the same file gives the same snapshot.
            .env("PYTHONHASHSEED", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in a terminal is for the master, which then ends the host itself.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = spawner::spawn(command).await.map_err(|e| spawn_error(&shown, basedir, &e))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(broken("it has no pipes".into()));
        };
        let mut process = Process {
            child,
            lines: write_lines(stdin),
            stdout: BufReader::new(stdout),
            partial: Vec::new(),
            stderr: Some(BufReader::new(stderr)),
            printed: Vec::new(),
            tail: Tail::default(),
            _package: package,
        };
        match tokio::time::timeout(GREETING, process.greeting(&shown)).await {
            Ok(Ok(())) => Ok(process),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(process.broken(format!("{shown} said nothing for {} s", GREETING.as_secs()))),
        }
    }

    async fn greeting(&mut self, program: &str) -> Result<(), HostError> {
        let hello = match self.next().await {
            Event::Message(message) => match *message {
                Message::Hello(hello) => hello,
                Message::Answer(_) => return Err(self.broken("it answered before it was asked".into())),
            },
            Event::Gone(reason) => return Err(self.broken(format!("{program} is no Python: {reason}"))),
        };
        if !python::is_new_enough(&hello.python) {
            return Err(HostError::PythonTooOld { program: program.to_owned(), version: hello.python });
        }
        if hello.protocol != PROTOCOL {
            return Err(self.broken(format!("it speaks version {} of the protocol", hello.protocol)));
        }
        Ok(())
    }

    /// Sends one request. One that can't be reached any more ends, and says so by an event.
    pub(crate) fn send(&self, request: &Request<'_>) -> Result<(), HostError> {
        let mut line = serde_json::to_vec(request).map_err(|e| broken(format!("bad request: {e}")))?;
        line.push(b'\n');
        drop(self.lines.send(line));
        Ok(())
    }

    /// The next message; what the process prints meanwhile goes to the log. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                line = read_line(&mut self.stdout, &mut self.partial) => return match line {
                    Ok(Some(line)) => self.parse(&line),
                    Ok(None) => self.gone().await,
                    Err(reason) => Event::Gone(reason),
                },
                open = read_printed(&mut self.stderr, &mut self.printed) => {
                    self.tail.log(&mut self.printed);
                    if !open {
                        self.stderr = None;
                    }
                }
            }
        }
    }

    fn parse(&self, line: &[u8]) -> Event {
        match Message::parse(line) {
            Ok(message) => Event::Message(Box::new(message)),
            Err(e) => Event::Gone(format!("it said what nobody understands: {e}")),
        }
    }

    /// After the end of its output: the rest of what it printed, and how it ended.
    async fn gone(&mut self) -> Event {
        let rest = async {
            while self.stderr.is_some() && read_printed(&mut self.stderr, &mut self.printed).await {
                self.tail.log(&mut self.printed);
            }
            self.tail.log(&mut self.printed);
            self.child.wait().await
        };
        match tokio::time::timeout(Duration::from_secs(2), rest).await {
            Ok(Ok(status)) => Event::Gone(format!("it ended with {status}")),
            Ok(Err(e)) => Event::Gone(format!("it ended, but how is unknown: {e}")),
            Err(_) => Event::Gone("it closed its output".into()),
        }
    }

    /// What the process printed last.
    pub(crate) fn printed_last(&self) -> String {
        self.tail.text()
    }

    /// An error with what the process printed last.
    pub(crate) fn broken(&self, reason: String) -> HostError {
        HostError::Broken { reason, stderr: self.tail.text() }
    }
}

/// Writes lines into the pipe as fast as the process reads them. What waits is bounded by those who write: so many questions
/// at a time, and a credit for each conversation.
fn write_lines(mut stdin: ChildStdin) -> mpsc::UnboundedSender<Vec<u8>> {
    let (sender, mut receiver) = mpsc::unbounded_channel::<Vec<u8>>();
    tokio::spawn(async move {
        while let Some(line) = receiver.recv().await {
            if stdin.write_all(&line).await.is_err() {
                return;
            }
        }
    });
    sender
}

fn broken(reason: String) -> HostError {
    HostError::Broken { reason, stderr: String::new() }
}

fn spawn_error(program: &str, basedir: &Path, error: &std::io::Error) -> HostError {
    if !basedir.is_dir() {
        return broken(format!("the base directory {} does not exist", basedir.display()));
    }
    match error.kind() {
        std::io::ErrorKind::NotFound => HostError::PythonMissing(program.to_owned()),
        _ => broken(format!("{program} can't be started: {error}")),
    }
}

/// One line without its end; `None` at the end of the stream. `partial` keeps what a cancelled call has read.
async fn read_line(
    stdout: &mut BufReader<ChildStdout>,
    partial: &mut Vec<u8>,
) -> Result<Option<Vec<u8>>, String> {
    loop {
        let available = stdout.fill_buf().await.map_err(|e| format!("its output can't be read: {e}"))?;
        if available.is_empty() {
            return Ok(None);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(available.len());
        partial.extend_from_slice(&available[..taken]);
        stdout.consume(end.map_or(taken, |end| end + 1));
        if partial.len() > MAX_LINE {
            return Err(format!("one message is longer than {MAX_LINE} bytes"));
        }
        if end.is_some() {
            return Ok(Some(std::mem::take(partial)));
        }
    }
}

/// Reads one printed line; false when there will be no more. Waits for ever when the stream was closed before.
async fn read_printed(stderr: &mut Option<BufReader<ChildStderr>>, line: &mut Vec<u8>) -> bool {
    let Some(stderr) = stderr else {
        return std::future::pending().await;
    };
    let room = MAX_PRINTED_LINE.saturating_sub(u64::try_from(line.len()).unwrap_or(u64::MAX)).max(1);
    matches!(stderr.take(room).read_until(b'\n', line).await, Ok(read) if read > 0)
}

/// The last lines that a process printed.
#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Tail {
    fn log(&mut self, line: &mut Vec<u8>) {
        if line.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        line.clear();
        tracing::info!(target: "muster::master_cfg", "{text}");
        self.bytes += text.len() + 1;
        self.lines.push_back(text);
        while self.bytes > MAX_TAIL
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes -= oldest.len() + 1;
        }
    }

    fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }
}
