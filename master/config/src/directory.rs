//! The directory of a master: where its configuration is, by its `buildbot.tac` or by custom.

use std::path::{Path, PathBuf};

/// Name of the configuration where nothing else is said.
const DEFAULT_CONFIG: &str = "master.cfg";

/// Longest `buildbot.tac` that is read, in bytes. Real ones have about one thousand.
const MAX_TAC: u64 = 1 << 20;

/// What a master directory says about itself. Only the five names that stand in `buildbot.tac` are read; the file is
/// Python, but it is not run.
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

/// Finds the configuration that `path` means: a file, or the directory of a master.
///
/// # Errors
/// One text that says what is missing.
pub fn find_config(path: &Path) -> Result<MasterDirectory, String> {
    if path.is_dir() {
        return from_directory(path);
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

fn from_directory(directory: &Path) -> Result<MasterDirectory, String> {
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
    Ok(parse_tac(directory, &text))
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
        let found = find_config(directory.path()).unwrap();
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
        assert!(find_config(directory.path()).unwrap_err().contains("not the directory of a build master"));
    }

    #[test]
    fn without_a_tac_custom_decides() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(find_config(directory.path()).unwrap().config_file, "master.cfg");
        assert!(find_config(&directory.path().join("nowhere")).unwrap_err().contains("does not exist"));
    }
}
