//! Watching a running program: its output, its limits, and its end.

use std::io;
use std::pin::{Pin, pin};
use std::process::ExitStatus;
use std::time::Duration;

use muster_session::command::{Stream, UpdateBody};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::logfiles::LogFiles;
use super::text::number;
use super::{ReportRc, Started};
use crate::context::{CommandIo, Outcome, StopRequest};
use crate::options::Limits;
use crate::process::signal_group;

/// How long the system may take to end a program that was given up.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// Bytes read from a pipe in one go: as much as a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// A wait that never ends in practice; keeps the waiting code free of cases.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Exit code of a program that did not end by itself.
const NO_EXIT_CODE: i64 = -1;

pub(super) type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// What a program is allowed, and how it is ended.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub want_stdout: bool,
    pub want_stderr: bool,
    /// Without output.
    pub timeout: Option<Duration>,
    /// In all.
    pub max_time: Option<Duration>,
    pub max_lines: Option<u64>,
    /// Between SIGTERM and `interrupt_signal`.
    pub sigterm_time: Option<Duration>,
    pub interrupt_signal: Signal,
    /// With SIG.
    pub interrupt_name: String,
    /// The program in messages.
    pub shown_argv: String,
}

/// How far the program's forced end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    NotAsked,
    /// SIGTERM was sent.
    Asked {
        signal_at: Instant,
    },
    /// The last signal was sent.
    Signalled {
        give_up_at: Instant,
    },
    GivenUp,
}

