//! `db_url`, as `master.cfg` writes it.

mod options;
mod parameters;
mod server;

use std::path::{Path, PathBuf};

pub use options::{Pool, Tls, TlsMode};
pub use server::ServerUrl;

use crate::{Error, Result};

/// Where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DbUrl {
    /// A file.
    Sqlite(PathBuf),
    /// PostgreSQL.
    Postgres(Box<ServerUrl>),
    /// MySQL or MariaDB.
    MySql(Box<ServerUrl>),
}

impl DbUrl {
    /// Reads a URL as Buildbot and SQLAlchemy write it.
    ///
    /// `sqlite:///state.sqlite` is relative to `basedir`, four slashes make it absolute, and `%(basedir)s` stands for
    /// the base directory. `postgresql://` and `mysql://` take a user, a password, one host or several, a database, and
    /// the parameters that `docs/` lists. The name of a driver behind a plus sign makes no difference.
    pub fn parse(url: &str, basedir: &Path) -> Result<DbUrl> {
        DbUrl::parse_with(url, basedir, &|name| std::env::var(name).ok())
    }

    /// The same with one connection less, and with that one alone: for what must not wait until others are done with theirs.
    /// `None` for SQLite, which has one writer in any case.
    pub fn one_apart(&self) -> (DbUrl, Option<DbUrl>) {
        let sized = |server: &ServerUrl, size: usize| {
            let mut server = server.clone();
            server.pool.size = size;
            Box::new(server)
        };
        let rest = |server: &ServerUrl| sized(server, server.pool.size.saturating_sub(1).max(1));
        match self {
            DbUrl::Sqlite(_) => (self.clone(), None),
            DbUrl::Postgres(server) => {
                (DbUrl::Postgres(rest(server)), Some(DbUrl::Postgres(sized(server, 1))))
            }
            DbUrl::MySql(server) => (DbUrl::MySql(rest(server)), Some(DbUrl::MySql(sized(server, 1)))),
        }
    }

    fn parse_with(url: &str, basedir: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<DbUrl> {
        let refuse = |reason: String| Error::Url { url: without_password(url), reason };
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(refuse(
                "write it as sqlite:///state.sqlite or postgresql://user@host/database".to_owned(),
            ));
        };
        let dialect = scheme.split('+').next().unwrap_or(scheme);
        let server = || server::parse(rest, basedir, dialect, env).map(Box::new).map_err(refuse);
        match dialect {
            "sqlite" => sqlite_path(rest, basedir).map(DbUrl::Sqlite).map_err(refuse),
            "postgresql" | "postgres" => server().map(DbUrl::Postgres),
            "mysql" | "mariadb" => server().map(DbUrl::MySql),
            other => Err(refuse(format!(
                "there is no kind of database {other:?}; use sqlite:///state.sqlite, postgresql:// or mysql://"
            ))),
        }
    }
}

fn sqlite_path(rest: &str, basedir: &Path) -> std::result::Result<PathBuf, String> {
    let path = rest.split('?').next().unwrap_or(rest).strip_prefix('/').unwrap_or_default();
    if path.is_empty() || path == ":memory:" {
        return Err(
            "name a file, as in sqlite:///state.sqlite (a database in memory would be lost)".to_owned()
        );
    }
    Ok(basedir.join(path.replace("%(basedir)s", &basedir.to_string_lossy())))
}

/// The URL as it may be shown, also one that is written wrong: where a password could stand, nothing is shown.
fn without_password(url: &str) -> String {
    let (main, query) = match url.split_once('?') {
        Some((main, query)) if !query.contains('@') => (main, Some(query)),
        _ => (url, None),
    };
    let shown = without_login(main);
    let Some(query) = query else { return shown };
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}=***"),
        _ => parameter.to_owned(),
    });
    format!("{shown}?{}", parameters.collect::<Vec<_>>().join("&"))
}

