//! The processes: database, router, masters, workers.

use std::net::SocketAddr;
use std::process::Command;

use muster_tests::stock::{Protocol, Release, StockWorker};
use muster_tests::worker::PASSWORD;
use muster_tests::{Postgres, Rest, Site, binary, process};

use crate::clock::Clock;
use crate::config;
use crate::node::Node;
use crate::wire::Wire;

/// How many of each, and on what ground.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Engines, or masters that do everything when there are no others.
    pub engines: usize,
    /// Masters with schedulers only.
    pub schedulers: usize,
    /// Masters with pages only.
    pub web: usize,
    /// Gateways in processes of their own.
    pub gateways: usize,
    /// Muster's own workers.
    pub own: usize,
    /// Stock workers.
    pub stock: usize,
    /// Builds at a time on each worker.
    pub max_builds: usize,
    /// Without wires that can be cut: for measurements.
    pub direct: bool,
    /// Crossbar in the place of our router.
    pub crossbar: bool,
    /// Masters have clocks that can be stepped.
    pub clocks: bool,
}

/// A master, and where it listens.
pub struct Master {
    /// Its process.
    pub node: Node,
    /// Its roles; empty: all.
    pub roles: &'static str,
    dir: String,
    /// Its web port.
    pub web: SocketAddr,
    direct: bool,
    /// Between it and the workers.
    pub door: Wire,
    /// Between it and the database.
    pub database: Wire,
    /// Where stock workers and `sendchange` dial.
    pub pb: SocketAddr,
    /// Its wall clock, where that can be stepped.
    pub clock: Option<Clock>,
}

impl Master {
    fn has(&self, role: &str) -> bool {
        self.roles.is_empty() || self.roles.split(',').any(|own| own == role)
    }

    /// Whether `sendchange` finds somebody there.
    pub fn takes_changes(&self) -> bool {
        self.has("gateway")
    }

    /// Its REST interface, if it has one.
    pub fn rest(&self) -> Option<Rest> {
        self.has("web").then_some(Rest(self.web))
    }

    /// Where Muster's workers dial.
    pub fn sessions(&self) -> SocketAddr {
        if self.direct { self.door.leads_to() } else { self.door.address }
    }

    /// Starts its next life.
    pub fn start(&mut self) {
        let mut command = binary::command(&["master", &self.dir]);
        if !self.roles.is_empty() {
            command.args(["--roles", self.roles]);
        }
        let ports = [("WEB", self.web), ("SESSIONS", self.door.leads_to()), ("PB", self.pb)];
        command.envs(ports.map(|(name, at)| (format!("TORTURE_{name}"), at.port().to_string())));
        let database = if self.direct { self.database.leads_to() } else { self.database.address };
        command.env("TORTURE_DATABASE", database.to_string());
        if let Some(clock) = &self.clock {
            clock.rule(&mut command);
        }
        self.node.start(&mut command);
    }
}

/// One of Muster's own workers.
pub struct Worker {
    /// Its process.
    pub node: Node,
    dir: String,
    masters: Vec<String>,
}

impl Worker {
    /// Starts its next life.
    pub fn start(&mut self) {
        let mut command = binary::command(&["worker", &self.dir, "--name", &self.node.name]);
        for master in &self.masters {
            command.args(["--master", master]);
        }
        self.node.start(command.env("MUSTER_WORKER_PASSWORD", PASSWORD));
    }
}

/// The router, of either kind.
pub struct Router {
    /// Its process.
    pub node: muster_tests::Router,
    crossbar: bool,
}

impl Router {
    /// Starts its next life.
    pub fn start(&mut self, site: &Site) {
        match self.crossbar {
            true => self.node.start_crossbar(site),
            false => drop(self.node.start(site)),
        }
    }
}

/// Everything that runs. The order of the fields is the order of their end.
pub struct Cluster {
    /// Stock workers.
    pub stock: Vec<StockWorker>,
    /// Muster's workers.
    pub own: Vec<Worker>,
    /// Masters.
    pub masters: Vec<Master>,
    /// The router.
    pub router: Router,
    /// The database.
    pub database: Postgres,
    /// Where all of it lies.
    pub site: Site,
}

fn free() -> SocketAddr {
    SocketAddr::from((Site::address(), Site::free_port()))
}

