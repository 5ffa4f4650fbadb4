//! Measures the store on PostgreSQL and MariaDB, beside what the bare database does with the same tables.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use muster_core::{BuilderId, LogKind, MasterId, RequestId};
use muster_store::{
    Db, DbUrl, Result, buildsets,
    chunks::{self, Compression},
    query, steps,
};
use muster_store_tests::{
    MariaDb, Postgres, Server,
    data::{self, NOW, claim, tx},
};
use mysql_async::prelude::Queryable;

/// How long each figure is taken.
const SPAN: Duration = Duration::from_secs(3);
const MASTERS: [usize; 3] = [1, 2, 8];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        on_postgres().await;
        on_mariadb().await;
    });
}

async fn on_postgres() {
    let server = Postgres::start_with(&[]);
    let url = server.db_url("buildbot");
    let ground = Ground::new(&url).await;
    let fill = |count: usize| {
        let text = format!(
            "TRUNCATE buildrequest_claims; DELETE FROM buildrequests; DROP SEQUENCE IF EXISTS nextbr; CREATE SEQUENCE nextbr; \
             INSERT INTO buildrequests (id, buildsetid, builderid, priority, complete, results, submitted_at, waited_for) \
             SELECT g, {}, {} + g % {}, 0, 0, -1, 1, 0 FROM generate_series(1, {count}) g; ANALYZE",
            ground.buildset,
            ground.builders[0].0,
            ground.builders.len()
        );
        server.sql("buildbot", &text);
    };
    for masters in MASTERS {
        fill(150_000);
        let bare = pgbench(&server, masters, ground.masters[0]);
        fill(150_000);
        let one = ground.claim_by_id(&url, masters, 1).await;
        fill(150_000);
        let ten = ground.claim_by_id(&url, masters, 10).await;
        print_claims("PostgreSQL", masters, bare, one, ten);
    }
    fill(25_000);
    next_among_many(&ground).await;
    logs(&ground, "PostgreSQL").await;
    let many = format!(
        "INSERT INTO builds (number, builderid, buildrequestid, masterid, started_at, complete_at, locks_duration_s, \
         state_string, results) SELECT g, {}, 1, {}, g, g, 0, 'done', 0 FROM generate_series(100, 1000100) g; ANALYZE",
        ground.builders[0].0, ground.masters[0].0
    );
    server.sql("buildbot", &many);
    newest_builds(&ground).await;
}

async fn on_mariadb() {
    let server = MariaDb::start();
    let url = server.db_url("buildbot");
    let ground = Ground::new(&url).await;
    let fill = |count: usize| {
        let text = format!(
            "DELETE FROM buildrequest_claims; DELETE FROM buildrequests; INSERT INTO buildrequests (id, buildsetid, \
             builderid, priority, complete, results, submitted_at, waited_for) SELECT seq, {}, {} + seq % {}, 0, 0, -1, 1, 0 \
             FROM seq_1_to_{count}",
            ground.buildset,
            ground.builders[0].0,
            ground.builders.len()
        );
        server.sql("buildbot", &text);
    };
    for masters in MASTERS {
        fill(100_000);
        let bare = bare_mariadb(&server, masters, ground.masters[0]).await;
        fill(100_000);
        let one = ground.claim_by_id(&url, masters, 1).await;
        fill(100_000);
        let ten = ground.claim_by_id(&url, masters, 10).await;
        print_claims("MariaDB", masters, bare, one, ten);
    }
    fill(25_000);
    next_among_many(&ground).await;
    logs(&ground, "MariaDB").await;
}

fn print_claims(engine: &str, masters: usize, bare: f64, one: f64, ten: f64) {
    println!(
        "{engine}: claims/s with {masters} masters: bare {bare:.0}, one in a transaction {one:.0} ({:.0} %), \
         ten in a transaction {ten:.0} ({:.0} %)",
        100.0 * one / bare,
        100.0 * ten / bare
    );
}

