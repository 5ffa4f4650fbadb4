//! Queries over many rows.

use std::time::{Duration, Instant};

use muster_store::{Result, buildsets, query};
use muster_store_tests::{
    Postgres,
    data::{claim, tx},
};

use super::ground::Ground;
use crate::muster::Muster;

/// Times of an operation, of which the median and the 95th percentile are printed.
const SAMPLES: usize = 101;

struct Times(Vec<Duration>);

impl Times {
    fn print(mut self, what: &str) {
        self.0.sort();
        let at = |share: usize| self.0[(self.0.len() - 1) * share / 100].as_secs_f64() * 1e3;
        println!("{what}: {:.2} ms (median), {:.2} ms (95 %)", at(50), at(95));
    }
}

async fn timed<Fut: Future>(what: &str, mut operation: impl FnMut() -> Fut) {
    let mut times = Vec::new();
    for _ in 0..SAMPLES {
        let begin = Instant::now();
        operation().await;
        times.push(begin.elapsed());
    }
    Times(times).print(what);
}

/// 25 000 pending requests on 500 builders.
pub async fn next_among_many(ground: &Ground, engine: &str) {
    let (db, master) = (&ground.db, ground.masters[0]);
    let all = ground.builders.as_slice();
    let what = |which: &str| format!("{engine}, 25 000 pending requests on 500 builders, {which}");
    timed(&what("what the distributor looks at"), || async move {
        let read: Result<Vec<_>> =
            db.read("look", |tx| async move { buildsets::pending(&tx, all, 500).await }).await;
        assert_eq!(read.unwrap().len(), 500);
    })
    .await;
    timed(&what("next claim over all of them"), || async move {
        let taken = tx(db, |tx| async move { buildsets::claim_next(&tx, all, 1, claim(master)).await }).await;
        assert_eq!(taken.len(), 1);
    })
    .await;
    let one = &ground.builders[7..8];
    timed(&what("next claim of one builder"), || async move {
        tx(db, |tx| async move { buildsets::claim_next(&tx, one, 1, claim(master)).await }).await;
    })
    .await;
}

/// Makes a million builds.
pub fn many_builds(server: &Postgres, ground: &Ground) {
    let text = format!(
        "INSERT INTO builds (number, builderid, buildrequestid, masterid, started_at, complete_at, locks_duration_s, \
         state_string, results) SELECT g, {}, 1, {}, g, g, 0, 'done', 0 FROM generate_series(100, 1000099) g",
        ground.builders[0].0, ground.masters[0].0
    );
    server.sql("buildbot", &text);
    server.sql("buildbot", "VACUUM ANALYZE builds");
}

/// The query behind `builds?limit=50&order=-buildid`.
pub async fn newest_builds(ground: &Ground) {
    let db = &ground.db;
    timed("the 50 newest of a million builds, query", || async move {
        let column = query::builds::TABLE.column("buildid").unwrap();
        let select = query::Select::all().order_by(column, true).limit(50);
        let read: Result<Vec<_>> =
            db.read("newest", |tx| async move { query::builds::list(&tx, &select).await }).await;
        assert_eq!(read.unwrap().len(), 50);
    })
    .await;
}

/// The same, asked of a master over HTTP, each time on a connection of its own.
pub fn newest_builds_over_rest(server: &Postgres) {
    let master = Muster::start_on(Some(&server.url("buildbot")), 1);
    let mut times = Vec::new();
    for _ in 0..SAMPLES {
        let begin = Instant::now();
        assert_eq!(master.rest.list("builds?limit=50&order=-buildid").len(), 50);
        times.push(begin.elapsed());
    }
    Times(times).print("the 50 newest of a million builds, REST");
}
