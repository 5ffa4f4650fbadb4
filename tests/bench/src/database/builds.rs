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
/// Builds in one go.
const MANY: usize = 300;
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
    /// Until all transactions were reported.
    reported: f64,
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
            reported: self.begin.elapsed().as_secs_f64(),
            commits: (commits - self.commits) as f64,
            rollbacks: (rollbacks - self.rollbacks) as f64,
            cpu: cpu.as_secs_f64() * 1e3,
        }
    }
}

/// Commits and roll-backs so far. A connection that rests reports its own only after ten seconds; looking itself counts, too.
fn transactions(server: &Postgres) -> (i64, i64) {
    std::thread::sleep(Duration::from_secs(11));
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
    let each = |busy: f64, idle_figure: f64| (busy - idle_figure / idle.reported * cost.reported) / builds;
    let cpu_of_idle = idle.cpu / idle.seconds * cost.seconds;
    println!(
        "PostgreSQL, trivial builds one at a time: {:.1} transactions that write, {:.1} that read, {:.2} ms of the server's CPU, \
         {:.2} ms of the master's; idle {:.1} transactions/s",
        each(cost.commits, idle.commits),
        each(cost.rollbacks, idle.rollbacks),
        (cost.cpu - cpu_of_idle) / builds,
        (usage::cpu(master.process()) - cpu).as_secs_f64() * 1e3 / builds,
        (idle.commits + idle.rollbacks) / idle.reported,
    );
    // Every connection plans a statement anew the first few times.
    measure::dispatch_once(&master, MANY);
    let begin = usage::cpu_of_tree(server.id());
    let mut forced = begin;
    let many = measure::dispatch_and_tell(&master, MANY, || forced = usage::cpu_of_tree(server.id()));
    let of_each = |cpu: Duration| cpu.as_secs_f64() * 1e3 / MANY as f64;
    println!(
        "PostgreSQL, {MANY} trivial builds in one go: {:.0} builds/s, {:.2} ms of the master's CPU each; of the server's, {:.2} ms \
         for its force and {:.2} ms for its build",
        many.builds_per_second,
        many.cpu_per_build,
        of_each(forced - begin),
        of_each(usage::cpu_of_tree(server.id()) - forced),
    );
}