/// The best sound form of a claim on the bare database: one prepared statement for each, committed by itself.
fn pgbench(server: &Postgres, clients: usize, master: MasterId) -> f64 {
    let script = format!(
        "WITH n AS MATERIALIZED (SELECT nextval('nextbr')::int AS b), c AS (SELECT id FROM buildrequests \
         WHERE id = (SELECT b FROM n) AND complete = 0 FOR UPDATE SKIP LOCKED) \
         INSERT INTO buildrequest_claims SELECT id, {}, 1 FROM c ON CONFLICT DO NOTHING;\n",
        master.0
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script).unwrap();
    let mut pgbench = Command::new(Postgres::program("pgbench"));
    pgbench.args([
        "-h",
        "127.0.0.1",
        "-p",
        &server.port.to_string(),
        "-U",
        "bb",
        "-n",
        "-M",
        "prepared",
        "-j",
        "1",
        "-c",
    ]);
    pgbench
        .args([&clients.to_string(), "-T", &SPAN.as_secs().to_string(), "-f"])
        .arg(file.path())
        .arg("buildbot");
    let output = pgbench.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let tps = said.split("tps = ").nth(1).unwrap_or_else(|| panic!("{said}")).split(' ').next().unwrap();
    tps.parse().unwrap()
}

async fn bare_mariadb(server: &MariaDb, clients: usize, master: MasterId) -> f64 {
    let next = Arc::new(AtomicUsize::new(1));
    let opts = mysql_async::Opts::from_url(&server.url("buildbot")).unwrap();
    let until = Instant::now() + SPAN;
    let clients = (0..clients).map(|_| {
        let (opts, next) = (opts.clone(), next.clone());
        tokio::spawn(async move {
            let mut conn = mysql_async::Conn::new(opts).await.unwrap();
            while Instant::now() < until {
                let id = next.fetch_add(1, Ordering::Relaxed);
                let claim = "INSERT IGNORE INTO buildrequest_claims (brid, masterid, claimed_at) SELECT id, ?, 1 \
                             FROM buildrequests WHERE id = ? AND complete = 0 FOR UPDATE SKIP LOCKED";
                conn.exec_drop(claim, (master.0, id)).await.unwrap();
            }
        })
    });
    join_all(clients).await;
    (next.load(Ordering::Relaxed) - 1) as f64 / SPAN.as_secs_f64()
}

struct Ground {
    db: Db,
    masters: Vec<MasterId>,
    builders: Vec<BuilderId>,
    buildset: i64,
}

impl Ground {
    async fn new(url: &DbUrl) -> Ground {
        let db = Db::upgrade(url).await.unwrap();
        let masters = data::masters(&db, 8).await;
        let (builders, _) = data::builders(&db, masters[0], 500).await;
        let request = data::requests(&db, &builders, 1).await[0];
        let read: Result<_> =
            db.read("request", |tx| async move { query::requests::by_id(&tx, request).await }).await;
        let buildset = read.unwrap().unwrap().buildset.0;
        Ground { db, masters, builders, buildset }
    }

