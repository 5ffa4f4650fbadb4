//! Networks of their own for masters, by namespaces of the kernel: in a partition packets vanish, and nobody is told.
//!
//! Every master is alone in a namespace, and a namespace between them and this one forwards packets, unless it has a rule that
//! makes them vanish. So a partition may have any two sides, in one direction or both. Nothing of it has a name outside of the
//! processes that hold it, so that the kernel removes all of it with them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;

use muster_tests::{Process, process};

/// Whom a master may be cut off from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// Workers of both kinds, and whoever asks for pages or sends changes.
    Workers,
    /// The database.
    Database,
    /// The router.
    Router,
    /// All other masters.
    Masters,
}

/// All of them.
pub const PEERS: [Peer; 4] = [Peer::Workers, Peer::Database, Peer::Router, Peer::Masters];

impl Peer {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Workers => "workers",
            Peer::Database => "database",
            Peer::Router => "router",
            Peer::Masters => "masters",
        }
    }
}

/// In which direction packets vanish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Neither side hears the other.
    Both,
    /// The master is not heard.
    From,
    /// The master does not hear.
    To,
}

/// For benchmarks of networks (RFC 2544), so nobody's real network; the other half belongs to the tests of operations.
const NETWORK: [u8; 2] = [198, 19];
/// The last numbers: of what runs here, of whatever forwards, and of the first master.
const WORKERS: u8 = 1;
const DATABASE: u8 = 2;
const ROUTER: u8 = 3;
const SWITCH: u8 = 254;
const FIRST: u8 = 10;

/// A process that keeps a network namespace.
struct Holder(Process);

impl Holder {
    fn new(site: &Path, name: &str) -> Result<Holder, String> {
        const SCRIPT: &str = "ip link set lo up && echo is held && exec sleep infinity";
        let mut command = Command::new("unshare");
        // It ends with whoever started it, however that ends.
        command.args(["--net", "setpriv", "--pdeathsig", "KILL", "sh", "-c", SCRIPT]).current_dir(site);
        let mut process = Process::start(&mut command, &site.join(format!("network-{name}.log")));
        muster_tests::until("the namespace, or its refusal", || {
            (process.said().contains("is held") || !process.is_running()).then_some(())
        });
        if process.is_running() { Ok(Holder(process)) } else { Err(process.said().trim().to_owned()) }
    }

    /// A command that runs in the namespace.
    fn enter(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.0.id())).arg(program);
        command
    }

    fn run(&self, site: &Path, script: &str) -> Result<(), String> {
        let mut command = self.enter("sh");
        run(command.args(["-euc", script]), site)
    }
}

fn run(command: &mut Command, site: &Path) -> Result<(), String> {
    let ended = process::run(command, &site.join("network.log"));
    if ended.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", ended.said.trim())) }
}

/// The network of a cluster. The masters' namespaces go before what connects them.
pub struct Network {
    site: std::path::PathBuf,
    block: u8,
    cells: Vec<Holder>,
    switch: Holder,
}

impl Network {
    /// A network without masters yet.
    ///
    /// # Errors
    /// Why there can't be one: mostly that this process may not make namespaces.
    pub fn new(site: &Path) -> Result<Network, String> {
        let switch = Holder::new(site, "switch")?;
        let network = Network { site: site.to_owned(), block: free_block(site)?, cells: Vec::new(), switch };
        let (link, switch) = (format!("mt{}", std::process::id()), network.address(SWITCH));
        let own = [WORKERS, DATABASE, ROUTER].map(|number| network.address(number));
        let script = format!(
            "ip link add {link} type veth peer name outside netns {holder}
             for own in {own}; do ip address add $own/32 dev {link}; done
             ip link set {link} up",
            holder = network.switch.0.id(),
            own = own.map(|address| address.to_string()).join(" "),
        );
        run(Command::new("sh").args(["-euc", &script]), site)?;
        network.switch.run(
            site,
            &format!(
                "echo 1 > /proc/sys/net/ipv4/ip_forward
                 ip address add {switch}/32 dev lo
                 ip link set outside up
                 for own in {own}; do ip route add $own dev outside; done
                 # Whether this kernel can make packets vanish shows here.
                 ip rule add from {switch} to {switch} blackhole priority 99
                 ip rule del priority 99",
                own = own.map(|address| address.to_string()).join(" "),
            ),
        )?;
        let [workers, ..] = own;
        let block = network.block_name();
        let script = format!(
            "ip route add {switch} dev {link} src {workers}
             ip route add {block} via {switch} src {workers}"
        );
        run(Command::new("sh").args(["-euc", &script]), site)?;
        Ok(network)
    }

