//! A master whose database is slow.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, ChildStdin, Command, Stdio},
};

use muster_tests::{Master, Postgres, Site, Worker, http, until};

/// Connections to the database.
const POOL: usize = 4;

#[test]
fn a_master_keeps_its_lease_while_all_others_wait_for_the_database() {
    let (site, server) = (Site::new(), Postgres::start());
    let url = format!("{}?pool_size={}", server.url("buildbot"), POOL);
    let config = format!("c['db'] = {{'db_url': '{url}'}}\nbuilder('b', sh('true'))\n");
    let mut master = Master::new(&site, &config);
    assert!(master.run("upgrade-master").status.success());
    master.start();
    let ask = |query: &str| server.sql("buildbot", query).trim().to_owned();

    std::thread::scope(|scope| {
        let lock = locked(&server, "changes");
        for _ in 0..2 * POOL {
            let web = master.web;
            // The answer comes after the lock is gone.
            scope.spawn(move || drop(http::request(web, "GET", "/api/v2/changes", None)));
        }
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        let are_busy = || ask(waiting).parse::<usize>().unwrap() >= POOL - 1;
        until("all connections to be busy, but for that of the lease", || are_busy().then_some(()));
        let counter = || ask("SELECT counter FROM muster_masters").parse::<i64>().unwrap();
        let before = counter();
        until("renewals", || (counter() >= before + 4).then_some(()));
        assert!(are_busy(), "they were all the time");
        drop(lock);
    });
    let said = master.process().said();
    assert!(!said.contains("lease can't be renewed"), "{said}");
    assert!(master.stop().success());
}

#[test]
fn a_worker_that_dials_while_a_renewal_is_late_is_let_in() {
    let (site, server) = (Site::new(), Postgres::start());
    let config = format!("c['db'] = {{'db_url': '{}'}}\nbuilder('b', sh('true'))\n", server.url("buildbot"));
    let mut master = Master::new(&site, &config);
    assert!(master.run("upgrade-master").status.success());
    let rest = master.start();
    let lock = locked(&server, "muster_masters");
    until("the end of its trust", || {
        let ready = http::request(master.web, "GET", "/readyz", None).ok()?;
        (ready.status != 200).then_some(())
    });
    let mut worker = Worker::new(&site, "w1", master.sessions);
    worker.start();
    until("its dial", || has_connection(master.sessions).then_some(()));
    drop(lock);
    rest.wait_for_worker("w1");
    let said = worker.process().said();
    assert!(!said.contains("can't renew its lease"), "{said}");
    assert!(master.stop().success());
}

/// Whether somebody is connected to this socket, as Linux tells it.
fn has_connection(socket: SocketAddr) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", socket.port());
    // Of each line: its number, the local address, the remote one, the state.
    table.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some("01")
    })
}

/// A client that has locked a table, until this is dropped.
struct Lock {
    client: Child,
    words: Option<ChildStdin>,
}

fn locked(server: &Postgres, table: &str) -> Lock {
    let mut psql = Command::new("psql");
    psql.args(["-h", "127.0.0.1", "-p", &server.port.to_string(), "-U", "bb", "-d", "buildbot", "-At"]);
    let mut client = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut words = client.stdin.take().unwrap();
    writeln!(words, "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT 'locked';").unwrap();
    let said = BufReader::new(client.stdout.take().unwrap()).lines();
    let lock = Lock { client, words: Some(words) };
    assert!(said.map(Result::unwrap).any(|line| line == "locked"));
    lock
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The end of its input is the end of the client, and of its transaction.
        self.words.take();
        let _ = self.client.wait();
    }
}
