//! The command line. Options are named as Buildbot names them, where Buildbot has them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use muster_core::Roles;
use muster_session::MasterUrl;

/// Below the 30 s that Kubernetes gives a process that is told to stop, with room to write everything down.
const DRAIN_TIMEOUT: u64 = 15;
/// What the column `masters.name` of Buildbot's schema holds.
const MAX_MASTER_NAME: usize = 128;

/// A build master that reads Buildbot's `master.cfg`, and its worker.
#[derive(Parser)]
#[command(name = "muster", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What `muster` can do.
#[derive(Subcommand)]
pub enum Command {
    /// Create a master's directory and its database
    CreateMaster(CreateMaster),
    /// Bring the database up to date with this version of Muster
    UpgradeMaster(UpgradeMaster),
    /// Tell whether a configuration is good
    Checkconfig(Checkconfig),
    /// Run a master in the foreground
    Master(RunMaster),
    /// Start a master in the background
    Start(Start),
    /// Stop a master that runs in the background
    Stop(Stop),
    /// Stop a master, then start it again
    Restart(Restart),
    /// Make a running master read its configuration again
    #[command(visible_alias = "sighup")]
    Reconfig(Reconfig),
    /// Look at the masters that share a database, or mend it after a restore
    Cluster(Cluster),
    /// Mend one running build
    Run(Run),
    /// Give back all builds that Muster's masters had, before the way back to Buildbot
    Release(DatabaseOf),
    /// Run a worker in the foreground
    Worker(Worker),
    /// Create a worker's directory
    CreateWorker(CreateWorker),
    /// Run a WAMP router, for masters that share their events
    Router(Router),
    /// Show a master, a worker and a first build of the repository around the current directory
    Demo(Demo),
}

/// A master's directory, and whether to keep quiet.
#[derive(Args)]
pub struct QuietDirectory {
    /// The master's directory
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// Options of `upgrade-master`.
#[derive(Args)]
pub struct UpgradeMaster {
    #[command(flatten)]
    pub target: QuietDirectory,
    /// Also convert tables of MySQL that Buildbot made without transactions (MyISAM) or for three-byte characters only;
    /// make a backup first
    #[arg(long)]
    pub convert: bool,
    /// The Buildbot that was the master of this directory is gone, although the database says that it runs: for one that was
    /// killed, and whose twistd.pid isn't there to show it
    #[arg(long)]
    pub buildbot_is_gone: bool,
}

/// Options of `create-master`.
#[derive(Args)]
pub struct CreateMaster {
    #[command(flatten)]
    pub target: QuietDirectory,
    /// Also use a directory that is not empty; nothing in it is overwritten but master.cfg.sample
    #[arg(short, long)]
    pub force: bool,
    /// Accepted for scripts that pass it: a master's directory can always be moved
    #[arg(short, long, hide = true)]
    pub relocatable: bool,
    /// The database, as `c['db']` in master.cfg will name it
    #[arg(long, value_name = "URL", default_value = crate::config::DEFAULT_DB_URL)]
    pub db: String,
}

/// Options of `checkconfig`.
#[derive(Args)]
pub struct Checkconfig {
    /// A configuration file, or a master's directory
    #[arg(default_value = ".")]
    pub target: PathBuf,
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Print what was understood, as JSON
    #[arg(long)]
    pub dump: bool,
}

/// Options of `master`.
#[derive(Args)]
pub struct RunMaster {
    /// The master's directory
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// Leave the terminal and log to muster.log only; what `muster start` runs
    #[arg(long, hide = true)]
    pub detached: bool,
    #[command(flatten)]
    pub serving: Serving,
}

/// What a master is told besides its configuration, which is the same on all masters of a cluster.
#[derive(Args, Clone, Debug)]
pub struct Serving {
    /// Also answer /livez, /readyz and /metrics on this port: a port string such as 9980, or
    /// tcp:9980:interface=127.0.0.1
    #[arg(long, value_name = "PORT", env = "MUSTER_PROBE")]
    pub probe: Option<String>,
    /// What this master does: web, scheduler, engine, gateway, separated by commas; all of it by default
    #[arg(long, value_name = "ROLES", env = "MUSTER_ROLES", hide_env_values = true, default_value_t = Roles::ALL)]
    pub roles: Roles,
    /// The master's name in the database; HOST:DIRECTORY by default
    #[arg(long, value_name = "NAME", env = "MUSTER_NAME", hide_env_values = true, value_parser = master_name)]
    pub name: Option<String>,
    /// Where workers reach this master, ws://HOST:PORT or wss://HOST:PORT; given several times when there are several. By default the
    /// interface that it listens on, or the name of this machine
    #[arg(
        long,
        value_name = "URL",
        env = "MUSTER_SESSION_URL",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub session_url: Vec<MasterUrl>,
    /// When this master is told to stop, how long builds that no other master can go on with may take to finish; then
    /// they are built again
    #[arg(
        long,
        value_name = "SECONDS",
        env = "MUSTER_DRAIN_TIMEOUT",
        hide_env_values = true,
        default_value_t = DRAIN_TIMEOUT
    )]
    pub drain_timeout: u64,
}

