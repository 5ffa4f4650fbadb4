//! The interpreter that evaluates configurations.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Oldest version that is good enough.
pub const OLDEST: (u32, u32) = (3, 9);

/// Names that are tried, in this order.
const NAMES: [&str; 7] =
    ["python3", "python3.13", "python3.12", "python3.11", "python3.10", "python3.9", "python"];

/// The first interpreter in the directories of `path` (the value of `PATH`); `python3` by name when there is none, so
/// that starting it gives the error.
pub fn find(path: Option<&OsString>) -> PathBuf {
    let directories: Vec<PathBuf> =
        path.map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
    let candidates = NAMES.iter().flat_map(|name| directories.iter().map(move |dir| dir.join(name)));
    candidates.into_iter().find(|candidate| is_program(candidate)).unwrap_or_else(|| PathBuf::from(NAMES[0]))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether a version such as `3.11.2` is new enough.
pub(crate) fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    matches!((parts.next(), parts.next()), (Some(major), Some(minor)) if (major, minor) >= OLDEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_new_enough("3.9.0"));
        assert!(is_new_enough("3.13.1"));
        assert!(!is_new_enough("3.8.20"));
        assert!(!is_new_enough("2.7.18"));
        assert!(!is_new_enough("unknown"));
    }

    #[test]
    fn without_a_path_the_usual_name_is_left() {
        assert_eq!(find(None), PathBuf::from("python3"));
    }
}
