//! What the database is asked to do, on PostgreSQL and MariaDB, beside what the bare servers can do.

mod builds;
mod claims;
mod compiler;
mod ground;
mod logs;
mod queries;
mod queue;

use muster_store_tests::{MariaDb, Postgres, Server};

use ground::Ground;

/// What is measured, by name; `MUSTER_BENCH_DATABASE` names the only one that is wanted.
const MEASUREMENTS: [(&str, fn()); 4] = [
    ("claims", claims_and_queries),
    ("queue", next_claims),
    ("builds", builds::on_postgres),
    ("log", logs::on_postgres),
];

/// Measures everything, or the one.
pub fn measure() {
    let wanted = std::env::var("MUSTER_BENCH_DATABASE").ok();
    for (name, measure) in MEASUREMENTS {
        if wanted.as_deref().is_none_or(|wanted| wanted == name) {
            eprintln!("database: {name} ...");
            measure();
        }
    }
}

fn claims_and_queries() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    eprintln!("claims and queries on PostgreSQL ...");
    let server = Postgres::start_with(&[]);
    let ground = runtime.block_on(Ground::new(&server.db_url("buildbot")));
    ground.fill_postgres(&server, claims::PENDING);
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
    ground.fill_mariadb(&server, claims::PENDING);
    runtime.block_on(claims::on_mariadb(&server, &ground));
    ground.fill_mariadb(&server, 25_000);
    runtime.block_on(queries::next_among_many(&ground, "MariaDB"));
    drop((ground, server));
}

fn next_claims() {
    let server = Postgres::start_with(&[]);
    let sequence = |count| format!("generate_series(1, {count}) AS n");
    queue::next_claim("PostgreSQL", &server.url("buildbot"), sequence, |text| server.sql("buildbot", text));
    drop(server);
    let server = MariaDb::start();
    let sequence = |count| format!("(SELECT seq AS n FROM seq_1_to_{count}) AS numbers");
    queue::next_claim("MariaDB", &server.url("buildbot"), sequence, |text| server.sql("buildbot", text));
}
