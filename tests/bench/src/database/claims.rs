//! Claims in a second, by several masters at once: ours, and the best sound forms on the bare database.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use muster_core::RequestId;
use muster_store::{Db, buildsets};
use muster_store_tests::{MariaDb, Postgres, data::claim};
use mysql_async::prelude::Queryable;

use super::ground::Ground;

/// How long each of the two is measured at a stretch. They take turns, so that both meet the same disk.
const SPAN: Duration = Duration::from_secs(1);
/// How often they take turns; the medians are told.
const ROUNDS: usize = 7;
/// How many masters contend.
pub const MASTERS: [usize; 3] = [1, 2, 8];
/// Requests that are claimed together, in ours and in the bare form: as many as `next-batch10` of the bare figures takes.
const BATCH: usize = 10;
/// Pending requests: more than are claimed in a span.
pub const PENDING: usize = 120_000;

/// A known request is claimed by one statement that is its own transaction.
const BY_ID: &str = "WITH n AS MATERIALIZED (SELECT nextval('nextbr')::int AS b), c AS (SELECT id FROM buildrequests \
                     WHERE id = (SELECT b FROM n) AND complete = 0 FOR UPDATE SKIP LOCKED) \
                     INSERT INTO buildrequest_claims SELECT id, 1, 1 FROM c ON CONFLICT DO NOTHING;\n";
/// The same for ten known requests.
const TEN_BY_ID: &str = "WITH n AS MATERIALIZED (SELECT nextval('nextbr')::int AS b), c AS (SELECT id FROM buildrequests \
                         WHERE id BETWEEN (SELECT b FROM n) * 10 - 9 AND (SELECT b FROM n) * 10 AND complete = 0 \
                         FOR UPDATE SKIP LOCKED) \
                         INSERT INTO buildrequest_claims SELECT id, 1, 1 FROM c ON CONFLICT DO NOTHING;\n";

/// Prints the figures for each number of masters. There must be [`PENDING`] requests.
pub async fn on_postgres(server: &Postgres, ground: &Ground) {
    let again = || server.sql("buildbot", "TRUNCATE buildrequest_claims; ALTER SEQUENCE nextbr RESTART 1");
    for (masters, batch) in figures() {
        let mut turns = Turns::default();
        for _ in 0..ROUNDS {
            again();
            let script = if batch == 1 { BY_ID } else { TEN_BY_ID };
            turns.bare.push(pgbench(server, masters, script) * batch as f64);
            again();
            turns.ours.push(by_id(ground, masters, batch).await);
        }
        turns.print("PostgreSQL", masters, batch);
    }
}

/// The same.
pub async fn on_mariadb(server: &MariaDb, ground: &Ground) {
    let again = || server.sql("buildbot", "TRUNCATE buildrequest_claims");
    for (masters, batch) in figures() {
        let mut turns = Turns::default();
        for _ in 0..ROUNDS {
            again();
            turns.bare.push(bare_mariadb(server, masters, batch).await);
            again();
            turns.ours.push(by_id(ground, masters, batch).await);
        }
        turns.print("MariaDB", masters, batch);
    }
}

/// How many masters, and how many requests each of them takes at once.
fn figures() -> impl Iterator<Item = (usize, usize)> {
    [1, BATCH].into_iter().flat_map(|batch| MASTERS.map(|masters| (masters, batch)))
}

/// Claims in a second, of each turn.
#[derive(Default)]
struct Turns {
    bare: Vec<f64>,
    ours: Vec<f64>,
}

impl Turns {
    fn print(self, engine: &str, masters: usize, batch: usize) {
        let shares = self.bare.iter().zip(&self.ours).map(|(bare, ours)| 100.0 * ours / bare).collect();
        println!(
            "{engine}, claims/s with {masters} masters, {batch} at a time: bare {:.0}, ours {:.0} ({:.0} %)",
            median(self.bare),
            median(self.ours),
            median(shares),
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Transactions in a second.
fn pgbench(server: &Postgres, clients: usize, script: &str) -> f64 {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script).unwrap();
    let mut pgbench = Command::new(Postgres::program("pgbench"));
    pgbench.args(["-h", "127.0.0.1", "-p", &server.port.to_string(), "-U", "bb", "-n", "-M", "prepared"]);
    pgbench.args(["-j", "1", "-c", &clients.to_string(), "-T", &SPAN.as_secs().to_string(), "-f"]);
    let output = pgbench.arg(file.path()).arg("buildbot").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let tps = said.split("tps = ").nth(1).unwrap_or_else(|| panic!("{said}")).split(' ').next().unwrap();
    tps.parse().unwrap()
}

async fn bare_mariadb(server: &MariaDb, clients: usize, batch: usize) -> f64 {
    let next = Arc::new(AtomicUsize::new(1));
    let opts = mysql_async::Opts::from_url(&server.url("buildbot")).unwrap();
    let until = Instant::now() + SPAN;
    let clients = (0..clients).map(|_| {
        let (opts, next) = (opts.clone(), next.clone());
        tokio::spawn(async move {
            let mut conn = mysql_async::Conn::new(opts).await.unwrap();
            while Instant::now() < until {
                let first = next.fetch_add(batch, Ordering::Relaxed);
                let claim = "INSERT IGNORE INTO buildrequest_claims (brid, masterid, claimed_at) SELECT id, 1, 1 \
                             FROM buildrequests WHERE id BETWEEN ? AND ? AND complete = 0 FOR UPDATE SKIP LOCKED";
                conn.exec_drop(claim, (first, first + batch - 1)).await.unwrap();
            }
        })
    });
    for client in join_all(clients).await {
        client.unwrap();
    }
    (next.load(Ordering::Relaxed) - 1) as f64 / SPAN.as_secs_f64()
}

/// Requests that are known to the masters, each taken by one of them, `batch` in a transaction.
async fn by_id(ground: &Ground, masters: usize, batch: usize) -> f64 {
    let next = Arc::new(AtomicUsize::new(1));
    let mut dbs = Vec::new();
    for _ in 0..masters {
        dbs.push(Db::open(&ground.url).await.unwrap());
    }
    let until = Instant::now() + SPAN;
    let takers = dbs.into_iter().zip(ground.masters.clone()).map(|(db, master)| {
        let next = next.clone();
        tokio::spawn(async move {
            while Instant::now() < until {
                let first = next.fetch_add(batch, Ordering::Relaxed);
                let ids: Vec<RequestId> = (first..first + batch).map(|id| RequestId(id as i64)).collect();
                buildsets::take_all(&db, &ids, claim(master)).await.unwrap().into_inner();
            }
        })
    });
    for taker in join_all(takers).await {
        taker.unwrap();
    }
    (next.load(Ordering::Relaxed) - 1) as f64 / SPAN.as_secs_f64()
}
