//! Orders of a session as stock workers take them. Every key is always sent: stock workers fail on a missing one.

use muster_session::StartCommand;
use muster_session::command::{
    Argument, Command, CommandLine, Compression, DownloadFile, EnvValue, LogFile, Shell, UploadDirectory,
    UploadFile,
};
use muster_session::wire::MAX_BLOCK;

use crate::value::Value;

/// Bytes that a worker asks for at once in a download, unless the session says otherwise. Below the limits of PB and
/// of a session's frame; each block is one turn to the master and back.
const DOWNLOAD_BLOCK: u32 = 256 * 1024;

/// What moves along with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transfer {
    None,
    /// The worker writes to the master.
    Upload,
    /// The worker reads from the master.
    Download,
}

/// A command for a stock worker, with paths relative to the builder's directory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StockCommand {
    /// The builder's directory.
    pub(crate) builddir: String,
    /// The name that stock workers know.
    pub(crate) name: &'static str,
    /// Arguments as PB has them, but for the transfer's reader or writer.
    pub(crate) args: Vec<(&'static str, Value)>,
    pub(crate) transfer: Transfer,
    /// What is run, and what may be shown of it.
    pub(crate) veils: Vec<(String, String)>,
    /// Names of the files that are followed.
    pub(crate) logfiles: Vec<String>,
    /// Seconds that the command may live on after it was told to end.
    pub(crate) lingers: f64,
}

/// The order for a stock worker.
pub(crate) fn stock_command(order: &StartCommand) -> StockCommand {
    let mut stock = StockCommand {
        builddir: order.builddir.clone(),
        name: order.command.name(),
        args: Vec::new(),
        transfer: Transfer::None,
        veils: Vec::new(),
        logfiles: Vec::new(),
        lingers: 0.0,
    };
    stock.args = match &order.command {
        Command::Shell(shell) => {
            stock.veils = veils(&shell.command);
            stock.logfiles = shell.logfiles.keys().cloned().collect();
            stock.lingers = shell.sigterm_time.unwrap_or(0.0);
            shell_args(shell)
        }
        Command::UploadFile(upload) => {
            stock.transfer = Transfer::Upload;
            upload_args(upload)
        }
        Command::UploadDirectory(upload) => {
            stock.transfer = Transfer::Upload;
            upload_directory_args(upload)
        }
        Command::DownloadFile(download) => {
            stock.transfer = Transfer::Download;
            download_args(download)
        }
        Command::Mkdir { dirs } => vec![("dir", texts(dirs))],
        Command::Rmdir { dirs, timeout, max_time } => {
            let mut args = vec![("dir", texts(dirs))];
            args.extend(limits(*timeout, *max_time));
            args
        }
        Command::Cpdir { from, to, timeout, max_time } => {
            let mut args = vec![("fromdir", from.as_str().into()), ("todir", to.as_str().into())];
            args.extend(limits(*timeout, *max_time));
            args
        }
        Command::Stat { file, workdir } => {
            let mut args = vec![("file", file.as_str().into())];
            args.extend(workdir.iter().map(|workdir| ("workdir", workdir.as_str().into())));
            args
        }
        Command::Glob { pattern } => vec![("path", pattern.as_str().into())],
        Command::Listdir { dir } => vec![("dir", dir.as_str().into())],
        Command::Rmfile { path } => vec![("path", path.as_str().into())],
    };
    stock
}

fn shell_args(shell: &Shell) -> Vec<(&'static str, Value)> {
    let seconds = |limit: Option<f64>| limit.map_or(Value::None, Value::seconds);
    let env = shell.env.iter().map(|(name, value)| (name.as_str(), env_value(value)));
    let logfiles = shell.logfiles.iter().map(|(name, file)| (name.as_str(), log_file(file)));
    vec![
        ("workdir", shell.workdir.as_str().into()),
        ("command", command_line(&shell.command)),
        ("env", Value::dict(env)),
        ("want_stdout", shell.want_stdout.into()),
        ("want_stderr", shell.want_stderr.into()),
        ("logfiles", Value::dict(logfiles)),
        ("timeout", seconds(shell.timeout)),
        ("maxTime", seconds(shell.max_time)),
        ("max_lines", shell.max_lines.into()),
        ("sigtermTime", seconds(shell.sigterm_time)),
        ("interruptSignal", shell.interrupt_signal.as_str().into()),
        ("usePTY", shell.use_pty.into()),
        ("initial_stdin", shell.initial_stdin.clone().into()),
        ("logEnviron", shell.log_environ.into()),
    ]
}

