//! What an upload that did not come to its end leaves: removed by its step, and what a killed master left, later. Each
//! upload has a note with the place of its part, below the master's directory, for as long as there may be one.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use muster_core::BuildId;

/// Where the notes are, below the master's base directory.
const NOTES: &str = "uploads";

/// The note about one upload.
#[derive(Clone, Debug)]
pub(super) struct Note(PathBuf);

impl Note {
    /// The note about the upload of a step; a step uploads one thing at a time.
    pub(super) fn new(basedir: &Path, build: BuildId, step: u32) -> Note {
        Note(basedir.join(NOTES).join(format!("{build}-{step}")))
    }

    /// Writes where the part is going to be.
    pub(super) fn write(&self, part: &Path) -> io::Result<()> {
        if let Some(directory) = self.0.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&self.0, part.as_os_str().as_encoded_bytes())
    }

    /// Removes the part, what was unpacked of it, and then the note.
    pub(super) fn clear(&self, part: &Path) {
        let removed = [remove_file(part), remove_tree(&unpacked(part)), remove_file(&self.0)];
        for error in removed.into_iter().filter_map(Result::err) {
            tracing::warn!(path = %part.display(), %error, "can't remove the rest of an upload");
        }
    }
}

/// Where a part is unpacked before it takes the place of its target.
pub(super) fn unpacked(part: &Path) -> PathBuf {
    let mut path = part.as_os_str().to_owned();
    path.push(".d");
    path.into()
}

/// Whether any upload was ever noted there.
pub(crate) fn has_noted_uploads(basedir: &Path) -> bool {
    basedir.join(NOTES).is_dir()
}

/// Builds whose uploads are noted.
pub(crate) fn noted_uploads(basedir: &Path) -> Vec<BuildId> {
    let mut builds: Vec<BuildId> = notes(basedir).into_iter().map(|(build, _)| build).collect();
    builds.sort();
    builds.dedup();
    builds
}

/// Removes what is left of the uploads of builds that are over; answers how many there were.
pub(crate) fn clear_uploads(basedir: &Path, over: &[BuildId]) -> usize {
    let due: Vec<Note> = notes(basedir)
        .into_iter()
        .filter_map(|(build, note)| over.contains(&build).then_some(note))
        .collect();
    for note in &due {
        match fs::read(&note.0) {
            Ok(bytes) => note.clear(Path::new(OsStr::from_bytes(&bytes))),
            Err(error) => {
                tracing::warn!(path = %note.0.display(), %error, "can't read the note about an upload");
            }
        }
    }
    due.len()
}

fn notes(basedir: &Path) -> Vec<(BuildId, Note)> {
    // Without the directory nothing was ever uploaded.
    let Ok(entries) = fs::read_dir(basedir.join(NOTES)) else { return Vec::new() };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.to_owned()));
    names
        .filter_map(|name| {
            let (build, step) = name.split_once('-')?;
            let build = BuildId(build.parse().ok()?);
            Some((build, Note::new(basedir, build, step.parse().ok()?)))
        })
        .collect()
}

fn remove_file(path: &Path) -> io::Result<()> {
    unless_gone(fs::remove_file(path))
}

fn remove_tree(path: &Path) -> io::Result<()> {
    unless_gone(fs::remove_dir_all(path))
}

fn unless_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_master_left_goes_when_its_build_is_over() {
        let dir = tempfile::tempdir().unwrap();
        assert!(noted_uploads(dir.path()).is_empty());
        let parts: Vec<PathBuf> = (1..3).map(|build| dir.path().join(format!(".x.{build}-4.part"))).collect();
        for (build, part) in (1..3).zip(&parts) {
            Note::new(dir.path(), BuildId(build), 4).write(part).unwrap();
            fs::write(part, "half").unwrap();
            fs::create_dir_all(unpacked(part).join("sub")).unwrap();
        }
        fs::write(dir.path().join(NOTES).join("no note"), "").unwrap();
        assert_eq!(noted_uploads(dir.path()), [BuildId(1), BuildId(2)]);
        assert_eq!(clear_uploads(dir.path(), &[BuildId(2), BuildId(7)]), 1);
        assert!(parts[0].exists() && unpacked(&parts[0]).exists());
        assert!(!parts[1].exists() && !unpacked(&parts[1]).exists());
        assert_eq!(noted_uploads(dir.path()), [BuildId(1)]);
    }
}
