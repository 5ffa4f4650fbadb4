//! What the worker's git can do.

/// The version of a git, as numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GitVersion(Vec<u32>);

impl GitVersion {
    /// Reads the answer of `git --version`; `None` when it isn't git's.
    pub(super) fn read(answer: &str) -> Option<GitVersion> {
        let version = answer.trim_start().strip_prefix("git version ")?;
        let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
        let numbers: Vec<u32> = version[..end].split('.').map_while(|number| number.parse().ok()).collect();
        (!numbers.is_empty()).then_some(GitVersion(numbers))
    }

    fn is_at_least(&self, numbers: &[u32]) -> bool {
        self.0.as_slice() >= numbers
    }

    /// `clone --filter`
    pub(super) fn knows_filters(&self) -> bool {
        self.is_at_least(&[2, 27])
    }

    /// `core.sshCommand`
    pub(super) fn knows_ssh_option(&self) -> bool {
        self.is_at_least(&[2, 10])
    }

    /// `GIT_SSH_COMMAND`
    pub(super) fn knows_ssh_variable(&self) -> bool {
        self.is_at_least(&[2, 3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_number_by_number() {
        let old = GitVersion::read("git version 2.9.5\n").unwrap();
        let new = GitVersion::read("git version 2.39.5 (Apple Git-154)\n").unwrap();
        assert!(!old.knows_ssh_option() && old.knows_ssh_variable());
        assert!(new.knows_filters() && new.knows_ssh_option() && new > old);
        assert_eq!(GitVersion::read("git version 2.11.0.windows.1"), Some(GitVersion(vec![2, 11, 0])));
        assert_eq!(GitVersion::read("sh: git: not found"), None);
    }
}