/// See the module.
pub(super) struct Supervisor<'a> {
    io: &'a CommandIo,
    rules: Rules,
    report: ReportRc,
    child: Child,
    /// Process id of the program and id of its group.
    group: i32,
    stdout: Option<Reader>,
    stderr: Option<Reader>,
    logfiles: LogFiles,
    limits: &'a Limits,
    began: Instant,
    last_output: Instant,
    lines: u64,
    too_many_lines: bool,
    stop: StopRequest,
    ending: Ending,
    status: Option<ExitStatus>,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(
        started: Started,
        rules: Rules,
        logfiles: LogFiles,
        limits: &'a Limits,
        report: ReportRc,
        io: &'a CommandIo,
    ) -> Self {
        let group = started.child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
        let now = Instant::now();
        Self {
            io,
            rules,
            report,
            child: started.child,
            group,
            stdout: started.stdout,
            stderr: started.stderr,
            logfiles,
            limits,
            began: now,
            last_output: now,
            lines: 0,
            too_many_lines: false,
            stop: StopRequest::None,
            ending: Ending::NotAsked,
            status: None,
        }
    }

    /// Follows the program to its end.
    pub(super) async fn run(mut self, stdin: Option<String>) -> Outcome {
        let mut feeding = pin!(feed(self.child.stdin.take(), stdin));
        let mut fed = false;
        let mut out = vec![0; READ_BYTES];
        let mut err = vec![0; READ_BYTES];
        let mut logfile_tick = interval(self.limits.logfile_poll);
        logfile_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let io = self.io;
        while !self.is_over() {
            let room = io.outbox.has_room();
            let deadline = self.deadline(room);
            tokio::select! {
                read = read_some(&mut self.stdout, &mut out), if room => self.read_stdout(read, &out),
                read = read_some(&mut self.stderr, &mut err), if room => self.read_stderr(read, &err),
                // The program may be waiting for us, which is not its fault.
                () = io.outbox.room(), if !room => self.last_output = Instant::now(),
                status = self.child.wait(), if self.status.is_none() => self.exited(status),
                request = io.stop.beyond(self.stop) => self.stop_requested(request),
                _ = logfile_tick.tick(), if room && !self.logfiles.is_empty() => self.poll_logfiles(),
                () = sleep_until(deadline) => self.deadline_passed(),
                () = &mut feeding, if !fed => fed = true,
            }
        }
        self.drain_logfiles().await;
        self.finish().await
    }

    /// A program that ended is not over while others hold its output: Buildbot's worker waits for them, too.
    fn is_over(&self) -> bool {
        let silent = self.stdout.is_none() && self.stderr.is_none();
        self.ending == Ending::GivenUp || (self.status.is_some() && silent)
    }

    fn read_stdout(&mut self, read: io::Result<usize>, buffer: &[u8]) {
        match taken("standard output", read) {
            0 => self.stdout = None,
            count => self.output(Stream::Stdout, self.rules.want_stdout, &buffer[..count]),
        }
    }

    fn read_stderr(&mut self, read: io::Result<usize>, buffer: &[u8]) {
        match taken("standard error", read) {
            0 => self.stderr = None,
            count => self.output(Stream::Stderr, self.rules.want_stderr, &buffer[..count]),
        }
    }

    fn output(&mut self, stream: Stream, wanted: bool, bytes: &[u8]) {
        self.last_output = Instant::now();
        if self.too_many_lines {
            return;
        }
        let (allowed, excess) = self.count_lines(bytes);
        let write = |bytes: &[u8]| {
            if wanted && !bytes.is_empty() {
                self.io.outbox.write(stream.clone(), bytes);
            }
        };
        write(allowed);
        if let Some(line) = excess {
            // Told before the line that was too much, which is the last one to be seen.
            let limit = self.rules.max_lines.unwrap_or_default();
            self.io.outbox.send(UpdateBody::FailureReason("max_lines_failure".into()));
            let message = format!("command exceeds max lines: {}/{limit} written/allowed", limit + 1);
            self.io
                .outbox
                .header(&format!("\n{message} running {}, attempting to kill\n", self.rules.shown_argv));
            write(line);
            self.too_many_lines = true;
            self.end_program();
        }
    }

    /// Splits `bytes` into what is allowed and the first line that is too much.
    fn count_lines<'b>(&mut self, bytes: &'b [u8]) -> (&'b [u8], Option<&'b [u8]>) {
        let Some(limit) = self.rules.max_lines else { return (bytes, None) };
        let mut start = 0;
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            self.lines += 1;
            if self.lines > limit {
                return (&bytes[..start], Some(&bytes[start..=at]));
            }
            start = at + 1;
        }
        (bytes, None)
    }

    fn exited(&mut self, status: io::Result<ExitStatus>) {
        match status {
            Ok(status) => self.status = Some(status),
            Err(error) => {
                tracing::error!("can't wait for process {}: {error}", self.group);
                self.ending = Ending::GivenUp;
            }
        }
    }

    fn stop_requested(&mut self, request: StopRequest) {
        self.stop = request;
        match request {
            StopRequest::None => {}
            StopRequest::Interrupt if self.ending == Ending::NotAsked => {
                self.io.outbox.header("\ncommand interrupted, attempting to kill\n");
                self.end_program();
            }
            StopRequest::Interrupt => {}
            StopRequest::Abandon => self.last_signal(Signal::KILL),
        }
    }

    /// The next moment at which something is due. While the outbox is full, silence is not the program's fault.
    fn deadline(&self, room: bool) -> Instant {
        let now = Instant::now();
        match self.ending {
            Ending::Asked { signal_at } => signal_at,
            Ending::Signalled { give_up_at } => give_up_at,
            Ending::GivenUp => now,
            Ending::NotAsked => {
                let silent =
                    self.rules.timeout.filter(|_| room).and_then(|limit| self.last_output.checked_add(limit));
                let total = self.rules.max_time.and_then(|limit| self.began.checked_add(limit));
                [silent, total].into_iter().flatten().min().unwrap_or(now + FOREVER)
            }
        }
    }

    fn deadline_passed(&mut self) {
        match self.ending {
            Ending::Asked { .. } => self.last_signal(self.rules.interrupt_signal),
            Ending::Signalled { .. } => self.ending = Ending::GivenUp,
            Ending::GivenUp => {}
            Ending::NotAsked => {
                let (reason, limit, what) = match self.rules.max_time {
                    Some(limit) if self.began.elapsed() >= limit => ("timeout", limit, "elapsed"),
                    _ => ("timeout_without_output", self.rules.timeout.unwrap_or_default(), "without output"),
                };
                self.io.outbox.send(UpdateBody::FailureReason(reason.into()));
                self.io.outbox.header(&format!(
                    "\ncommand timed out: {} seconds {what} running {}, attempting to kill\n",
                    number(limit.as_secs_f64()),
                    self.rules.shown_argv
                ));
                self.end_program();
            }
        }
    }

    /// Begins to end the program, as gently as it was asked for.
    fn end_program(&mut self) {
        if self.ending != Ending::NotAsked {
            return;
        }
        match self.rules.sigterm_time {
            Some(grace) => {
                self.signal(Signal::TERM);
                self.ending = Ending::Asked { signal_at: Instant::now() + grace };
            }
            None => self.last_signal(self.rules.interrupt_signal),
        }
    }

    fn last_signal(&mut self, signal: Signal) {
        self.signal(signal);
        self.ending = Ending::Signalled { give_up_at: Instant::now() + self.limits.kill_patience };
    }

    fn signal(&self, signal: Signal) {
        let sent = match signal_group(self.group, signal) {
            // The launcher on a terminal has no group of its own for a moment.
            Ok(false) if self.status.is_none() => match Pid::from_raw(self.group) {
                Some(pid) => kill_process(pid, signal).map_err(io::Error::from),
                None => Ok(()),
            },
            sent => sent.map(|_found| ()),
        };
        if let Err(error) = sent {
            tracing::warn!("can't signal process group {}: {error}", self.group);
        }
    }

    fn poll_logfiles(&mut self) {
        let mut heard = false;
        self.logfiles.poll(|name, bytes| {
            heard = true;
            self.io.outbox.write(Stream::Log(name.to_owned()), bytes);
        });
        if heard {
            self.last_output = Instant::now();
        }
    }

    /// Reads the followed files to their present end, unless nobody wants to know.
    async fn drain_logfiles(&mut self) {
        while self.stop != StopRequest::Abandon {
            self.io.outbox.room().await;
            let outbox = &self.io.outbox;
            if !self.logfiles.poll(|name, bytes| outbox.write(Stream::Log(name.to_owned()), bytes)) {
                return;
            }
        }
    }

    async fn finish(mut self) -> Outcome {
        let Some(status) = self.status else { return self.unkillable().await };
        let rc = match status.code() {
            // Ended by us, yet it claims success.
            Some(0) if self.ending != Ending::NotAsked => NO_EXIT_CODE,
            Some(code) => i64::from(code),
            None => {
                let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or_default();
                self.io.outbox.header(&format!("process killed by signal {signal}\n"));
                NO_EXIT_CODE
            }
        };
        let outcome = match self.report {
            ReportRc::AtOnce => {
                self.io.outbox.send(UpdateBody::Rc(rc));
                Outcome { rc: None, error: None }
            }
            ReportRc::ToCaller => Outcome::rc(rc),
        };
        self.io.outbox.header(&format!("elapsedTime={:.6}\n", self.began.elapsed().as_secs_f64()));
        outcome
    }

    /// The program ignored its last signal. Its log says so, and it must not go on in the build's directory anyway.
    async fn unkillable(&mut self) -> Outcome {
        let message = format!("{} failed to kill process", self.rules.interrupt_name);
        self.io.outbox.header(&format!("{message}\nusing fake rc=-1\n"));
        self.signal(Signal::KILL);
        if timeout(LAST_PATIENCE, self.child.wait()).await.is_err() {
            tracing::warn!("process {} does not die", self.group);
        }
        Outcome { rc: Some(NO_EXIT_CODE), error: Some(message) }
    }
}

/// Bytes that came; an error of a pipe ends it like its end does.
fn taken(what: &str, read: io::Result<usize>) -> usize {
    read.unwrap_or_else(|error| {
        tracing::warn!("can't read a program's {what}: {error}");
        0
    })
}

async fn read_some(reader: &mut Option<Reader>, buffer: &mut [u8]) -> io::Result<usize> {
    match reader {
        Some(reader) => reader.read(buffer).await,
        None => std::future::pending().await,
    }
}

/// Writes the initial input and closes it. A program need not read it.
async fn feed(stdin: Option<ChildStdin>, text: Option<String>) {
    if let (Some(mut stdin), Some(text)) = (stdin, text)
        && let Err(error) = stdin.write_all(text.as_bytes()).await
    {
        tracing::debug!("a program did not read its input: {error}");
    }
}
