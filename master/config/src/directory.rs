//! The directory of a master: where its configuration is, by its `buildbot.tac` or by custom.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

/// Name of the configuration where nothing else is said.
const DEFAULT_CONFIG: &str = "master.cfg";

/// Longest `buildbot.tac` that is read, in bytes. Real ones have about one thousand.
const MAX_TAC: u64 = 1 << 20;

/// Executes the statements of a `buildbot.tac` one by one and prints what the five names are then. What fails (there may be no
/// Twisted here, and there is no Buildbot) has no part in where things are. It ends itself after half a minute.
const READER: &str = r#"
import ast, json, os, signal, sys
signal.alarm(30)
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
path = os.path.abspath(sys.argv[1])
scope = {"__file__": path, "__name__": "buildbot.tac"}
with open(path, "rb") as file:
    statements = ast.parse(file.read()).body
for statement in statements:
    try:
        exec(compile(ast.Module([statement], []), path, "exec"), scope)
    except Exception:
        pass
kinds = {"basedir": str, "configfile": str, "rotateLength": int, "maxRotatedFiles": int, "umask": int}
json.dump({name: scope[name] for name, kind in kinds.items() if type(scope.get(name)) is kind}, answers)
"#;

/// What a master directory says about itself. Only five names that `buildbot.tac` sets are read. Where they are plain values
/// the file is not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterDirectory {
    /// The base directory.
    pub basedir: PathBuf,
    /// The configuration, relative to it.
    pub config_file: String,
    /// Size at which the log is rotated, in bytes.
    pub rotate_length: Option<u64>,
    /// How many old logs are kept.
    pub max_rotated_files: Option<u64>,
    /// Mode mask of new files.
    pub umask: Option<u32>,
}

/// Finds the configuration that `path` means: a file, or the directory of a master. A `buildbot.tac` that computes where
/// things are is run by `python`.
///
/// # Errors
/// One text that says what is missing.
pub fn find_config(path: &Path, python: &Path) -> Result<MasterDirectory, String> {
    if path.is_dir() {
        return from_directory(path, python);
    }
    if !path.exists() {
        return Err(format!(
            "{} does not exist; give a configuration file or the directory of a master",
            path.display()
        ));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(MasterDirectory::plain(
        parent.unwrap_or(Path::new(".")),
        name.unwrap_or_else(|| DEFAULT_CONFIG.into()),
    ))
}

impl MasterDirectory {
    fn plain(basedir: &Path, config_file: String) -> MasterDirectory {
        MasterDirectory {
            basedir: basedir.to_owned(),
            config_file,
            rotate_length: None,
            max_rotated_files: None,
            umask: None,
        }
    }
}

fn from_directory(directory: &Path, python: &Path) -> Result<MasterDirectory, String> {
    let tac = directory.join("buildbot.tac");
    if !tac.exists() {
        return Ok(MasterDirectory::plain(directory, DEFAULT_CONFIG.into()));
    }
    let unreadable = |e: std::io::Error| format!("{} can't be read: {e}", tac.display());
    if tac.metadata().map_err(unreadable)?.len() > MAX_TAC {
        return Err(format!("{} is too long to be the file of a master", tac.display()));
    }
    let text = std::fs::read_to_string(&tac).map_err(unreadable)?;
    if !text.contains("Application('buildmaster')") && !text.contains("Application(\"buildmaster\")") {
        return Err(format!(
            "{} is not the directory of a build master: see its buildbot.tac",
            directory.display()
        ));
    }
    let mut found = parse_tac(directory, &text);
    if is_computed(&text) {
        let read = run_tac(&tac, python).map_err(|reason| {
            format!("{} computes where things are, and can't be run: {reason}", tac.display())
        })?;
        found.take(directory, read);
    }
    Ok(found)
}

/// The values of a `buildbot.tac` that was run; what is none of their kind is left out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    basedir: Option<String>,
    configfile: Option<String>,
    rotate_length: Option<i64>,
    max_rotated_files: Option<i64>,
    umask: Option<i64>,
}

impl MasterDirectory {
    fn take(&mut self, directory: &Path, read: Read) {
        if let Some(basedir) = read.basedir.filter(|basedir| basedir != ".") {
            self.basedir = directory.join(basedir);
        }
        self.config_file = read.configfile.unwrap_or_else(|| DEFAULT_CONFIG.to_owned());
        self.rotate_length = read.rotate_length.and_then(|number| number.try_into().ok());
        self.max_rotated_files = read.max_rotated_files.and_then(|number| number.try_into().ok());
        self.umask = read.umask.and_then(|number| number.try_into().ok());
    }
}

/// Whether some statement gives the directory or the configuration another value than a plain text. What Buildbot itself
/// writes, the directory of the file, is the directory that is known already.
fn is_computed(text: &str) -> bool {
    text.lines().any(|line| {
        let Some((name, value)) = line.split_once('=') else { return false };
        let compact: String = value.split('#').next().unwrap_or_default().split_whitespace().collect();
        let is_own = compact == "os.path.abspath(os.path.dirname(__file__))";
        matches!(name.trim(), "basedir" | "configfile")
            && !is_own
            && !matches!(plain_text(value), Some(rest) if rest.trim().is_empty() || rest.trim().starts_with('#'))
    })
}

