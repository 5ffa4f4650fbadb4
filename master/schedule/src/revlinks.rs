//! Pages about a commit, guessed from the address of its repository (`docs/compat/behaviour-3-changes-schedulers.md` 3.1).

/// The page that a well-known host has about `revision`, if the repository is on one.
pub fn link(revision: &str, repository: &str) -> Option<String> {
    if revision.is_empty() {
        return None;
    }
    github(revision, repository)
        .or_else(|| bitbucket(revision, repository))
        .or_else(|| source_forge(revision, repository))
}

fn github(revision: &str, repository: &str) -> Option<String> {
    let path = path_on(repository, "github.com", &["https://", "git://", "git@", "ssh://git@"])?;
    let (owner, name) = owner_and_name(path)?;
    Some(format!("https://github.com/{owner}/{name}/commit/{revision}"))
}

fn bitbucket(revision: &str, repository: &str) -> Option<String> {
    let path = path_on(repository, "bitbucket.org", &["https://", "git@", "ssh://git@"])?;
    let (owner, name) = owner_and_name(path)?;
    Some(format!("https://bitbucket.org/{owner}/{name}/commits/{revision}"))
}

fn source_forge(revision: &str, repository: &str) -> Option<String> {
    let rest = ["git://", "ssh://", "https://", "http://"]
        .iter()
        .find_map(|scheme| repository.strip_prefix(scheme))?;
    let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
    let path = rest.strip_prefix("git.code.sf.net/p/")?.trim_end_matches('/');
    Some(format!("https://sourceforge.net/p/{path}/ci/{revision}/"))
}

/// The path of a repository on `host`, behind `:` or `/`.
fn path_on<'a>(repository: &'a str, host: &str, schemes: &[&str]) -> Option<&'a str> {
    let rest = schemes.iter().find_map(|scheme| repository.strip_prefix(scheme))?;
    rest.strip_prefix(host)?.strip_prefix([':', '/'])
}

fn owner_and_name(path: &str) -> Option<(&str, &str)> {
    let (owner, name) = path.trim_end_matches('/').split_once('/')?;
    let name = name.strip_suffix(".git").unwrap_or(name);
    (!owner.is_empty() && !name.is_empty() && !name.contains('/')).then_some((owner, name))
}

#[cfg(test)]
mod tests {
    use super::link;

    #[test]
    fn well_known_hosts_have_pages() {
        let cases = [
            ("https://github.com/o/r.git", Some("https://github.com/o/r/commit/abc")),
            ("git@github.com:o/r", Some("https://github.com/o/r/commit/abc")),
            ("git@bitbucket.org:o/r.git", Some("https://bitbucket.org/o/r/commits/abc")),
            ("git://git.code.sf.net/p/proj/code", Some("https://sourceforge.net/p/proj/code/ci/abc/")),
            ("/srv/repo", None),
            ("https://github.com/o", None),
        ];
        for (repository, expected) in cases {
            assert_eq!(link("abc", repository).as_deref(), expected, "{repository}");
        }
        assert_eq!(link("", "https://github.com/o/r"), None);
    }
}