impl Default for Serving {
    fn default() -> Serving {
        let (roles, drain_timeout) = (Roles::ALL, DRAIN_TIMEOUT);
        Serving { roles, drain_timeout, name: None, session_url: Vec::new(), probe: None }
    }
}

impl Serving {
    /// The same, as words for another `muster master`.
    pub fn to_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--roles".to_owned(), self.roles.to_string()];
        arguments.extend(self.name.iter().flat_map(|name| ["--name".to_owned(), name.clone()]));
        let urls = self.session_url.iter().flat_map(|url| ["--session-url".to_owned(), url.to_string()]);
        arguments.extend(urls);
        arguments.extend(["--drain-timeout".to_owned(), self.drain_timeout.to_string()]);
        arguments.extend(self.probe.iter().flat_map(|port| ["--probe", port]).map(str::to_owned));
        arguments
    }
}

/// A name that fits into Buildbot's table.
fn master_name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err("a master's name is one line of text".to_owned());
    }
    if text.chars().count() > MAX_MASTER_NAME {
        return Err(format!("a master's name has at most {MAX_MASTER_NAME} characters"));
    }
    Ok(text.to_owned())
}

/// Options of `start`.
#[derive(Args)]
pub struct Start {
    #[command(flatten)]
    pub target: QuietDirectory,
    #[command(flatten)]
    pub patience: StartPatience,
    #[command(flatten)]
    pub serving: Serving,
    /// Stay in the foreground, as `muster master` does
    #[arg(long)]
    pub nodaemon: bool,
}

/// How long a start may show no progress.
#[derive(Args)]
pub struct StartPatience {
    /// Give up waiting after so many seconds without a new line in the log
    #[arg(long = "start_timeout", value_name = "SECONDS", env = "START_TIMEOUT", default_value_t = 10)]
    pub start_timeout: u64,
}

/// Options of `stop`.
#[derive(Args)]
pub struct Stop {
    #[command(flatten)]
    pub target: QuietDirectory,
    /// Let it finish the builds that run, however long they take; it begins no others
    #[arg(long, visible_alias = "clean")]
    pub graceful: bool,
    /// Ask the master to stop, but don't wait until it has
    #[arg(long)]
    pub no_wait: bool,
}

/// Options of `restart`.
#[derive(Args)]
pub struct Restart {
    #[command(flatten)]
    pub target: QuietDirectory,
    /// Let it finish the builds that run, however long they take
    #[arg(long, visible_alias = "clean")]
    pub graceful: bool,
    #[command(flatten)]
    pub patience: StartPatience,
    #[command(flatten)]
    pub serving: Serving,
}

/// Options of `reconfig`.
#[derive(Args)]
pub struct Reconfig {
    #[command(flatten)]
    pub target: QuietDirectory,
    /// Give up waiting after so many seconds without a new line in the log
    #[arg(long = "progress_timeout", value_name = "SECONDS", default_value_t = 10)]
    pub progress_timeout: u64,
}

/// Options of `cluster`.
#[derive(Args)]
pub struct Cluster {
    #[command(subcommand)]
    pub command: ClusterCommand,
}

/// What `muster cluster` can do.
#[derive(Subcommand)]
pub enum ClusterCommand {
    /// Show masters with their leases, builds with their owners, and why requests wait
    Status(DatabaseOf),
    /// Make a database that was restored from a backup fit for use; all masters must be stopped
    Restore(DatabaseOf),
    /// Stop a master on whichever machine it is: what others can go on with is handed over first
    Stop(StopMember),
    /// End a worker's process when its builds are done
    StopWorker(StopWorker),
}

/// Options of `cluster stop`.
#[derive(Args)]
pub struct StopMember {
    /// The directory of any master of the cluster
    pub dir: PathBuf,
    /// The master's number or name, as `muster cluster status` shows them
    pub master: String,
    /// Let it finish the builds that run, however long they take; it begins no others
    #[arg(long)]
    pub graceful: bool,
}

