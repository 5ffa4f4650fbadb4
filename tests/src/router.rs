//! A WAMP router in a process of its own: ours, or Crossbar in its place.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Value, json};

use crate::{Process, Site, binary, crossbar};

/// A place for a router, and its process while it runs.
pub struct Router {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where Crossbar asks who it is.
    authenticated: Option<SocketAddr>,
    process: Option<Process>,
    lives: u32,
}

impl Default for Router {
    /// On a free port, not started.
    fn default() -> Router {
        let address = SocketAddr::from((Site::address(), Site::free_port()));
        Router { address, authenticated: None, process: None, lives: 0 }
    }
}

impl Router {
    /// Starts ours; when it accepted.
    pub fn start(&mut self, site: &Site) -> Instant {
        self.start_with(site, &[])
    }

    /// The same, with more options.
    pub fn start_with(&mut self, site: &Site, options: &[&str]) -> Instant {
        self.lives += 1;
        let address = self.address.to_string();
        let command = &mut binary::command(&["router", "--listen", &address]);
        command.args(options).current_dir(site.path(""));
        let mut process = Process::start(command, &site.path(&format!("router-{}.log", self.lives)));
        process.wait_for("the router listens on");
        self.process = Some(process);
        Instant::now()
    }

    /// Crossbar in its place, with the node configuration that `docs/router.md` recommends; only its ports differ.
    pub fn start_crossbar(&mut self, site: &Site) {
        const ANONYMOUS: &str = "anonymous";
        let authenticated =
            *self.authenticated.get_or_insert_with(|| SocketAddr::from((Site::address(), Site::free_port())));
        let mut config = documented();
        let transports = config["workers"][0]["transports"].as_array_mut().unwrap();
        for transport in transports {
            let address = if transport["id"] == ANONYMOUS { self.address } else { authenticated };
            transport["endpoint"]["interface"] = json!(address.ip());
            transport["endpoint"]["port"] = json!(address.port());
        }
        let sockets = [self.address, authenticated].map(|address| address.to_string());
        self.process = Some(crossbar::start(site, &config, &[&sockets[0], &sockets[1]]));
    }

    /// Ends it as a power cut would.
    #[track_caller]
    pub fn kill(&mut self) {
        self.process().kill();
    }

    /// Its process, which is no longer this one's.
    #[track_caller]
    pub fn process(&mut self) -> Process {
        self.process.take().expect("the router was started")
    }

    /// The line of `master.cfg` for a master that can prove who it is, where the router asks.
    pub fn mq_of_m1(&self) -> String {
        let Some(address) = self.authenticated else { return self.mq() };
        format!(
            "c['mq'] = {{'type': 'wamp', 'router_url': 'ws://{address}/ws', 'auth_method': 'wampcra', \
             'authid': 'm1', 'secret': 'change-me'}}\n"
        )
    }

    /// The line of `master.cfg`.
    pub fn mq(&self) -> String {
        format!("c['mq'] = {{'type': 'wamp', 'router_url': 'ws://{}/ws'}}\n", self.address)
    }
}

/// The configuration that the page shows.
fn documented() -> Value {
    let page = include_str!("../../docs/router.md");
    let (_, section) = page.split_once("\n## Crossbar\n").expect("the page has the section");
    let (_, block) = section.split_once("```json\n").expect("the section has a configuration");
    let (block, _) = block.split_once("```").expect("it ends");
    serde_json::from_str(block).expect("it is JSON")
}
