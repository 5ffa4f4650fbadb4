//! `MasterShellCommand`: a command on the master (`docs/compat/behaviour-5-steps.md` 5.8).
//!
//! It is one effect: what it wrote is in the log when it has ended, and it is run again when its master dies before
//! that is recorded.

use std::{collections::BTreeMap, future::pending, path::PathBuf, pin::pin, process::Stdio, time::Duration};

use muster_core::{
    LogKind, Results,
    encoding::TextDecoder,
    lines::{LineSplitter, MAX_LINE},
    render::py_repr,
};
use muster_session::command::{CommandLine, EnvValue};
use regex::{Captures, Regex};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

use super::{
    arguments::{Argument, Flag, Limit, Misfit, Rendered},
    command_line::{CommandText, Env},
    kind::StepKind,
};
use crate::effects::{LogRef, StepContext, StepEnd, StopReceiver, ordered};

/// Bytes of output that are kept; what follows is read and dropped. It is journalled as one outcome.
const MAX_OUTPUT: usize = 4 * 1024 * 1024;
/// Seconds that a command may take, unless the step says otherwise.
const DEFAULT_LIMIT: Limit = Limit(Some(3600.0));
/// How long a command that was told to stop may take before it is killed: it may have been asked by a signal that it heeds,
/// to clean up, or by one that it ignores. A second order kills it at once.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long output may still come from processes that outlived the command.
const DRAIN: Duration = Duration::from_secs(5);

/// What is to be run.
struct MasterCommand {
    argv: Vec<String>,
    /// All there is, when given; the master's own otherwise.
    env: Option<BTreeMap<String, String>>,
    dir: PathBuf,
    limit: Option<f64>,
    signal: Signal,
    /// Of its output; `None` for UTF-8.
    encoding: Option<String>,
}

/// How the log names it.
struct Shown {
    line: String,
    argv: Vec<String>,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
enum Outcome {
    Ended {
        code: Option<i32>,
        signal: Option<i32>,
        output: Vec<(char, String)>,
        stopped: bool,
    },
    /// It could not be started.
    Broken(String),
    /// This master goes; the next one runs it again.
    Left,
}

/// `MasterShellCommand`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MasterShellCommand {
    command: Rendered<Given>,
    env: Rendered<Option<Env>>,
    log_environ: Rendered<Flag<true>>,
    interrupt_signal: Rendered<InterruptSignal>,
    #[serde(rename = "runtime_timeout")]
    runtime_timeout: Rendered<Limit>,
}

/// The command as it is given, and as it is run.
struct Given(Value, CommandText);

impl Argument for Given {
    fn read(value: Value) -> Result<Given, Misfit> {
        let text = CommandText::read(value.clone())?;
        Ok(Given(value, text))
    }
}

/// The signal that asks the command to end.
struct InterruptSignal(Signal);

impl Argument for InterruptSignal {
    fn read(value: Value) -> Result<InterruptSignal, Misfit> {
        let name = Option::<String>::read(value.clone())?.unwrap_or_else(|| "KILL".to_owned());
        let signal = signal_named(&name).ok_or_else(|| Misfit::not("the name of a signal", &value))?;
        Ok(InterruptSignal(signal))
    }
}

impl StepKind for MasterShellCommand {
    const NAME: &'static str = "MasterShellCommand";