    /// Requests that are known to the masters, each taken by one of them, `batch` in a transaction.
    async fn claim_by_id(&self, url: &DbUrl, masters: usize, batch: usize) -> f64 {
        let next = Arc::new(AtomicUsize::new(1));
        let mut dbs = Vec::new();
        for _ in 0..masters {
            dbs.push(Db::open(url).await.unwrap());
        }
        let until = Instant::now() + SPAN;
        let takers = dbs.into_iter().zip(self.masters.clone()).map(|(db, master)| {
            let next = next.clone();
            tokio::spawn(async move {
                while Instant::now() < until {
                    let first = next.fetch_add(batch, Ordering::Relaxed);
                    let ids: Arc<[RequestId]> =
                        (first..first + batch).map(|id| RequestId(id as i64)).collect();
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
        (next.load(Ordering::Relaxed) - 1) as f64 / SPAN.as_secs_f64()
    }
}

/// The median time of an operation.
async fn median<Fut: Future>(what: &str, mut operation: impl FnMut() -> Fut) {
    let mut times = Vec::new();
    for _ in 0..101 {
        let begin = Instant::now();
        operation().await;
        times.push(begin.elapsed());
    }
    times.sort();
    println!(
        "{what}: {:.2} ms (median), {:.2} ms (95 %)",
        times[50].as_secs_f64() * 1e3,
        times[95].as_secs_f64() * 1e3
    );
}

async fn next_among_many(ground: &Ground) {
    let (db, master) = (&ground.db, ground.masters[0]);
    let all = ground.builders.as_slice();
    median("25 000 pending requests on 500 builders, next claim over all of them", || async move {
        let taken = tx(db, |tx| async move { buildsets::claim_next(&tx, all, 1, claim(master)).await }).await;
        assert_eq!(taken.len(), 1);
    })
    .await;
    let one = &ground.builders[7..8];
    median("25 000 pending requests on 500 builders, next claim of one builder", || async move {
        tx(db, |tx| async move { buildsets::claim_next(&tx, one, 1, claim(master)).await }).await;
    })
    .await;
}

async fn newest_builds(ground: &Ground) {
    let db = &ground.db;
    median("the 50 newest of a million builds", || async move {
        let column = query::builds::TABLE.column("buildid").unwrap();
        let select = query::Select::all().order_by(column, true).limit(50);
        let read: Result<Vec<_>> =
            db.read("newest", |tx| async move { query::builds::list(&tx, &select).await }).await;
        assert_eq!(read.unwrap().len(), 50);
    })
    .await;
}

/// Lines as compilers write them.
fn compiler_output(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 200);
    let mut number = 0_u64;
    while text.len() < bytes {
        number += 1;
        let (module, file) = (fastrand::u32(..40), fastrand::u32(..900));
        text += &format!(
            "o[{number:6}/91234] g++ -DNDEBUG -O2 -Iinclude/module{module} -std=c++20 -Wall -o obj/module{module}/file{file}.o \
             -c src/module{module}/file{file}.cpp\n"
        );
        if number.is_multiple_of(7) {
            text += &format!(
                "osrc/module{module}/file{file}.cpp:{}:{}: warning: unused variable 'value{}' [-Wunused-variable]\n",
                fastrand::u32(1..3000),
                fastrand::u32(1..100),
                fastrand::u32(..5000)
            );
        }
    }
    text
}

async fn logs(ground: &Ground, engine: &str) {
    const SIZE: usize = 100 << 20;
    const BATCH: usize = 1 << 20;
    let db = &ground.db;
    let (builders, worker) = data::builders(db, ground.masters[0], 1).await;
    let (builder, master) = (builders[0], ground.masters[0]);
    let request = RequestId(1);
    let text = compiler_output(SIZE);
    for name in ["raw", "gz", "zstd", "lz4"] {
        let method = Compression::for_writing(name).unwrap();
        let log = tx(db, |tx| async move {
            let (build, _) = muster_store::builds::insert(&tx, builder, request, worker, master, NOW).await?;
            let step = steps::insert(&tx, build, 0, "compile", "", NOW).await?;
            steps::insert_log(&tx, step, "stdio", "stdio", LogKind::from_letter("s").unwrap()).await
        })
        .await;
        let (begin, cpu) = (Instant::now(), own_cpu());
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let end = rest.len().min(BATCH);
            let end = rest[..end].rfind('\n').map_or(rest.len(), |newline| newline + 1);
            let (part, after) = rest.split_at(end);
            rest = after;
            let made: Arc<[chunks::Chunk]> = chunks::make(part, method).into();
            tx(db, |tx| {
                let made = made.clone();
                async move { steps::append(&tx, log, &made).await }
            })
            .await;
        }
        let (wall, cpu) = (begin.elapsed().as_secs_f64(), own_cpu() - cpu);
        println!(
            "{engine}: 100 MB of a log, {name}: {cpu:.2} CPU seconds in the master, {:.0} MB/s",
            100.0 / wall
        );
    }
}

/// CPU seconds of this process.
fn own_cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