    fn address(&self, number: u8) -> Ipv4Addr {
        let [first, second] = NETWORK;
        Ipv4Addr::new(first, second, self.block, number)
    }

    /// All of its addresses, as routes and PostgreSQL write them.
    pub fn block_name(&self) -> String {
        format!("{}/24", self.address(0))
    }

    /// Where the database listens.
    pub fn database(&self) -> IpAddr {
        self.address(DATABASE).into()
    }

    /// Where the router listens.
    pub fn router(&self) -> IpAddr {
        self.address(ROUTER).into()
    }

    /// A place for one more master; answers its number.
    ///
    /// # Errors
    /// What the kernel or `ip` said.
    pub fn add_cell(&mut self) -> Result<usize, String> {
        let number = self.cells.len();
        let holder = Holder::new(&self.site, &format!("cell{number}"))?;
        let (link, own, switch) = (format!("cell{number}"), self.of_cell(number), self.address(SWITCH));
        self.switch.run(
            &self.site,
            &format!(
                "ip link add {link} type veth peer name outside netns {holder}
                 ip link set {link} up
                 ip route add {own} dev {link}",
                holder = holder.0.id(),
            ),
        )?;
        holder.run(
            &self.site,
            &format!(
                "ip address add {own}/32 dev outside
                 ip link set outside up
                 ip route add {switch} dev outside
                 ip route add default via {switch} src {own}"
            ),
        )?;
        self.cells.push(holder);
        Ok(number)
    }

    /// The address of a master.
    pub fn of_cell(&self, number: usize) -> IpAddr {
        let number = u8::try_from(number).expect("there are few masters");
        self.address(FIRST + number).into()
    }

    /// Makes a command run where a master lives.
    pub fn command_in(&self, number: usize, command: &Command) -> Command {
        let mut inside =
            self.cells[number].enter(command.get_program().to_str().expect("a path of this tree"));
        inside.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// Lets packets between a master and others vanish.
    ///
    /// # Errors
    /// What the kernel or `ip` said.
    pub fn cut(&self, number: usize, from: &BTreeSet<Peer>, direction: Direction) -> Result<(), String> {
        let own = self.of_cell(number);
        let mut script = String::new();
        for other in from.iter().flat_map(|peer| self.addresses(number, *peer)) {
            for (source, target, vanishes) in
                [(own, other, direction != Direction::To), (other, own, direction != Direction::From)]
            {
                if vanishes {
                    script += &format!(
                        "ip rule add from {source} to {target} blackhole priority {}\n",
                        priority(number)
                    );
                }
            }
        }
        self.switch.run(&self.site, &script)
    }

    /// Ends what [`Network::cut`] began.
    ///
    /// # Errors
    /// What the kernel or `ip` said.
    pub fn mend(&self, number: usize) -> Result<(), String> {
        let script = format!("while ip rule del priority {} 2>/dev/null; do :; done", priority(number));
        self.switch.run(&self.site, &script)
    }

    fn addresses(&self, number: usize, peer: Peer) -> Vec<IpAddr> {
        match peer {
            Peer::Workers => vec![self.address(WORKERS).into()],
            Peer::Database => vec![self.database()],
            Peer::Router => vec![self.router()],
            Peer::Masters => (0..self.cells.len())
                .filter(|other| *other != number)
                .map(|other| self.of_cell(other))
                .collect(),
        }
    }
}

/// Under which the rules about a master are found again.
fn priority(number: usize) -> usize {
    100 + number
}

/// A block of addresses that nobody here has.
fn free_block(site: &Path) -> Result<u8, String> {
    let taken = process::run(Command::new("ip").args(["-o", "-4", "route"]), &site.join("network.log"));
    let [first, second] = NETWORK;
    let begin = std::process::id() as usize;
    let mut blocks = (0..250_u8).map(|offset| ((begin + usize::from(offset)) % 250) as u8);
    let free = blocks.find(|block| !taken.said.contains(&format!("{first}.{second}.{block}.")));
    free.ok_or_else(|| "all blocks of addresses are taken".to_owned())
}
