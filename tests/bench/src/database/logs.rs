//! A long log: from the worker's socket into PostgreSQL.

use std::time::Instant;

use muster_store_tests::Postgres;
use serde_json::json;

use super::compiler;
use crate::{contender::Contender, muster::Muster, usage};

/// One log through a whole master: session, lines, journal, compression, commit.
pub fn on_postgres() {
    let server = Postgres::start_with(&[]);
    for method in ["gz", "zstd", "raw"] {
        let compression = format!("c[\"logCompressionMethod\"] = {method:?}\n");
        let master = Muster::start_with(Some(&server.url("buildbot")), 1, &compression);
        master.fleet.prepare_log(compiler::output());
        let before = usage::peak_memory(master.process());
        let (begin, cpu) = (Instant::now(), usage::cpu(master.process()));
        let server_cpu = usage::cpu_of_tree(server.id());
        let request = master.rest().force("log", json!({}));
        muster_tests::until("the log", || (master.commands_done() == 1).then_some(()));
        let wall = begin.elapsed().as_secs_f64();
        let bytes = compiler::BYTES as f64;
        println!(
            "PostgreSQL, a log of {:.0} MB, {method}: {:.2} CPU seconds in the master, {:.0} MB/s, {:.2} CPU seconds in the server, \
             at most {:.0} MiB more memory",
            bytes / 1e6,
            (usage::cpu(master.process()) - cpu).as_secs_f64(),
            bytes / 1e6 / wall,
            (usage::cpu_of_tree(server.id()) - server_cpu).as_secs_f64(),
            usage::peak_memory(master.process()) - before,
        );
        master.rest().builds_of(request);
    }
}
