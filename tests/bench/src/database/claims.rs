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

/// How long each figure is taken.
const SPAN: Duration = Duration::from_secs(2);
/// How many masters contend.
pub const MASTERS: [usize; 3] = [1, 2, 8];
/// Requests that are claimed together, in ours and in the bare form: as many as `next-batch10` of the bare figures takes.
const BATCH: usize = 10;
/// Pending requests for one figure: more than are claimed in the span.
const PENDING: usize = 120_000;
/// Requests for all figures.
pub const ALL: usize = MASTERS.len() * 4 * PENDING;

/// A known request is claimed by one statement that is its own transaction.
const BY_ID: &str = "WITH n AS MATERIALIZED (SELECT nextval('nextbr')::int AS b), c AS (SELECT id FROM buildrequests \
                     WHERE id = (SELECT b FROM n) AND complete = 0 FOR UPDATE SKIP LOCKED) \
                     INSERT INTO buildrequest_claims SELECT id, 1, 1 FROM c ON CONFLICT DO NOTHING;\n";
/// The same for ten known requests.
const TEN_BY_ID: &str = "WITH n AS MATERIALIZED (SELECT nextval('nextbr')::int AS b), c AS (SELECT id FROM buildrequests \
                         WHERE id BETWEEN (SELECT b FROM n) * 10 - 9 AND (SELECT b FROM n) * 10 AND complete = 0 \
                         FOR UPDATE SKIP LOCKED) \
                         INSERT INTO buildrequest_claims SELECT id, 1, 1 FROM c ON CONFLICT DO NOTHING;\n";

/// Prints the figures for each number of masters. There must be [`ALL`] requests.
pub async fn on_postgres(server: &Postgres, ground: &Ground) {
    let mut firsts = (0..).map(|figure| 1 + figure * PENDING);
    let mut first = || firsts.next().expect("it goes on for ever");
    let restart = |sequence: usize| {
        server.sql("buildbot", &format!("ALTER SEQUENCE nextbr RESTART {sequence}"));
    };
    for masters in MASTERS {
        restart(first());
        let bare = pgbench(server, masters, BY_ID);
        restart((first() - 1) / BATCH + 1);
        let bare_ten = pgbench(server, masters, TEN_BY_ID) * BATCH as f64;
        let one = by_id(ground, masters, 1, first()).await;
        let ten = by_id(ground, masters, BATCH, first()).await;
        print("PostgreSQL", masters, (bare, bare_ten), (one, ten));
    }
}

/// The same.
pub async fn on_mariadb(server: &MariaDb, ground: &Ground) {
    let mut firsts = (0..).map(|figure| 1 + figure * PENDING);
    let mut first = || firsts.next().expect("it goes on for ever");
    for masters in MASTERS {
        let bare = bare_mariadb(server, masters, 1, first()).await;
        let bare_ten = bare_mariadb(server, masters, BATCH, first()).await;
        let one = by_id(ground, masters, 1, first()).await;
        let ten = by_id(ground, masters, BATCH, first()).await;
        print("MariaDB", masters, (bare, bare_ten), (one, ten));
    }
}

fn print(engine: &str, masters: usize, bare: (f64, f64), ours: (f64, f64)) {
    println!(
        "{engine}, claims/s with {masters} masters: one by one, bare {:.0}, ours {:.0} ({:.0} %); ten at a time, bare {:.0}, \
         ours {:.0} ({:.0} %)",
        bare.0,
        ours.0,
        100.0 * ours.0 / bare.0,
        bare.1,
        ours.1,
        100.0 * ours.1 / bare.1,
    );
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

async fn bare_mariadb(server: &MariaDb, clients: usize, batch: usize, begin: usize) -> f64 {
    let next = Arc::new(AtomicUsize::new(begin));
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
    (next.load(Ordering::Relaxed) - begin) as f64 / SPAN.as_secs_f64()
}

/// Requests that are known to the masters, each taken by one of them, `batch` in a transaction.
async fn by_id(ground: &Ground, masters: usize, batch: usize, begin: usize) -> f64 {
    let next = Arc::new(AtomicUsize::new(begin));
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
                let ids: Arc<[RequestId]> = (first..first + batch).map(|id| RequestId(id as i64)).collect();
                let taken = db.tx("claim", |tx| {
                    let ids = ids.clone();
                    async move { buildsets::claim_all(&tx, &ids, claim(master)).await }
                });
                taken.await.unwrap().into_inner();
            }
        })
    });
    for taker in join_all(takers).await {
        taker.unwrap();
    }
    (next.load(Ordering::Relaxed) - begin) as f64 / SPAN.as_secs_f64()
}
