//! What a trivial build costs the database.

use std::time::{Duration, Instant};

use muster_store_tests::Postgres;
use serde_json::json;

use crate::{
    contender::{Contender, WORKERS},
    measure,
    muster::Muster,
    usage,
};

/// Builds, one after the other.
const BUILDS: usize = 200;
/// How long an idle master is watched: what it does by itself is no build's cost.
const IDLE: Duration = Duration::from_secs(4);

/// What a server has done since a moment.
struct Meter<'a> {
    server: &'a Postgres,
    begin: Instant,
    commits: i64,
    rollbacks: i64,
    cpu: Duration,
}

struct Cost {
    seconds: f64,
    commits: f64,
    rollbacks: f64,
    /// Milliseconds.
    cpu: f64,
}

impl Meter<'_> {
    fn start(server: &Postgres) -> Meter<'_> {
        let (commits, rollbacks) = transactions(server);
        Meter { server, begin: Instant::now(), commits, rollbacks, cpu: usage::cpu_of_tree(server.id()) }
    }

    fn stop(self) -> Cost {
        let (seconds, cpu) =
            (self.begin.elapsed().as_secs_f64(), usage::cpu_of_tree(self.server.id()) - self.cpu);
        let (commits, rollbacks) = transactions(self.server);
        Cost {
            seconds,
            commits: (commits - self.commits) as f64,
            rollbacks: (rollbacks - self.rollbacks) as f64,
            cpu: cpu.as_secs_f64() * 1e3,
        }
    }
}

/// Commits and roll-backs so far. Servers report them with a delay of a second at most; looking itself counts, too.
fn transactions(server: &Postgres) -> (i64, i64) {
    std::thread::sleep(Duration::from_millis(1200));
    let query = "SELECT xact_commit || ' ' || xact_rollback FROM pg_stat_database WHERE datname = 'buildbot'";
    let row = server.sql("buildbot", query);
    let (commits, rollbacks) = row.split_once(' ').unwrap();
    (commits.parse().unwrap(), rollbacks.parse().unwrap())
}

/// One at a time, then many at once.
pub fn on_postgres() {
    let server = Postgres::start_with(&[]);
    let mut master = Muster::start_on(Some(&server.url("buildbot")), WORKERS);
    measure::latency(&mut master, 20);
    let idle = Meter::start(&server);
    std::thread::sleep(IDLE);
    let idle = idle.stop();
    let cpu = usage::cpu(master.process());
    let meter = Meter::start(&server);
    for _ in 0..BUILDS {
        let done = master.commands_done();
        master.rest().force("dispatch", json!({}));
        // Waiting by REST would be work for the database, too.
        muster_tests::until("the command", || (master.commands_done() > done).then_some(()));
    }
    let cost = meter.stop();
    let builds = BUILDS as f64;
    let each = |busy: f64, idle_figure: f64| (busy - idle_figure / idle.seconds * cost.seconds) / builds;
    println!(
        "PostgreSQL, trivial builds one at a time: {:.1} transactions that write, {:.1} that read, {:.2} ms of the server's CPU, \
         {:.2} ms of the master's; idle {:.1} transactions/s",
        each(cost.commits, idle.commits),
        each(cost.rollbacks, idle.rollbacks),
        each(cost.cpu, idle.cpu),
        (usage::cpu(master.process()) - cpu).as_secs_f64() * 1e3 / builds,
        (idle.commits + idle.rollbacks) / idle.seconds,
    );
    let server_cpu = usage::cpu_of_tree(server.id());
    let many = measure::dispatch_once(&master, 300);
    println!(
        "PostgreSQL, 300 trivial builds in one go: {:.0} builds/s, {:.2} ms of the master's CPU each; with their forces {:.2} ms \
         of the server's",
        many.builds_per_second,
        many.cpu_per_build,
        (usage::cpu_of_tree(server.id()) - server_cpu).as_secs_f64() * 1e3 / 300.0,
    );
}
