//! Paths on the worker: over msgpack the master makes them absolute (`docs/compat/worker-protocol.md` 2.3).

use crate::translate::{StockCommand, Transfer};
use crate::value::Value;

/// What a worker told about its files.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Places {
    pub(crate) basedir: String,
    pub(crate) windows: bool,
    /// For `~`.
    pub(crate) home: Option<String>,
}

impl Places {
    /// From the worker's information, which holds its environment.
    pub(crate) fn of(info: &Value) -> Places {
        let text = |value: Option<&Value>| value.and_then(Value::as_text);
        let windows = text(info.get("system")).as_deref() == Some("nt");
        let environ = info.get("environ");
        let variable = |name: &str| text(environ.and_then(|environ| environ.get(name)));
        let home = if windows { variable("USERPROFILE") } else { variable("HOME") };
        Places { basedir: text(info.get("basedir")).unwrap_or_default(), windows, home }
    }

    /// `path`, below `base` unless it is absolute.
    pub(crate) fn join(&self, base: &str, path: &str) -> String {
        if path.is_empty() {
            return base.to_owned();
        }
        if self.is_absolute(path) || base.is_empty() {
            return path.to_owned();
        }
        let separator = if self.windows { '\\' } else { '/' };
        match base.ends_with(separator) || self.windows && base.ends_with('/') {
            true => format!("{base}{path}"),
            false => format!("{base}{separator}{path}"),
        }
    }

    fn is_absolute(&self, path: &str) -> bool {
        let drive = || path.as_bytes().get(1) == Some(&b':');
        path.starts_with('/') || self.windows && (path.starts_with('\\') || drive())
    }

    /// `~` and `~/…` stand for the home of the worker's user.
    fn expand(&self, path: &str) -> String {
        let rest = path.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with(['/', '\\']));
        match (rest, &self.home) {
            (Some(rest), Some(home)) => format!("{home}{rest}"),
            _ => path.to_owned(),
        }
    }
}

/// Name and arguments of a command as msgpack has them.
pub(crate) fn for_msgpack(command: StockCommand, places: &Places) -> (&'static str, Value) {
    let builder = places.join(&places.basedir, &command.builddir);
    let text = |key: &str| {
        let found = command.args.iter().find(|(known, _)| *known == key);
        found.and_then(|(_, value)| value.as_text()).unwrap_or_default()
    };
    let workdir = places.join(&builder, &text("workdir"));
    let below = |base: &str, key: &str| Value::from(places.join(base, &places.expand(&text(key))));
    let (name, extra): (_, Vec<(&'static str, Value)>) = match command.name {
        "shell" => ("shell", vec![("workdir", workdir.into())]),
        "uploadFile" => ("upload_file", vec![("path", below(&workdir, "workersrc"))]),
        "uploadDirectory" => ("upload_directory", vec![("path", below(&workdir, "workersrc"))]),
        "downloadFile" => ("download_file", vec![("path", below(&workdir, "workerdest"))]),
        "mkdir" | "rmdir" => {
            let dirs = command.args.iter().find(|(key, _)| *key == "dir");
            let dirs = dirs.and_then(|(_, dirs)| dirs.elements()).unwrap_or_default();
            let absolute =
                |dir: &Value| Value::from(places.join(&builder, &dir.as_text().unwrap_or_default()));
            (command.name, vec![("paths", Value::List(dirs.iter().map(absolute).collect()))])
        }
        "cpdir" => {
            ("cpdir", vec![("from_path", below(&builder, "fromdir")), ("to_path", below(&builder, "todir"))])
        }
        "stat" => ("stat", vec![("path", below(&workdir, "file"))]),
        "listdir" => ("listdir", vec![("path", below(&builder, "dir"))]),
        name => (name, vec![("path", below(&builder, "path"))]),
    };
    let gone = ["dir", "fromdir", "todir"];
    let replaced = |key: &str| gone.contains(&key) || extra.iter().any(|(known, _)| *known == key);
    let kept = command.args.iter().filter(|(key, _)| !replaced(key));
    let mut args: Vec<(&'static str, Value)> = kept.map(|(key, value)| (*key, plain(value))).collect();
    args.extend(extra);
    if command.transfer == Transfer::Download {
        args.retain(|(key, _)| *key != "reader");
    }
    (name, Value::dict(args))
}

/// msgpack has no tuples, so a covered word of a command line would be taken for a list: it is sent as what is run,
/// and covered in what comes back.
fn plain(value: &Value) -> Value {
    match value {
        Value::Tuple(parts) => match parts.as_slice() {
            [Value::Text(tag), real, _] if tag == "obfuscated" => real.clone(),
            _ => Value::List(parts.clone()),
        },
        Value::List(values) => Value::List(values.iter().map(plain).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use muster_session::command::{Argument, CommandLine, Shell};
    use muster_session::{Command, StartCommand};

    use super::*;
    use crate::translate::stock_command;

    fn posix() -> Places {
        Places { basedir: "/srv/w".into(), windows: false, home: Some("/home/bb".into()) }
    }

    fn sent(command: Command, places: &Places) -> (&'static str, Value) {
        for_msgpack(stock_command(&StartCommand { builddir: "b".into(), command }), places)
    }

    fn path(args: &Value, key: &str) -> String {
        args.get(key).and_then(Value::as_text).unwrap_or_else(|| panic!("no {key} in {args:?}"))
    }

    #[test]
    fn paths_are_absolute() {
        let (name, args) =
            sent(Command::Shell(Shell { workdir: "build".into(), ..Shell::default() }), &posix());
        assert_eq!((name, path(&args, "workdir")), ("shell", "/srv/w/b/build".into()));
        let (_, args) = sent(Command::Glob { pattern: "/abs/*".into() }, &posix());
        assert_eq!(path(&args, "path"), "/abs/*");
        let (_, args) = sent(Command::Stat { file: "x".into(), workdir: Some("build".into()) }, &posix());
        assert_eq!(path(&args, "path"), "/srv/w/b/build/x");
        let (_, args) = sent(Command::Mkdir { dirs: vec!["x".into(), "y".into()] }, &posix());
        assert_eq!(args.get("paths"), Some(&Value::List(vec!["/srv/w/b/x".into(), "/srv/w/b/y".into()])));
        assert_eq!(args.get("dir"), None);
        let (_, args) = sent(Command::Rmfile { path: "~/x".into() }, &posix());
        assert_eq!(path(&args, "path"), "/home/bb/x");
    }

    #[test]
    fn windows_has_its_own_rules() {
        let places = Places { basedir: r"C:\bb".into(), windows: true, home: None };
        let (_, args) = sent(Command::Listdir { dir: "x".into() }, &places);
        assert_eq!(path(&args, "path"), r"C:\bb\b\x");
        let (_, args) = sent(Command::Listdir { dir: r"D:\x".into() }, &places);
        assert_eq!(path(&args, "path"), r"D:\x");
    }

    #[test]
    fn covered_words_are_sent_as_they_are_run() {
        let covered = Argument::Obfuscated { real: "secret".into(), shown: "XXX".into() };
        let command = CommandLine::Argv(vec!["echo".into(), covered]);
        let (_, args) = sent(Command::Shell(Shell { command, ..Shell::default() }), &posix());
        assert_eq!(args.get("command"), Some(&Value::List(vec!["echo".into(), "secret".into()])));
    }
}
