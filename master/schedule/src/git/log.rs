//! The answer of `git log`: what each commit says about itself.

use muster_core::Timestamp;

use super::GitError;

/// One commit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Commit {
    pub(crate) revision: String,
    /// `Name <address>`, as the repository's mailmap has it.
    pub(crate) author: String,
    pub(crate) committer: String,
    pub(crate) committed_at: Timestamp,
    pub(crate) comments: String,
    /// Paths that differ from the first parent.
    pub(crate) files: Vec<String>,
}

/// The format that [`parse`] reads, together with `-z --name-only`. A record begins with an empty field, which no name
/// of a file can be.
pub(super) const FORMAT: &str = "--format=%x00%H%x00%aN <%aE>%x00%cN <%cE>%x00%ct%x00%s%n%b";

/// The commits of a log, in its order.
pub(super) fn parse(output: &str) -> Result<Vec<Commit>, GitError> {
    let mut fields = output.split('\0').peekable();
    let mut commits = Vec::new();
    while let Some(start) = fields.next() {
        if fields.peek().is_none() {
            // What follows the last terminator.
            break;
        }
        if !start.is_empty() {
            return Err(unexpected(start));
        }
        let mut field = || fields.next().ok_or_else(|| unexpected("the end"));
        let (revision, author, committer, time, comments) =
            (field()?, field()?, field()?, field()?, field()?);
        let committed_at = time.parse().map(Timestamp).map_err(|_| unexpected(time))?;
        let mut files = Vec::new();
        while let Some(file) = fields.next_if(|field| !field.is_empty()) {
            // A line break stands between the text and the names.
            let file = if files.is_empty() { file.strip_prefix('\n').unwrap_or(file) } else { file };
            files.push(file.to_owned());
        }
        commits.push(Commit {
            revision: revision.to_owned(),
            author: author.to_owned(),
            committer: committer.to_owned(),
            committed_at,
            comments: comments.trim().to_owned(),
            files,
        });
    }
    Ok(commits)
}

fn unexpected(text: &str) -> GitError {
    GitError::Unexpected { command: "log".to_owned(), text: text.chars().take(80).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_record_by_record() {
        let output = "\0aaa\0A <a@x>\0C <c@x>\x0012\0subject\nbody\n\0\nb ü\0d/c\0\
                      \0bbb\0A <a@x>\0C <c@x>\x0011\0empty commit\n\0\
                      \0ccc\0A <a@x>\0C <c@x>\x0010\0first\n\0\nfile\0";
        let commits = parse(output).unwrap();
        let seen: Vec<_> =
            commits.iter().map(|c| (c.revision.as_str(), c.comments.as_str(), c.files.clone())).collect();
        assert_eq!(
            seen,
            [
                ("aaa", "subject\nbody", vec!["b ü".to_owned(), "d/c".to_owned()]),
                ("bbb", "empty commit", vec![]),
                ("ccc", "first", vec!["file".to_owned()]),
            ]
        );
        assert_eq!(commits[0].committed_at, Timestamp(12));
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn what_is_no_log_is_refused() {
        assert!(parse("hello\0world\0").is_err());
        assert!(parse("\0aaa\0A\0C\0yesterday\0text\0").is_err());
        assert!(parse("\0aaa\0A\0").is_err());
    }
}