/// What comes behind a plain text; `None` when the value doesn't begin with one.
fn plain_text(value: &str) -> Option<&str> {
    let value = value.trim();
    let quoted = value.strip_prefix(['r', 'u', 'b']).unwrap_or(value);
    let quote = quoted.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    quoted[1..].split_once(quote).map(|(_, rest)| rest)
}

fn run_tac(tac: &Path, python: &Path) -> Result<Read, String> {
    let done = Command::new(python)
        .args(["-c", READER])
        .arg(tac)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{} can't be started: {error}", python.display()))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).trim_end().to_owned();
        return Err(format!("{} ended with {}\n{said}", python.display(), done.status));
    }
    serde_json::from_slice(&done.stdout).map_err(|error| error.to_string())
}

fn parse_tac(directory: &Path, text: &str) -> MasterDirectory {
    let mut found = MasterDirectory::plain(directory, DEFAULT_CONFIG.into());
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        match (name.trim_end(), literal(value)) {
            ("basedir", Some(Literal::Text(basedir))) => found.basedir = directory.join(basedir),
            ("configfile", Some(Literal::Text(file))) => found.config_file = file,
            ("rotateLength", Some(Literal::Number(number))) => found.rotate_length = Some(number),
            ("maxRotatedFiles", Some(Literal::Number(number))) => found.max_rotated_files = Some(number),
            ("umask", Some(Literal::Number(number))) => found.umask = u32::try_from(number).ok(),
            _ => {}
        }
    }
    if found.basedir == directory.join(".") {
        found.basedir = directory.to_owned();
    }
    found
}

enum Literal {
    Text(String),
    Number(u64),
}

/// A plain Python literal: a string without escapes, or a number. Anything else is nothing.
fn literal(value: &str) -> Option<Literal> {
    let value = value.trim();
    let quoted = value.strip_prefix(['r', 'u', 'b']).unwrap_or(value);
    for quote in ['\'', '"'] {
        if let Some(rest) = quoted.strip_prefix(quote) {
            return rest.split_once(quote).map(|(text, _)| Literal::Text(text.to_owned()));
        }
    }
    let digits = value.split('#').next().unwrap_or_default().trim();
    let number = match digits.strip_prefix("0o") {
        Some(octal) => u64::from_str_radix(octal, 8),
        None => digits.parse(),
    };
    number.ok().map(Literal::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plain values need none.
    const NO_PYTHON: &str = "/nowhere/python3";

    #[test]
    fn what_a_tac_computes_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let tac = "import os\nfrom no.such.module import service\nprint('disturbs nobody')\n\
                   here = os.path.dirname(os.path.abspath(__file__))\nbasedir = os.path.join(here, 'x')\n\
                   configfile = 'conf' + '/site.cfg'\nrotateLength = '5'\nmaxRotatedFiles = 2 * 3\n\
                   application = service.Application('buildmaster')\n";
        std::fs::write(directory.path().join("buildbot.tac"), tac).unwrap();
        let python = crate::python::find(std::env::var_os("PATH").as_ref());
        let found = find_config(directory.path(), &python).unwrap();
        assert_eq!(found.basedir, directory.path().join("x"));
        assert_eq!(found.config_file, "conf/site.cfg");
        assert_eq!((found.rotate_length, found.max_rotated_files, found.umask), (None, Some(6), None));
        let refused = find_config(directory.path(), NO_PYTHON.as_ref()).unwrap_err();
        assert!(refused.contains("computes where things are"), "{refused}");
    }

    const TAC: &str = r#"
import os
basedir = '.'
rotateLength = 10000000
maxRotatedFiles = None
configfile = 'site.cfg'
if basedir == '.':
    basedir = os.path.abspath(os.path.dirname(__file__))
umask = 0o022
application = service.Application('buildmaster')
m = BuildMaster(basedir, configfile, umask)
"#;

    #[test]
    fn a_tac_names_the_configuration() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("buildbot.tac"), TAC).unwrap();
        let found = find_config(directory.path(), NO_PYTHON.as_ref()).unwrap();
        assert_eq!(found.basedir, directory.path());
        assert_eq!(found.config_file, "site.cfg");
        assert_eq!((found.rotate_length, found.max_rotated_files), (Some(10_000_000), None));
        assert_eq!(found.umask, Some(0o022));
    }

    #[test]
    fn another_basedir_is_believed() {
        let tac = "basedir = r'/srv/master'\n# Application('buildmaster')\n";
        assert_eq!(parse_tac(Path::new("/here"), tac).basedir, Path::new("/srv/master"));
    }

    #[test]
    fn a_workers_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("buildbot.tac"), "Application('buildbot-worker')").unwrap();
        assert!(
            find_config(directory.path(), NO_PYTHON.as_ref())
                .unwrap_err()
                .contains("not the directory of a build master")
        );
    }

    #[test]
    fn without_a_tac_custom_decides() {
        let directory = tempfile::tempdir().unwrap();
        let none: &Path = NO_PYTHON.as_ref();
        assert_eq!(find_config(directory.path(), none).unwrap().config_file, "master.cfg");
        assert!(find_config(&directory.path().join("nowhere"), none).unwrap_err().contains("does not exist"));
    }
}
