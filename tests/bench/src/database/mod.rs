//! What the database is asked to do, on PostgreSQL and MariaDB, beside what the bare servers can do.

mod builds;
mod claims;
mod compiler;
mod ground;
mod logs;
mod queries;

use muster_store_tests::{MariaDb, Postgres, Server};

use ground::Ground;

/// Measures everything.
pub fn measure() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    eprintln!("claims and queries on PostgreSQL ...");
    let server = Postgres::start_with(&[]);
    let ground = runtime.block_on(Ground::new(&server.db_url("buildbot")));
    ground.fill_postgres(&server, claims::ALL);
    runtime.block_on(claims::on_postgres(&server, &ground));
    ground.fill_postgres(&server, 25_000);
    runtime.block_on(queries::next_among_many(&ground, "PostgreSQL"));
    queries::many_builds(&server, &ground);
    runtime.block_on(queries::newest_builds(&ground));
    drop(ground);
    queries::newest_builds_over_rest(&server);
    drop(server);

    eprintln!("claims and queries on MariaDB ...");
    let server = MariaDb::start();
    let ground = runtime.block_on(Ground::new(&server.db_url("buildbot")));
    ground.fill_mariadb(&server, claims::ALL);
    runtime.block_on(claims::on_mariadb(&server, &ground));
    ground.fill_mariadb(&server, 25_000);
    runtime.block_on(queries::next_among_many(&ground, "MariaDB"));
    drop((ground, server));

    eprintln!("builds on PostgreSQL ...");
    builds::on_postgres();
    eprintln!("a log of 100 MB on PostgreSQL ...");
    logs::on_postgres();
}
