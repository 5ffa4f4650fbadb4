//! A WAMP router in a process of its own: ours, or Crossbar in its place.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::json;

use crate::{Process, Site, binary, crossbar};

/// A place for a router, and its process while it runs.
pub struct Router {
    /// Where it listens.
    pub address: SocketAddr,
    process: Option<Process>,
    lives: u32,
}

impl Default for Router {
    /// On a free port, not started.
    fn default() -> Router {
        let address = SocketAddr::from((Site::address(), Site::free_port()));
        Router { address, process: None, lives: 0 }
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

    /// Crossbar in its place, with what Buildbot's masters need and nothing more.
    pub fn start_crossbar(&mut self, site: &Site) {
        let address = self.address.to_string();
        let permission = json!({
            "uri": "org.buildbot.", "match": "prefix", "cache": true,
            "allow": {"call": false, "register": false, "publish": true, "subscribe": true},
            "disclose": {"caller": false, "publisher": false},
        });
        let transport = json!({
            "type": "websocket",
            "endpoint": {"type": "tcp", "interface": self.address.ip(), "port": self.address.port()},
            "url": format!("ws://{address}/ws"),
            "auth": {"anonymous": {"type": "static", "role": "master"}},
        });
        let realm = json!({"name": "buildbot", "roles": [{"name": "master", "permissions": [permission]}]});
        let worker = json!({"type": "router", "realms": [realm], "transports": [transport]});
        let config = json!({"version": 2, "controller": {}, "workers": [worker]});
        self.process = Some(crossbar::start(site, &config, &[&address]));
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

    /// The line of `master.cfg`.
    pub fn mq(&self) -> String {
        format!("c['mq'] = {{'type': 'wamp', 'router_url': 'ws://{}/ws'}}\n", self.address)
    }
}