fn without_login(url: &str) -> String {
    let scheme = url.find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c))).unwrap_or(url.len());
    let marks = url[scheme..].find(|c| c != ':' && c != '/').unwrap_or(url.len() - scheme);
    let (before, rest) = url.split_at(scheme + marks);
    let Some(at) = rest.rfind('@') else {
        // Without an @ this can only be a host and its port, or a user and a password.
        let host = rest.split('/').next().unwrap_or_default();
        let no_port = |(_, port): &(&str, &str)| !port.bytes().all(|byte| byte.is_ascii_digit());
        return match host.split_once(':').filter(|_| !host.contains(['[', ','])).filter(no_port) {
            Some((name, _)) => format!("{before}{name}:***{}", &rest[host.len()..]),
            None => url.to_owned(),
        };
    };
    match rest[..at].split_once(':') {
        Some((user, _)) => format!("{before}{user}:***{}", &rest[at..]),
        None if before.ends_with("//") => url.to_owned(),
        None => format!("{before}***{}", &rest[at..]),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse(url: &str) -> Result<DbUrl> {
        DbUrl::parse_with(url, Path::new("/srv/master"), &|_| None)
    }

    fn server(url: &str) -> ServerUrl {
        match parse(url).unwrap() {
            DbUrl::Postgres(server) | DbUrl::MySql(server) => *server,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn three_slashes_are_relative_and_four_absolute() {
        let path = |url| parse(url).unwrap();
        assert_eq!(path("sqlite:///state.sqlite"), DbUrl::Sqlite("/srv/master/state.sqlite".into()));
        assert_eq!(path("sqlite:////var/s.db"), DbUrl::Sqlite("/var/s.db".into()));
        assert_eq!(path("sqlite:///%(basedir)s/a.db"), DbUrl::Sqlite("/srv/master/a.db".into()));
        assert_eq!(path("sqlite+pysqlite:///a.db?timeout=5"), DbUrl::Sqlite("/srv/master/a.db".into()));
    }

    #[test]
    fn what_cannot_be_used_says_what_to_write() {
        for url in ["state.sqlite", "oracle://x", "sqlite://", "sqlite:///:memory:"] {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.contains("sqlite:///state.sqlite"), "{error}");
        }
        for (url, words) in [
            ("postgresql://bob@h", "name of a database"),
            ("postgresql://h:port/bb", "port"),
            ("postgresql://[::1/bb", "]"),
            ("postgresql://h/bb?pool_size=many", "pool_size"),
            ("postgresql://h/bb?pool_size=0", "pool_size"),
            ("postgresql://h/bb?sslmode=perhaps", "verify-full"),
            ("postgresql://h/bb?sslmod=require", "sslmod"),
            ("mysql://h/bb?charset=latin1", "utf8"),
            ("mysql://h/bb?storage_engine=MyISAM", "InnoDB"),
            ("mysql://h1,h2/bb", "one host"),
            ("mysql://u:%ff@h/bb", "UTF-8"),
        ] {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.contains(words), "{url}: {error}");
        }
    }

    #[test]
    fn a_refusal_does_not_tell_the_password() {
        let error = parse("postgresql://bob:s3cret@h/bb?x=1").unwrap_err().to_string();
        assert!(!error.contains("s3cret") && error.contains("bob:***@h"), "{error}");
        assert!(!format!("{:?}", server("postgresql://bob:s3cret@h/bb")).contains("s3cret"));
    }

    #[test]
    fn a_typing_mistake_does_not_tell_the_password() {
        for url in [
            "postgres//bob:s3cret@h/bb",
            "postgres:/bob:s3cret@h/bb",
            "postgresql:bob:s3cret@h/bb",
            "bob:s3cret@h/bb",
            "postgresql//bob:s3cret@h/bb?x=1",
            "postgresql ://bob:s3cret@h/bb",
            "postgresql;//bob:s3cret@h/bb",
            "oracle://bob:s3cret@h/bb",
            "postgresql://bob:s3cret/x@h/bb?y=1",
            "postgresql://bob:x@s3cret@h/bb?y=1",
            "postgresql://bob:s3cret?z@h/bb",
            "postgresql://bob:s3cret/bb",
            "postgresql://bob:12s3cret/bb",
            "postgresql://h/bb?password=s3cret&sslmod=x",
            "mysql://h/bb?passwd=s3cret",
            "://bob:s3cret@h",
            "@bob:s3cret@h",
        ] {
            let error = parse(url).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
        for url in ["state.sqlite", "oracle://bob@h/bb", "postgresql://[::1/bb", "oracle://h:5432/bb"] {
            assert_eq!(without_password(url), url);
        }
    }

    #[test]
    fn servers_are_named_with_user_password_port_and_database() {
        let url = server("postgresql+psycopg2://b%40b:p%3Aw%2F@db.example.org:5433/buildbot");
        assert_eq!(url.user.as_deref(), Some("b@b"));
        assert_eq!(url.password.as_ref().map(|password| password.reveal()), Some("p:w/"));
        assert_eq!(url.hosts, [("db.example.org".to_owned(), Some(5433))]);
        assert_eq!(url.database, "buildbot");
        assert_eq!(url.tls.mode, TlsMode::Prefer);
    }

    #[test]
    fn several_hosts_and_literal_addresses_are_understood() {
        let hosts = |url| server(url).hosts;
        let one = |host: &str, port| (host.to_owned(), port);
        assert_eq!(hosts("postgresql://[::1]:5432/bb"), [one("::1", Some(5432))]);
        assert_eq!(hosts("mysql://[fe80::2]/bb"), [one("fe80::2", None)]);
        assert_eq!(
            hosts("postgresql://u@a:1,b,[::1]:3/bb?target_session_attrs=read-write"),
            [one("a", Some(1)), one("b", None), one("::1", Some(3))]
        );
        assert_eq!(hosts("postgresql:///bb?host=a:1&host=b:2"), [one("a", Some(1)), one("b", Some(2))]);
        assert_eq!(hosts("postgresql:///bb?host=/run/postgresql"), [one("/run/postgresql", None)]);
        assert_eq!(hosts("postgresql://%2Frun%2Fpg/bb"), [one("/run/pg", None)]);
        assert_eq!(hosts("mysql:///bb?unix_socket=/run/m.sock"), [one("/run/m.sock", None)]);
        assert_eq!(hosts("mysql://u@/bb"), [one("localhost", None)]);
    }

    #[test]
    fn pools_and_waits_are_parameters_with_defaults() {
        let default = Pool::default();
        assert_eq!(server("postgresql://h/bb").pool, default);
        let pool =
            server("mysql://h/bb?pool_size=3&pool_timeout=5&connect_timeout=2&max_idle=60&keepalives_idle=9")
                .pool;
        assert_eq!(pool.size, 3);
        assert_eq!(pool.wait, Duration::from_secs(5));
        assert_eq!(pool.connect_timeout, Duration::from_secs(2));
        assert_eq!(pool.max_idle, Duration::from_secs(60));
        assert_eq!(pool.keepalive_idle, Duration::from_secs(9));
        assert_eq!(pool.reconnect_timeout, default.reconnect_timeout);
    }

    #[test]
    fn buildbots_own_parameters_of_mysql_are_accepted() {
        let url =
            server("mysql+mysqldb://u@h/bb?max_idle=300&charset=utf8&use_unicode=True&storage_engine=InnoDB");
        assert_eq!(url.pool.max_idle, Duration::from_secs(300));
    }

    #[test]
    fn tls_is_asked_for_in_the_words_of_either_driver() {
        let tls = |url| server(url).tls;
        assert_eq!(tls("postgresql://h/bb?sslmode=disable").mode, TlsMode::Disable);
        let full =
            tls("postgresql://h/bb?sslmode=verify-full&sslrootcert=/ca.pem&sslcert=/c.pem&sslkey=/k.pem");
        assert_eq!(full.mode, TlsMode::VerifyFull);
        assert_eq!(full.root, Some("/ca.pem".into()));
        assert_eq!(full.identity, Some(("/c.pem".into(), "/k.pem".into())));
        assert_eq!(tls("mysql://h/bb").mode, TlsMode::Disable);
        assert_eq!(tls("mysql://h/bb?ssl_ca=/ca.pem").mode, TlsMode::VerifyCa);
        assert_eq!(tls("mysql://h/bb?ssl_ca=/ca.pem&ssl_check_hostname=true").mode, TlsMode::VerifyFull);
        assert_eq!(tls("mysql://h/bb?ssl_mode=REQUIRED").mode, TlsMode::Require);
        let half = parse("postgresql://h/bb?sslcert=/c.pem").unwrap_err().to_string();
        assert!(half.contains("sslkey"), "{half}");
    }

    #[test]
    fn a_password_may_come_from_the_environment_or_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, "from-file\n").unwrap();
        let password = |url: &str, name: &'static str, value: String| {
            let env = move |asked: &str| (asked == name).then(|| value.clone());
            match DbUrl::parse_with(url, directory.path(), &env).unwrap() {
                DbUrl::Postgres(server) | DbUrl::MySql(server) => {
                    server.password.map(|password| password.reveal().to_owned())
                }
                DbUrl::Sqlite(_) => None,
            }
        };
        let path = file.display().to_string();
        let none = || password("postgresql://u@h/bb", "UNUSED", String::new());
        assert_eq!(none(), None);
        assert_eq!(password("postgresql://u@h/bb", "PGPASSWORD", "pg".to_owned()).as_deref(), Some("pg"));
        assert_eq!(password("mysql://u@h/bb", "MYSQL_PWD", "my".to_owned()).as_deref(), Some("my"));
        assert_eq!(password("mysql://u@h/bb", "MUSTER_DB_PASSWORD", "m".to_owned()).as_deref(), Some("m"));
        assert_eq!(
            password("mysql://u@h/bb", "MUSTER_DB_PASSWORD_FILE", path.clone()).as_deref(),
            Some("from-file")
        );
        let relative = password("postgresql://u@h/bb?password_file=password", "UNUSED", String::new());
        assert_eq!(relative.as_deref(), Some("from-file"));
        let own = password("postgresql://u:own@h/bb", "PGPASSWORD", "pg".to_owned());
        assert_eq!(own.as_deref(), Some("own"));
    }
}
