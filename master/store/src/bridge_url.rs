//! `db_url`, as `master.cfg` writes it.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DbUrl {
    /// A file.
    Sqlite(PathBuf),
}

impl DbUrl {
    /// Reads a URL: `sqlite:///state.sqlite` is relative to `basedir`, four slashes make it absolute, and
    /// `%(basedir)s` stands for the base directory.
    pub fn parse(url: &str, basedir: &Path) -> Result<DbUrl> {
        let refuse = |reason: &str| Err(Error::Url { url: url.to_owned(), reason: reason.to_owned() });
        let Some((scheme, rest)) = url.split_once("://") else {
            return refuse("write it as sqlite:///state.sqlite");
        };
        // SQLAlchemy names its driver behind a plus sign; which driver it is makes no difference here.
        let dialect = scheme.split('+').next().unwrap_or(scheme);
        match dialect {
            "sqlite" => {}
            "postgresql" | "postgres" | "mysql" | "mariadb" => {
                return refuse("this version of Muster runs on SQLite only; write sqlite:///state.sqlite");
            }
            _ => return refuse("unknown kind of database; write sqlite:///state.sqlite"),
        }
        let path = rest.split('?').next().unwrap_or(rest).strip_prefix('/').unwrap_or_default();
        if path.is_empty() {
            return refuse("name a file, as in sqlite:///state.sqlite (a database in memory would be lost)");
        }
        let path = path.replace("%(basedir)s", &basedir.to_string_lossy());
        Ok(DbUrl::Sqlite(basedir.join(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_slashes_are_relative_and_four_absolute() {
        let base = Path::new("/srv/master");
        let parse = |url| DbUrl::parse(url, base).unwrap();
        assert_eq!(parse("sqlite:///state.sqlite"), DbUrl::Sqlite("/srv/master/state.sqlite".into()));
        assert_eq!(parse("sqlite:////var/s.db"), DbUrl::Sqlite("/var/s.db".into()));
        assert_eq!(parse("sqlite:///%(basedir)s/a.db"), DbUrl::Sqlite("/srv/master/a.db".into()));
        assert_eq!(parse("sqlite+pysqlite:///a.db?timeout=5"), DbUrl::Sqlite("/srv/master/a.db".into()));
    }

    #[test]
    fn what_cannot_be_used_says_what_to_write() {
        for url in ["state.sqlite", "oracle://x", "sqlite://", "mysql://u@h/db"] {
            let error = DbUrl::parse(url, Path::new("/b")).unwrap_err().to_string();
            assert!(error.contains("sqlite:///state.sqlite"), "{error}");
        }
    }
}
