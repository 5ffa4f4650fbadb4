//! A Muster master with simulated workers.

use std::collections::HashMap;
use std::time::SystemTime;

use muster_session::MasterUrl;
use muster_tests::{Process, Rest, Site, binary, process};

use crate::contender::{self, Contender, WORKERS};
use crate::fleet::Fleet;

/// The master's process and what it works with. The workers go first, the directory goes last.
pub struct Muster {
    pub fleet: Fleet,
    master: Process,
    pub rest: Rest,
    _site: Site,
}

impl Muster {
    /// Starts everything and waits until all workers are there.
    pub fn start() -> Muster {
        Muster::start_on(None, WORKERS)
    }

    /// The same on another database than SQLite, with so many of the workers.
    pub fn start_on(db_url: Option<&str>, workers: usize) -> Muster {
        Muster::start_with(db_url, workers, "")
    }

    /// The same with more lines of configuration.
    pub fn start_with(db_url: Option<&str>, workers: usize, more: &str) -> Muster {
        let site = Site::new();
        let dir = site.path("master");
        let (web, sessions) = (contender::free_port(), contender::free_port());
        let run = |command| {
            let ran = process::run(
                &mut binary::command(&[command, dir.to_str().unwrap()]),
                &site.path("command.log"),
            );
            assert!(ran.status.success(), "{}", ran.said);
        };
        run("create-master");
        let protocols = format!(r#"{{"session": {{"port": "tcp:{sessions}:interface=127.0.0.1"}}}}"#);
        let mut config = contender::configuration(&protocols, web);
        config += more;
        if let Some(url) = db_url {
            config += &format!("c[\"db\"] = {{\"db_url\": {url:?}}}\n");
        }
        std::fs::write(dir.join("master.cfg"), config).unwrap();
        run("upgrade-master");
        let mut command = binary::command(&["master", dir.to_str().unwrap()]);
        let mut master = Process::start(&mut command, &site.path("master.log"));
        master.wait_for("BuildMaster is running");
        let master_url = MasterUrl { host: "127.0.0.1".to_owned(), port: sessions, tls: false };
        let fleet = Fleet::start(&master_url, (0..workers).collect());
        let rest = Rest(([127, 0, 0, 1], web).into());
        contender::wait_for_workers(rest, workers);
        Muster { fleet, master, rest, _site: site }
    }
}

impl Contender for Muster {
    fn rest(&self) -> Rest {
        self.rest
    }

    fn process(&self) -> u32 {
        self.master.id()
    }

    fn commands_done(&self) -> usize {
        self.fleet.seen(|seen| seen.done)
    }

    fn starts(&mut self) -> HashMap<String, SystemTime> {
        self.fleet.seen(|seen| std::mem::take(&mut seen.starts))
    }
}