/// A worker shows what it gets at the head of the log: a path alone, where that says it all, as most configurations do.
fn log_file(file: &LogFile) -> Value {
    let filename = Value::from(file.filename.as_str());
    if !file.follow {
        return filename;
    }
    Value::dict([("filename", filename), ("follow", true.into())])
}

fn env_value(value: &EnvValue) -> Value {
    match value {
        EnvValue::Set(text) => text.as_str().into(),
        EnvValue::Joined(parts) => texts(parts),
        EnvValue::Remove => Value::None,
    }
}

/// A script with a secret is run through the shell by name: only words of a list can be shown otherwise.
fn command_line(command: &CommandLine) -> Value {
    match command {
        CommandLine::Script(Argument::Plain(script)) => script.as_str().into(),
        CommandLine::Script(script) => Value::List(vec!["/bin/sh".into(), "-c".into(), argument(script)]),
        CommandLine::Argv(words) => Value::List(words.iter().map(argument).collect()),
    }
}

fn argument(argument: &Argument) -> Value {
    match argument {
        Argument::Plain(text) => text.as_str().into(),
        Argument::Obfuscated { real, shown } => {
            Value::Tuple(vec!["obfuscated".into(), real.as_str().into(), shown.as_str().into()])
        }
    }
}

fn veils(command: &CommandLine) -> Vec<(String, String)> {
    let words = match command {
        CommandLine::Script(script) => std::slice::from_ref(script),
        CommandLine::Argv(words) => words.as_slice(),
    };
    let veil = |word: &Argument| match word {
        Argument::Obfuscated { real, shown } if !real.is_empty() => Some((real.clone(), shown.clone())),
        _ => None,
    };
    words.iter().filter_map(veil).collect()
}

fn upload_args(upload: &UploadFile) -> Vec<(&'static str, Value)> {
    vec![
        ("workdir", upload.workdir.as_str().into()),
        ("workersrc", upload.source.as_str().into()),
        ("maxsize", upload.max_size.into()),
        ("blocksize", block(upload.block_size)),
        ("keepstamp", upload.keep_stamp.into()),
    ]
}

fn upload_directory_args(upload: &UploadDirectory) -> Vec<(&'static str, Value)> {
    let compress = upload.compress.map(|compress| match compress {
        Compression::Gz => "gz",
        Compression::Bz2 => "bz2",
    });
    vec![
        ("workdir", upload.workdir.as_str().into()),
        ("workersrc", upload.source.as_str().into()),
        ("maxsize", upload.max_size.into()),
        ("blocksize", block(upload.block_size)),
        ("compress", compress.into()),
    ]
}

fn download_args(download: &DownloadFile) -> Vec<(&'static str, Value)> {
    vec![
        ("workdir", download.workdir.as_str().into()),
        ("workerdest", download.destination.as_str().into()),
        ("maxsize", download.max_size.into()),
        ("blocksize", DOWNLOAD_BLOCK.into()),
        ("mode", download.mode.into()),
    ]
}

fn block(size: u32) -> Value {
    Value::Int((size as usize).clamp(1, MAX_BLOCK) as i128)
}

fn limits(timeout: Option<f64>, max_time: Option<f64>) -> [(&'static str, Value); 3] {
    let seconds = |limit: Option<f64>| limit.map_or(Value::None, Value::seconds);
    [("timeout", seconds(timeout)), ("maxTime", seconds(max_time)), ("logEnviron", Value::Bool(false))]
}

fn texts(texts: &[String]) -> Value {
    Value::List(texts.iter().map(|text| text.as_str().into()).collect())
}
