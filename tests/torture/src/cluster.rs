//! The processes: database, router, masters, workers.

use std::net::SocketAddr;
use std::process::Command;

use muster_tests::stock::{Protocol, Release, StockWorker};
use muster_tests::worker::PASSWORD;
use muster_tests::{Postgres, Rest, Site, binary, process};

use crate::clock::Clock;
use crate::config;
use crate::network::Network;
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
    /// Gateways in processes of their own; beside them masters that do everything have one, too.
    pub gateways: usize,
    /// Muster's own workers.
    pub own: usize,
    /// Stock workers.
    pub stock: usize,
    /// Builds at a time on each worker.
    pub max_builds: usize,
    /// What partitions are made of.
    pub ground: Ground,
    /// Crossbar in the place of our router.
    pub crossbar: bool,
    /// Masters have clocks that can be stepped.
    pub clocks: bool,
}

/// How partitions are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Not at all: for measurements.
    Direct,
    /// By wires of this process, which hold bytes back.
    Wires,
    /// By network namespaces, where this process may make them; else by wires.
    Namespaces,
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
    /// Its port for Muster's workers.
    own_sessions: SocketAddr,
    own_database: SocketAddr,
    /// What can be cut off.
    pub link: Link,
    /// Where stock workers and `sendchange` dial.
    pub pb: SocketAddr,
    /// Its wall clock, where that can be stepped.
    pub clock: Option<Clock>,
}

/// What is between a master and the others.
pub enum Link {
    /// Nothing that could be cut.
    Direct,
    /// Wires.
    Wires {
        /// Between it and the workers.
        door: Wire,
        /// Between it and the database.
        database: Wire,
    },
    /// The network of its namespace, which has this number.
    Cell(usize),
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
        match &self.link {
            Link::Wires { door, .. } => door.address,
            _ => self.own_sessions,
        }
    }

    /// Starts its next life; `network` is that of its cell.
    pub fn start(&mut self, network: Option<&Network>) {
        let mut command = binary::command(&["master", &self.dir]);
        if !self.roles.is_empty() {
            command.args(["--roles", self.roles]);
        }
        let ports = [("WEB", self.web), ("SESSIONS", self.own_sessions), ("PB", self.pb)];
        command.envs(ports.map(|(name, at)| (format!("TORTURE_{name}"), at.port().to_string())));
        let database = match &self.link {
            Link::Wires { database, .. } => database.address,
            _ => self.own_database,
        };
        command
            .env("TORTURE_DATABASE", database.to_string())
            .env("TORTURE_ADDRESS", self.web.ip().to_string());
        if let Some(clock) = &self.clock {
            clock.rule(&mut command);
        }
        if let (Link::Cell(number), Some(network)) = (&self.link, network) {
            command = network.command_in(*number, &command);
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
    /// The master to whose gateway each of them dials.
    doors: Vec<usize>,
    /// Muster's workers.
    pub own: Vec<Worker>,
    /// Masters.
    pub masters: Vec<Master>,
    /// The router.
    pub router: Router,
    /// The database.
    pub database: Postgres,
    /// Where masters live, if they have namespaces.
    pub network: Option<Network>,
    /// Where all of it lies.
    pub site: Site,
}

fn free() -> SocketAddr {
    SocketAddr::from((Site::address(), Site::free_port()))
}

/// The network that was asked for, if it can be had.
fn network(size: Size, site: &Site) -> Option<Network> {
    if size.ground != Ground::Namespaces {
        return None;
    }
    match Network::new(&site.path("")) {
        Ok(network) => Some(network),
        Err(reason) => {
            eprintln!("no network namespaces, so partitions are wires: {reason}");
            None
        }
    }
}

impl Cluster {
    /// Starts everything and waits until all workers are connected. `builders` ends the configuration.
    pub fn start(size: Size, builders: &str) -> Cluster {
        let site = Site::new();
        let mut network = network(size, &site);
        let mut database = Postgres::start();
        let mut router = Router { node: muster_tests::Router::default(), crossbar: size.crossbar };
        if let Some(network) = &network {
            database.listen_also(network.database(), &network.block_name());
            router.node.address.set_ip(network.router());
        }
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
                let place = Place { site: &site, config: &config, database: &database, size };
                masters.push(place.make_master(&format!("{kind}{number}"), roles, network.as_mut()));
            }
        }
        masters.iter_mut().for_each(|master| master.start(network.as_ref()));
        masters.iter_mut().for_each(|master| master.node.wait_for("BuildMaster is running"));
        let mut cluster = Cluster {
            stock: Vec::new(),
            doors: Vec::new(),
            own: Vec::new(),
            masters,
            router,
            database,
            network,
            site,
        };
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
        let gateways: Vec<usize> =
            (0..self.masters.len()).filter(|index| self.masters[*index].has("gateway")).collect();
        for number in 0..size.stock {
            let (name, at) = (format!("stock{number}"), gateways[number % gateways.len()]);
            let door = self.masters[at].pb;
            self.doors.push(at);
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

    /// The names of the stock workers that hang on the gateway of a master.
    pub fn hang_on(&self, master: usize) -> Vec<String> {
        let hanging = self.doors.iter().enumerate().filter(|(_, door)| **door == master);
        hanging.map(|(number, _)| format!("stock{number}")).collect()
    }

    /// The masters that are gateways and nothing else.
    pub fn gateways(&self) -> Vec<usize> {
        (0..self.masters.len()).filter(|index| self.masters[*index].roles == "gateway").collect()
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
    if size.schedulers + size.web == 0 {
        // The gateways first: they get the first workers.
        return vec![("gateway", size.gateways, "gateway"), ("master", size.engines, "")];
    }
    vec![
        ("engine", size.engines, "engine"),
        ("scheduler", size.schedulers, "scheduler"),
        ("web", size.web, "web"),
        ("gateway", size.gateways, "gateway"),
    ]
}

/// What all masters are made from.
struct Place<'a> {
    site: &'a Site,
    config: &'a str,
    database: &'a Postgres,
    size: Size,
}

impl Place<'_> {
    fn make_master(&self, name: &str, roles: &'static str, network: Option<&mut Network>) -> Master {
        let dir = self.site.path(name);
        let url = self.database.url("buildbot");
        let mut create = binary::command(&["create-master", "--db", &url, dir.to_str().unwrap()]);
        let created = process::run(&mut create, &self.site.path(&format!("create-{name}.log")));
        assert!(created.status.success(), "{}", created.said);
        std::fs::write(dir.join("master.cfg"), self.config).unwrap();
        let [mut web, mut sessions, mut pb] = [free(), free(), free()];
        let mut database = SocketAddr::from(([127, 0, 0, 1], self.database.port));
        let link = match (network, self.size.ground) {
            (Some(network), _) => {
                let cell = network.add_cell().expect("another namespace was made before");
                for at in [&mut web, &mut sessions, &mut pb] {
                    at.set_ip(network.of_cell(cell));
                }
                database.set_ip(network.database());
                Link::Cell(cell)
            }
            (None, Ground::Direct) => Link::Direct,
            (None, _) => Link::Wires { door: Wire::to(sessions), database: Wire::to(database) },
        };
        Master {
            node: Node::new(name, &self.site.path("")),
            roles,
            dir: dir.to_str().unwrap().to_owned(),
            web,
            own_sessions: sessions,
            own_database: database,
            link,
            pb,
            clock: self.size.clocks.then(|| Clock::new(&self.site.path(&format!("clock-{name}")))),
        }
    }
}
