//! Paths of the master and of workers.

use std::path::PathBuf;

use crate::effects::StepContext;

impl StepContext<'_> {
    /// A path of the master: relative ones are relative to its base directory, `~` is its user's home.
    pub(super) fn master_path(&self, path: &str) -> PathBuf {
        let home = || std::env::home_dir().filter(|home| home.is_absolute());
        let expanded = match path.strip_prefix('~') {
            Some("") => home(),
            Some(rest) => rest.strip_prefix('/').and_then(|rest| Some(home()?.join(rest))),
            None => None,
        };
        self.basedir().join(expanded.unwrap_or_else(|| PathBuf::from(path)))
    }
}

/// The last part of a path, for people and for names of files beside each other.
pub(super) fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// `name` below `dir`, as the worker writes paths.
pub(super) fn join(dir: &str, name: &str) -> String {
    match dir {
        _ if name.starts_with('/') => name.to_owned(),
        "" => name.to_owned(),
        dir => format!("{}/{name}", dir.trim_end_matches('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_and_cut_as_workers_do() {
        assert_eq!(join("build", "x"), "build/x");
        assert_eq!(join("build/", "/x"), "/x");
        assert_eq!(join("", "x"), "x");
        assert_eq!(base_name("a/b/"), "b");
        assert_eq!(base_name("/"), "");
    }
}
