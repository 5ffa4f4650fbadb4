//! `worker.toml`: what `create-worker` writes and `worker` reads.
//!
//! Lines `name = value`, where a value is a string in double quotes or a list of such strings: TOML's simplest part,
//! and JSON's, so that no further parser is needed.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The file's name in the worker's directory.
pub const NAME: &str = "worker.toml";
/// Largest file that is read.
const MAX_BYTES: u64 = 64 * 1024;

/// What a worker is, as its file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkerFile {
    /// Where masters listen.
    pub masters: Vec<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its password.
    pub password: Option<String>,
}

impl WorkerFile {
    /// What stands in `dir`; nothing when there is no such file.
    pub fn read(dir: &Path) -> Result<WorkerFile> {
        let path = dir.join(NAME);
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(WorkerFile::default()),
            Ok(found) if found.len() > MAX_BYTES => bail!("{} is too long", path.display()),
            _ => {}
        }
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
        WorkerFile::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<WorkerFile> {
        let mut file = WorkerFile::default();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            file.set(line).with_context(|| format!("line {number}"))?;
        }
        Ok(file)
    }

    fn set(&mut self, line: &str) -> Result<()> {
        let Some((name, value)) = line.split_once('=') else {
            bail!("write it as name = \"value\"");
        };
        let text = || serde_json::from_str(value.trim()).context("the value must stand in double quotes");
        match name.trim() {
            "name" => self.name = Some(text()?),
            "password" => self.password = Some(text()?),
            "masters" => {
                let list = serde_json::from_str(value.trim());
                self.masters = list.context("write the value as [\"ws://HOST:PORT\"]")?;
            }
            other => bail!("unknown name {other:?}; there are masters, name and password"),
        }
        Ok(())
    }

    /// Writes a new file that only its owner may read.
    pub fn create(&self, dir: &Path) -> Result<()> {
        let path = dir.join(NAME);
        let text = self.text()?;
        let opened = File::options().write(true).create_new(true).mode(0o600).open(&path);
        let told = || format!("can't write {}; remove it first if it is no longer needed", path.display());
        opened.and_then(|mut file| file.write_all(text.as_bytes())).with_context(told)
    }

    fn text(&self) -> Result<String> {
        let mut text = "# What `muster worker` reads. Keep it private: it holds the password.\n".to_owned();
        text += &format!("masters = {}\n", serde_json::to_string(&self.masters)?);
        for (name, value) in [("name", &self.name), ("password", &self.password)] {
            if let Some(value) = value {
                text += &format!("{name} = {}\n", serde_json::to_string(value)?);
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let file = WorkerFile {
            masters: vec!["ws://a:1".to_owned(), "ws://[::1]".to_owned()],
            name: Some("w1".to_owned()),
            password: Some("with \"quotes\" = and ä".to_owned()),
        };
        file.create(dir.path()).unwrap();
        assert_eq!(WorkerFile::read(dir.path()).unwrap(), file);
        let mode = std::fs::metadata(dir.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(file.create(dir.path()).is_err(), "an existing file is kept");
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, said) in [
            ("# c\nnmae = \"x\"", "line 2: unknown name"),
            ("name = x", "line 1: the value must stand in double quotes"),
            ("what", "line 1: write it as"),
        ] {
            let error = format!("{:#}", WorkerFile::parse(text).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
    }
}
