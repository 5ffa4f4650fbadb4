//! Rows to measure on.

use muster_core::{BuilderId, MasterId};
use muster_store::{Db, DbUrl, Result, query};
use muster_store_tests::{MariaDb, Postgres, data};

/// Builders of the measured masters.
const BUILDERS: usize = 500;

/// A database with masters, builders and one buildset.
pub struct Ground {
    pub db: Db,
    pub url: DbUrl,
    pub masters: Vec<MasterId>,
    pub builders: Vec<BuilderId>,
    buildset: i64,
}

impl Ground {
    /// Makes the schema and the rows.
    pub async fn new(url: &DbUrl) -> Ground {
        let db = Db::upgrade(url).await.unwrap();
        let masters = data::masters(&db, 8).await;
        let (builders, _) = data::builders(&db, masters[0], BUILDERS).await;
        let request = data::requests(&db, &builders, 1).await[0];
        let read: Result<_> =
            db.read("request", |tx| async move { query::requests::by_id(&tx, request).await }).await;
        let buildset = read.unwrap().unwrap().buildset.0;
        Ground { db, url: url.clone(), masters, builders, buildset }
    }

    /// So many pending requests, with the ids from 1, on the builders in turn; nothing is claimed.
    pub fn fill_postgres(&self, server: &Postgres, count: usize) {
        let text = format!(
            "TRUNCATE buildrequest_claims; DELETE FROM buildrequests; DROP SEQUENCE IF EXISTS nextbr; CREATE SEQUENCE nextbr; \
             INSERT INTO buildrequests (id, buildsetid, builderid, priority, complete, results, submitted_at, waited_for) \
             SELECT g, {}, {} + g % {BUILDERS}, 0, 0, -1, 1, 0 FROM generate_series(1, {count}) g",
            self.buildset, self.builders[0].0,
        );
        server.sql("buildbot", &text);
        server.sql("buildbot", "VACUUM ANALYZE");
    }

    /// The same.
    pub fn fill_mariadb(&self, server: &MariaDb, count: usize) {
        let text = format!(
            "DELETE FROM buildrequest_claims; DELETE FROM buildrequests; INSERT INTO buildrequests (id, buildsetid, \
             builderid, priority, complete, results, submitted_at, waited_for) SELECT seq, {}, {} + seq % {BUILDERS}, 0, 0, \
             -1, 1, 0 FROM seq_1_to_{count}",
            self.buildset, self.builders[0].0,
        );
        server.sql("buildbot", &text);
    }
}
