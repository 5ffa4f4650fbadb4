//! One test, run on each engine.

use muster_store::{Db, DbUrl};
use muster_store_tests::{MariaDb, Postgres, Server};

/// A fresh database, and what must live as long as it is used.
pub struct Ground {
    pub db: Db,
    _keep: Box<dyn std::any::Any>,
}

pub async fn sqlite() -> Ground {
    let directory = tempfile::tempdir().unwrap();
    let url = DbUrl::Sqlite(directory.path().join("state.sqlite"));
    Ground { db: Db::upgrade(&url).await.unwrap(), _keep: Box::new(directory) }
}

pub async fn postgres() -> Ground {
    let server = Postgres::start();
    let url = server.db_url("buildbot");
    Ground { db: Db::upgrade(&url).await.unwrap(), _keep: Box::new(server) }
}

pub async fn mariadb() -> Ground {
    let server = MariaDb::start();
    let url = server.db_url("buildbot");
    Ground { db: Db::upgrade(&url).await.unwrap(), _keep: Box::new(server) }
}

/// Makes of each `async fn test(ground: &Ground)` a test on every engine; all of an engine share one server.
macro_rules! on_every_engine {
    ($($test:path),+ $(,)?) => {
        on_every_engine!(@on sqlite: $($test),+);
        on_every_engine!(@on postgres: $($test),+);
        on_every_engine!(@on mariadb: $($test),+);
    };
    (@on $engine:ident: $($test:path),+) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $engine() {
            let ground = crate::engines::$engine().await;
            $($test(&ground).await;)+
        }
    };
}
pub(crate) use on_every_engine;