    async fn run(&self, context: &mut StepContext<'_>) -> Result<Results, StepEnd> {
        let Given(given, text) = self.command.get(context).await?;
        let (shown, argv): (_, Vec<String>) = match &text.line {
            CommandLine::Script(script) => {
                let argv = vec!["/bin/sh".to_owned(), "-c".to_owned(), script.real().to_owned()];
                (Shown { line: script.real().trim().to_owned(), argv: argv.clone() }, argv)
            }
            CommandLine::Argv(words) => {
                let shown: Vec<_> = words.iter().map(|word| word.shown().to_owned()).collect();
                let real = words.iter().map(|word| word.real().to_owned()).collect();
                (Shown { line: shown.join(" "), argv: shown }, real)
            }
        };
        let env = self.env.get(context).await?.map(full_environment);
        let log_environ = self.log_environ.get(context).await?.0;
        let InterruptSignal(signal) = self.interrupt_signal.get(context).await?;
        let workdir = context.config().workdir.clone();
        let dir = match context.render(&workdir).await? {
            Value::String(dir) => context.master_path(&dir),
            _ => context.basedir().to_owned(),
        };
        let Limit(limit) = self.runtime_timeout.get_or(context, DEFAULT_LIMIT).await?;
        let encoding = context.log_encoding();
        let command = MasterCommand { argv, env, dir, limit, signal, encoding };
        let stdio = context.add_log("stdio", LogKind::Stdio)?;
        context.write_header(&stdio, &command.header(&shown, log_environ))?;
        let (stop, leaving) = (context.core.stop.clone(), context.core.leaving.clone());
        let outcome: Outcome =
            context.once("master_command", &given, async || command.run(stop, leaving).await).await?;
        tell(context, &stdio, outcome)
    }

    #[cfg(test)]
    fn example() -> Value {
        serde_json::json!({"command": "echo out"})
    }
}

fn tell(context: &mut StepContext<'_>, stdio: &LogRef, outcome: Outcome) -> Result<Results, StepEnd> {
    let (code, signal, output, stopped) = match outcome {
        Outcome::Left => return Err(context.leave()),
        Outcome::Broken(reason) => {
            context.write_stderr(stdio, &reason)?;
            return Ok(Results::Failure);
        }
        Outcome::Ended { code, signal, output, stopped } => (code, signal, output, stopped),
    };
    for (stream, text) in output {
        match stream {
            'e' => context.write_stderr(stdio, &text)?,
            _ => context.write_log(stdio, &text)?,
        }
    }
    if stopped {
        return Ok(Results::Cancelled);
    }
    match (code, signal) {
        (Some(0), _) => Ok(Results::Success),
        (Some(code), _) => {
            context.write_header(stdio, &format!("exit status {code}"))?;
            context.set_outcome(format!("failed ({code})"));
            Ok(Results::Failure)
        }
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            context.write_header(stdio, &format!("signal {signal}"))?;
            context.set_outcome(format!("killed ({signal})"));
            Ok(Results::Failure)
        }
    }
}

/// The whole environment, when the step gives one; `${NAME}` in it stands for a variable of the master's.
fn full_environment(Env(given): Env) -> BTreeMap<String, String> {
    let variable = Regex::new(r"\$\{([0-9a-zA-Z_]*)\}").expect("the pattern is fixed");
    let own = |found: &Captures<'_>| std::env::var(&found[1]).unwrap_or_default();
    let full = |text: &str| variable.replace_all(text, own).into_owned();
    let entries = given.into_iter().filter_map(|(name, value)| match value {
        EnvValue::Set(value) => Some((name, full(&value))),
        EnvValue::Joined(parts) => Some((name, full(&parts.join(":")))),
        EnvValue::Remove => None,
    });
    entries.collect()
}

fn signal_named(name: &str) -> Option<Signal> {
    Some(match name.strip_prefix("SIG").unwrap_or(name) {
        "KILL" => Signal::KILL,
        "TERM" => Signal::TERM,
        "INT" => Signal::INT,
        "HUP" => Signal::HUP,
        "QUIT" => Signal::QUIT,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        _ => return None,
    })
}

impl MasterCommand {
    fn header(&self, shown: &Shown, log_environ: bool) -> String {
        let Shown { line, argv } = shown;
        let (dir, argv) = (self.dir.display(), py_repr(&serde_json::json!(argv)));
        let mut lines = format!("{line}\n\n** RUNNING ON BUILDMASTER **\n in dir {dir}\n argv: {argv}\n");
        if let Some(env) = self.env.as_ref().filter(|_| log_environ) {
            lines.push_str(&format!(" env: {}\n", py_repr(&serde_json::json!(env))));
        }
        lines
    }

