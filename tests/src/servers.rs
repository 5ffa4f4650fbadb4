//! PostgreSQL and MariaDB as Debian packs them.

use std::{
    fs,
    net::{IpAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::Process;
use crate::template::{self, command_as, give_to, run};
use crate::wait::until_ok;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A directory that the server's user may enter.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// A PostgreSQL server.
pub struct Postgres {
    process: Option<Process>,
    /// Where it listens, beside its Unix socket.
    pub port: u16,
    extra: Vec<String>,
    directory: TempDir,
}

impl Postgres {
    /// Starts one, with one empty database `buildbot`.
    pub fn start() -> Postgres {
        Postgres::start_with(&["-c", "fsync=off"])
    }

    /// Starts one with further arguments.
    pub fn start_with(arguments: &[&str]) -> Postgres {
        let directory = directory();
        give_to("postgres", directory.path());
        template::copy("postgres", &directory.path().join("data"), |data| {
            give_to("postgres", data.parent().unwrap());
            let mut initdb = command_as("postgres", &Postgres::program("initdb"));
            initdb.args([
                "--auth=trust",
                "--username=bb",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ]);
            run(initdb.arg(data));
        });
        let extra = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server = Postgres { process: None, port: free_port(), extra, directory };
        server.launch();
        server.sql("postgres", "CREATE DATABASE buildbot");
        server
    }

    /// The path of one of the server's programs.
    pub fn program(name: &str) -> PathBuf {
        let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .expect("PostgreSQL is installed (apt-get install postgresql)")
            .map(|entry| entry.unwrap().path())
            .collect();
        versions.sort();
        versions.pop().unwrap().join("bin").join(name)
    }

    /// Starts it again on the same data and port.
    pub fn launch(&mut self) {
        let mut command = command_as("postgres", &Postgres::program("postgres"));
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string(), "-k"])
            .arg(self.directory.path());
        command
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "max_connections=200",
                "-c",
                "log_line_prefix=%e ",
            ])
            .args(&self.extra);
        self.process = Some(Process::start(&mut command, &self.directory.path().join("log")));
        until_ok(|| {
            let mut ready = Command::new(Postgres::program("pg_isready"));
            ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
            match ready.status().unwrap().success() {
                true => Ok(()),
                false => Err(format!("PostgreSQL is ready:\n{}", self.process.as_ref().unwrap().said())),
            }
        });
    }

    /// The same on these addresses; 127.0.0.1 must be among them.
    pub fn listen(&mut self, addresses: &str) {
        self.extra.extend(["-c".to_owned(), format!("listen_addresses={addresses}")]);
        self.launch();
    }

    /// Listens at one more address from now on, and lets in whoever comes from the network `from`. It restarts.
    pub fn listen_also(&mut self, address: IpAddr, from: &str) {
        self.kill();
        let rules = self.data().join("pg_hba.conf");
        let known = fs::read_to_string(&rules).unwrap();
        fs::write(&rules, format!("{known}host all all {from} trust\n")).unwrap();
        self.listen(&format!("127.0.0.1,{address}"));
    }

    /// The directory of its data.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The server's first process.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Stops it at once, without the goodbyes to its clients that a shutdown has.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::QUIT);
            process.wait();
        }
    }

    /// Runs statements as `psql` does.
    #[track_caller]
    pub fn sql(&self, database: &str, text: &str) -> String {
        let mut psql = Command::new("psql");
        psql.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "bb", "-d", database, "-At", "-v"]);
        run(psql.args(["ON_ERROR_STOP=1", "-c", text])).trim_end().to_owned()
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://bb@127.0.0.1:{}/{database}", self.port)
    }
}

/// What PostgreSQL answers to a statement that can never work: bad syntax, a column, function or type that doesn't fit.
/// Whoever sent it may have logged the refusal and gone on, so the server's own log is asked.
const MALFORMED: [&str; 6] = ["42601", "42703", "42804", "42883", "42P08", "42P18"];

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            return;
        }
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let malformed = |line: &&str| MALFORMED.iter().any(|state| line.starts_with(&format!("{state} ")));
        let told: Vec<&str> = log.lines().filter(malformed).take(6).collect();
        assert!(told.is_empty(), "PostgreSQL refused statements:\n{}", told.join("\n"));
    }
}

/// A MariaDB server.
pub struct MariaDb {
    process: Option<Process>,
    /// Where it listens, beside its Unix socket.
    pub port: u16,
    extra: Vec<String>,
    directory: TempDir,
}

impl MariaDb {
    /// Starts one, with one empty database `buildbot`.
    pub fn start() -> MariaDb {
        let directory = directory();
        give_to("mysql", directory.path());
        template::copy("mariadb", &directory.path().join("data"), |data| {
            give_to("mysql", data.parent().unwrap());
            let mut install = command_as("mysql", Path::new("/usr/bin/mariadb-install-db"));
            install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
            install.arg("--innodb-log-file-size=8M").arg(format!("--datadir={}", data.display()));
            run(install.stdout(Stdio::null()));
        });
        let mut server = MariaDb { process: None, port: free_port(), extra: Vec::new(), directory };
        server.launch();
        server.sql("", "CREATE USER bb@'127.0.0.1' IDENTIFIED BY 'p:w'; GRANT ALL ON *.* TO bb@'127.0.0.1'");
        server.sql("", "CREATE DATABASE buildbot");
        server
    }

    /// Starts it again on the same data and port.
    pub fn launch(&mut self) {
        let mut command = command_as("mysql", Path::new("/usr/sbin/mariadbd"));
        command.arg("--no-defaults").arg(format!("--datadir={}", self.data().display()));
        command.arg(format!("--socket={}", self.socket().display())).arg(format!("--port={}", self.port));
        command.args([
            "--bind-address=127.0.0.1",
            "--innodb-flush-log-at-trx-commit=2",
            "--max-connections=200",
        ]);
        command.args(["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=64M", "--skip-name-resolve"]);
        command.args(&self.extra);
        self.process = Some(Process::start(&mut command, &self.directory.path().join("log")));
        until_ok(|| {
            let ping = self.client().args(["-e", "SELECT 1"]).output().unwrap();
            match ping.status.success() {
                true => Ok(()),
                false => Err(format!("MariaDB is ready:\n{}", self.process.as_ref().unwrap().said())),
            }
        });
    }

    /// Starts it again with further arguments.
    pub fn launch_with(&mut self, arguments: &[String]) {
        self.kill();
        self.extra.extend_from_slice(arguments);
        self.launch();
    }

    /// The directory of its data.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn client(&self) -> Command {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "-u", "root", "-N", "-B", "-S"]).arg(self.socket());
        client
    }

    /// The server's process.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Stops it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Runs statements as its own client does.
    #[track_caller]
    pub fn sql(&self, database: &str, text: &str) -> String {
        let mut client = self.client();
        if !database.is_empty() {
            client.args(["-D", database]);
        }
        run(client.args(["-e", text])).trim_end().to_owned()
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://bb:p%3Aw@127.0.0.1:{}/{database}", self.port)
    }
}