impl Cluster {
    /// Starts everything and waits until all workers are connected. `builders` ends the configuration.
    pub fn start(size: Size, builders: &str) -> Cluster {
        let site = Site::new();
        let database = Postgres::start();
        let mut router = Router { node: muster_tests::Router::default(), crossbar: size.crossbar };
        router.start(&site);
        let facts = config::Facts {
            site: &site,
            router: router.node.address,
            own: size.own,
            stock: size.stock,
            max_builds: size.max_builds,
            builders,
        };
        muster_tests::git::Repository::create(&site.path("repository"));
        let config = facts.write();
        let mut masters = Vec::new();
        for (kind, count, roles) in kinds(size) {
            for number in 0..count {
                masters.push(make_master(&site, &format!("{kind}{number}"), roles, &config, &database, size));
            }
        }
        masters.iter_mut().for_each(Master::start);
        masters.iter_mut().for_each(|master| master.node.wait_for("BuildMaster is running"));
        let mut cluster = Cluster { stock: Vec::new(), own: Vec::new(), masters, router, database, site };
        cluster.start_workers(size);
        cluster
    }

    fn start_workers(&mut self, size: Size) {
        let engines: Vec<String> = self
            .masters
            .iter()
            .filter(|master| master.has("engine"))
            .map(|master| format!("ws://{}", master.sessions()))
            .collect();
        for number in 0..size.own {
            let name = format!("own{number}");
            let mut masters = engines.clone();
            let first = number % masters.len();
            masters.rotate_left(first);
            let dir = self.site.path(&name).to_str().unwrap().to_owned();
            let mut worker = Worker { node: Node::new(&name, &self.site.path("")), dir, masters };
            worker.start();
            self.own.push(worker);
        }
        let doors: Vec<SocketAddr> =
            self.masters.iter().filter(|master| master.has("gateway")).map(|master| master.pb).collect();
        for number in 0..size.stock {
            let (name, door) = (format!("stock{number}"), doors[number % doors.len()]);
            let options = ["--maxdelay=5"];
            let mut worker =
                StockWorker::create(&self.site, &name, &name, Release::Current, Protocol::Pb, door, &options);
            worker.start();
            self.stock.push(worker);
        }
        let rest = self.any_rest();
        for name in
            (0..size.own).map(|n| format!("own{n}")).chain((0..size.stock).map(|n| format!("stock{n}")))
        {
            rest.wait_for_worker(&name);
        }
    }

    /// The REST interface of the first master that has one.
    pub fn any_rest(&self) -> Rest {
        self.masters.iter().find_map(Master::rest).expect("a master has pages")
    }

    /// The answer of the database to a query, one line for each row; `None` when it is away.
    pub fn ask(&self, query: &str) -> Option<String> {
        ask(self.database.port, query)
    }
}

/// As [`Cluster::ask`], by the database's port.
pub fn ask(port: u16, query: &str) -> Option<String> {
    let mut psql = Command::new("psql");
    psql.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "bb", "-d", "buildbot", "-At", "-c", query]);
    let output = psql.env("PGCONNECT_TIMEOUT", "2").output().unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn kinds(size: Size) -> Vec<(&'static str, usize, &'static str)> {
    if size.schedulers + size.web + size.gateways == 0 {
        return vec![("master", size.engines, "")];
    }
    vec![
        ("engine", size.engines, "engine"),
        ("scheduler", size.schedulers, "scheduler"),
        ("web", size.web, "web"),
        ("gateway", size.gateways, "gateway"),
    ]
}

fn make_master(
    site: &Site,
    name: &str,
    roles: &'static str,
    config: &str,
    database: &Postgres,
    size: Size,
) -> Master {
    let dir = site.path(name);
    let mut create =
        binary::command(&["create-master", "--db", &database.url("buildbot"), dir.to_str().unwrap()]);
    let created = process::run(&mut create, &site.path(&format!("create-{name}.log")));
    assert!(created.status.success(), "{}", created.said);
    std::fs::write(dir.join("master.cfg"), config).unwrap();
    Master {
        node: Node::new(name, &site.path("")),
        roles,
        dir: dir.to_str().unwrap().to_owned(),
        web: free(),
        direct: size.direct,
        door: Wire::to(free()),
        database: Wire::to(SocketAddr::from(([127, 0, 0, 1], database.port))),
        pb: free(),
        clock: size.clocks.then(|| Clock::new(&site.path(&format!("clock-{name}")))),
    }
}