    async fn run(&self, mut stop: StopReceiver, leaving: CancellationToken) -> Outcome {
        let mut child = match self.spawn() {
            Ok(child) => child,
            Err(error) => return Outcome::Broken(format!("can't run {}: {error}", self.argv.join(" "))),
        };
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let reading =
            tokio::spawn(read_both(child.stdout.take(), child.stderr.take(), self.encoding.clone()));
        let mut overdue = pin!(wait(self.limit.map(Duration::from_secs_f64)));
        let mut patience = pin!(wait(None));
        let (mut stopped, mut killed) = (false, false);
        let status = loop {
            tokio::select! {
                status = child.wait() => match status {
                    Ok(status) => break status,
                    Err(error) => return Outcome::Broken(format!("can't wait for the command: {error}")),
                },
                () = &mut overdue, if !killed => {
                    end(group, Signal::KILL);
                    killed = true;
                }
                () = &mut patience, if !killed => {
                    end(group, Signal::KILL);
                    killed = true;
                }
                () = ordered(&mut stop) => {
                    stop.carry_out();
                    if stopped {
                        end(group, Signal::KILL);
                        killed = true;
                    } else {
                        end(group, self.signal);
                        patience.set(wait(Some(PATIENCE)));
                        stopped = true;
                    }
                }
                () = leaving.cancelled() => {
                    end(group, Signal::KILL);
                    return Outcome::Left;
                }
            }
        };
        // Processes that the command left behind may hold its pipes open; nobody waits for them.
        let output = match tokio::time::timeout(DRAIN, reading).await {
            Ok(Ok(output)) => output,
            Ok(Err(_)) | Err(_) => vec![('e', "its output could not be read to the end\n".to_owned())],
        };
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        Outcome::Ended { code: status.code(), signal, output, stopped }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let (program, arguments) =
            self.argv.split_first().ok_or_else(|| std::io::Error::other("there is no program"))?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.dir).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(env) = &self.env {
            command.env_clear().envs(env);
        }
        command.spawn()
    }
}

/// Waits for so long, or for ever.
async fn wait(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => pending().await,
    }
}

fn end(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group
        && let Err(error) = kill_process_group(group, signal)
    {
        tracing::debug!(%error, "the command on the master has ended already");
    }
}

/// Reads both streams to their ends, as whole lines, in the order in which they come.
async fn read_both(
    stdout: Option<impl AsyncRead + Unpin>,
    stderr: Option<impl AsyncRead + Unpin>,
    encoding: Option<String>,
) -> Vec<(char, String)> {
    let encoding = encoding.as_deref();
    let (mut stdout, mut stderr) = (Reading::new('o', stdout, encoding), Reading::new('e', stderr, encoding));
    let mut output: Vec<(char, String)> = Vec::new();
    let mut kept = 0;
    while stdout.stream.is_some() || stderr.stream.is_some() {
        let (marker, text) = tokio::select! {
            text = stdout.next(), if stdout.stream.is_some() => ('o', text),
            text = stderr.next(), if stderr.stream.is_some() => ('e', text),
        };
        if text.is_empty() || kept > MAX_OUTPUT {
            continue;
        }
        kept += text.len();
        match output.last_mut().filter(|(last, _)| *last == marker) {
            Some((_, before)) => before.push_str(&text),
            None => output.push((marker, text)),
        }
    }
    if kept > MAX_OUTPUT {
        output.push(('e', format!("what followed after {MAX_OUTPUT} bytes is not kept\n")));
    }
    output
}

struct Reading<R> {
    marker: char,
    stream: Option<R>,
    lines: LineSplitter,
    /// Where it is not UTF-8.
    decoder: Option<TextDecoder>,
}

impl<R: AsyncRead + Unpin> Reading<R> {
    fn new(marker: char, stream: Option<R>, encoding: Option<&str>) -> Reading<R> {
        let decoder = encoding.and_then(TextDecoder::new);
        Reading { marker, stream, lines: LineSplitter::new(MAX_LINE), decoder }
    }