/// Options of `cluster stop-worker`.
#[derive(Args)]
pub struct StopWorker {
    /// The directory of any master of the cluster
    pub dir: PathBuf,
    /// The worker's name
    pub worker: String,
    /// At once; its builds are tried again
    #[arg(long)]
    pub kill: bool,
}

/// A master's directory, whose configuration names the database.
#[derive(Args)]
pub struct DatabaseOf {
    /// The directory of any master of the cluster
    #[arg(default_value = ".")]
    pub dir: PathBuf,
}

/// Options of `run`.
#[derive(Args)]
pub struct Run {
    #[command(subcommand)]
    pub command: RunCommand,
}

/// What `muster run` can do.
#[derive(Subcommand)]
pub enum RunCommand {
    /// End a build and have its request built again
    Retry(RunOf),
    /// Take a build from its master, so that any engine goes on with it
    Release(RunOf),
}

/// One running build.
#[derive(Args)]
pub struct RunOf {
    /// The directory of any master of the cluster
    pub dir: PathBuf,
    /// The build's id, as `muster cluster status` shows it
    #[arg(value_name = "BUILDID")]
    pub build: i64,
}

/// Options of `worker`. What is not given is read from the worker.toml that `create-worker` wrote.
#[derive(Args)]
pub struct Worker {
    /// The worker's directory; its builds are made there
    pub dir: PathBuf,
    /// Where a master listens, ws://HOST[:PORT] (wss:// with TLS); may be given several times
    #[arg(long = "master", value_name = "URL")]
    pub masters: Vec<String>,
    /// The worker's name, as master.cfg has it
    #[arg(long)]
    pub name: Option<String>,
    /// The worker's password; other users of this machine can see it here, so prefer one of the other ways
    #[arg(long, conflicts_with = "password_file")]
    pub password: Option<String>,
    /// A file whose first line is the password; or set MUSTER_WORKER_PASSWORD
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Stop when standard input ends, that is: together with whoever started this worker
    #[arg(long, hide = true)]
    pub stop_at_eof: bool,
}

/// Options of `create-worker`.
#[derive(Args)]
pub struct CreateWorker {
    /// The worker's directory
    pub dir: PathBuf,
    /// Where the master listens: ws://HOST[:PORT], wss://HOST[:PORT] with TLS, or HOST[:PORT]
    #[arg(value_name = "MASTER")]
    pub master: String,
    /// The worker's name, as master.cfg has it
    pub name: String,
    /// The worker's password
    pub password: String,
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// Options of `demo`.
#[derive(Args)]
pub struct Demo {
    /// The command that tests the repository, as one writes it in a shell (default: Muster's own tests in a checkout of
    /// Muster, elsewhere one that only shows the commit)
    #[arg(long, value_name = "COMMAND")]
    pub command: Option<String>,
    /// End when the first build has finished: 0 when it succeeded, 1 when not
    #[arg(long)]
    pub once: bool,
    /// Work in this directory and keep it (default: a temporary one)
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where the pages are served; 0 takes any free port
    #[arg(long, default_value_t = 8010)]
    pub port: u16,
    /// Keep the temporary directory
    #[arg(long)]
    pub keep: bool,
}

/// Options of `router`. Without a file everybody who reaches it may join and do everything.
#[derive(Args)]
pub struct Router {
    /// A file with sockets, realms, roles, identities and limits; see docs/router.md
    #[arg(long, value_name = "FILE", conflicts_with_all = ["listen", "unix", "realm", "tls_certificate"])]
    pub config: Option<PathBuf>,
    /// Where to listen; may be given several times
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    pub listen: Vec<String>,
    /// A unix socket to listen on as well
    #[arg(long, value_name = "PATH")]
    pub unix: Option<PathBuf>,
    /// Answer /livez, /readyz and /metrics on this port: a port string such as 9980, or
    /// tcp:9980:interface=127.0.0.1
    #[arg(long, value_name = "PORT", env = "MUSTER_PROBE")]
    pub probe: Option<String>,
    /// The realm that can be joined
    #[arg(long, value_name = "NAME", default_value = "buildbot")]
    pub realm: String,
    /// A PEM file with the router's certificate: all ports speak TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// A PEM file with its key
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// A PEM file of certificate authorities: peers need a certificate of one of them
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_client_ca: Option<PathBuf>,
}