    /// Lines that are whole now; at the end of the stream its last one.
    async fn next(&mut self) -> String {
        let Some(stream) = &mut self.stream else { return String::new() };
        let mut block = [0; 8192];
        match stream.read(&mut block).await {
            Ok(count) if count > 0 => match &mut self.decoder {
                Some(decoder) => self.lines.push(&decoder.push(&block[..count], false)),
                None => self.lines.push_bytes(&block[..count]),
            },
            ended => {
                if let Err(error) = ended {
                    tracing::warn!(%error, stream = %self.marker, "can't read the output of a command on the master");
                }
                self.stream = None;
                let rest = self.decoder.take().map(|mut decoder| decoder.push(b"", true)).unwrap_or_default();
                match rest.is_empty() {
                    true => self.lines.finish(),
                    false => self.lines.push(&rest) + &self.lines.finish(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use tokio::{io::AsyncBufReadExt, net::UnixListener, sync::watch};

    use super::*;
    use crate::effects::StopOrder;

    /// A command that heeds no TERM, but says to a socket in `dir` that it has got it, and before that it can.
    fn stubborn(dir: &Path) -> MasterCommand {
        let script = "import signal, socket, time; s = socket.socket(socket.AF_UNIX); s.connect('told'); \
                      signal.signal(signal.SIGTERM, lambda *_: s.sendall(b'TERM\\n')); s.sendall(b'ready\\n'); \
                      time.sleep(1000)";
        let argv = ["python3", "-c", script].map(str::to_owned).to_vec();
        MasterCommand {
            argv,
            env: None,
            dir: dir.to_owned(),
            limit: None,
            signal: Signal::TERM,
            encoding: None,
        }
    }

    type Orders = watch::Sender<Option<Arc<StopOrder>>>;

    fn order(number: i64) -> Option<Arc<StopOrder>> {
        Some(Arc::new(StopOrder { number, reason: String::new() }))
    }

    /// Runs it, and orders it to stop as soon as it is ready; once it has got the signal, `then` is done.
    async fn ended(then: Option<fn(&Orders, &CancellationToken)>) -> Outcome {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixListener::bind(dir.path().join("told")).unwrap();
        let (stop, newest) = watch::channel(None);
        let leaving = CancellationToken::new();
        let stops = async {
            let (stream, _) = socket.accept().await.unwrap();
            let mut lines = tokio::io::BufReader::new(stream).lines();
            assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
            stop.send_replace(order(1));
            if let Some(then) = then {
                assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("TERM"));
                then(&stop, &leaving);
            }
        };
        let command = stubborn(dir.path());
        let ran = command.run(StopReceiver::new(newest, None), leaving.clone());
        let (outcome, ()) = tokio::join!(ran, stops);
        outcome
    }

    fn is_killed(outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Ended { signal: Some(9), stopped: true, .. })
    }

    // Nothing waits for the paused clock: it goes on as soon as only timers are left.
    #[tokio::test(start_paused = true)]
    async fn a_command_that_heeds_no_signal_is_killed_after_a_while() {
        let begun = tokio::time::Instant::now();
        let outcome = ended(None).await;
        assert!(is_killed(&outcome) && begun.elapsed() >= PATIENCE, "{outcome:?}");
    }

    #[tokio::test]
    async fn a_second_order_kills_at_once() {
        let begun = tokio::time::Instant::now();
        let outcome = ended(Some(|stop, _| drop(stop.send_replace(order(2))))).await;
        assert!(is_killed(&outcome) && begun.elapsed() < PATIENCE, "{outcome:?}");
    }

    #[tokio::test]
    async fn a_master_that_goes_does_not_wait_for_such_a_command() {
        assert!(matches!(ended(Some(|_, leaving| leaving.cancel())).await, Outcome::Left));
    }

    #[test]
    fn the_log_begins_with_what_is_run() {
        let command = MasterCommand {
            argv: Vec::new(),
            env: Some(BTreeMap::from([("A".to_owned(), "b".to_owned())])),
            dir: "/srv/ci".into(),
            limit: None,
            encoding: None,
            signal: Signal::KILL,
        };
        let shown = Shown { line: "echo 'x'".to_owned(), argv: vec!["echo".to_owned(), "'x'".to_owned()] };
        let head = "echo 'x'\n\n** RUNNING ON BUILDMASTER **\n in dir /srv/ci\n argv: ['echo', \"'x'\"]\n";
        assert_eq!(command.header(&shown, false), head);
        assert_eq!(command.header(&shown, true), format!("{head} env: {{'A': 'b'}}\n"));
    }
}
