//! The sockets, opened before the master says that it runs.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use muster_config::snapshot::{ChangeSourceKind, Snapshot};
use muster_core::{Role, Roles, strports::ListenAddress};
use muster_web::Listener;
use tokio::net::TcpListener;

/// Where workers are accepted when `c['protocols']['session']` names no port.
const SESSION_PORT: &str = "9990";

/// All sockets of one configuration.
pub struct Listeners {
    /// For pages and REST.
    pub web: Vec<Listener>,
    /// For probes only.
    pub probe: Vec<Listener>,
    /// For workers.
    pub sessions: Vec<TcpListener>,
    /// For stock workers, and for changes that are sent.
    pub stock: Vec<GatewayListener>,
}

/// A socket of the gateway.
pub struct GatewayListener {
    /// The socket.
    pub listener: muster_gateway::Listener,
    /// What is spoken there.
    pub protocol: StockProtocol,
}

/// What the gateway speaks.
pub enum StockProtocol {
    /// Perspective Broker; `port` is that of a change source, if it has one of its own.
    Pb {
        /// As configured.
        port: Option<String>,
    },
    /// `msgpack_experimental_v7`.
    Msgpack,
}

impl Listeners {
    /// Opens all that a master with these roles needs, or none.
    pub async fn open(snapshot: &Snapshot, roles: Roles, probe: Option<&str>) -> Result<Listeners> {
        check(snapshot, roles)?;
        let mut web = Vec::new();
        if let Some(port) = snapshot.www.port.as_ref().filter(|_| roles.has(Role::Web)) {
            web.push(listen(port, "c['www']['port']").await?);
        }
        let mut sessions = Vec::new();
        if let Some(port) = session_port(snapshot).filter(|_| roles.has(Role::Engine)) {
            let setting = "c['protocols']['session']['port']";
            match listen(&port, setting).await? {
                Listener::Tcp(listener) => sessions.push(listener),
                Listener::Unix(_) => {
                    bail!("{setting}: workers connect over TCP; write a port such as {SESSION_PORT}")
                }
            }
        }
        let stock = if roles.has(Role::Gateway) { open_stock(snapshot).await? } else { Vec::new() };
        let mut probes = Vec::new();
        if let Some(port) = probe {
            probes.push(listen(port, "--probe").await?);
        }
        Ok(Listeners { web, probe: probes, sessions, stock })
    }

    /// Tells the log where everybody can come in.
    pub fn log_addresses(&self) {
        for address in self.web.iter().filter_map(Listener::tcp_address) {
            tracing::info!("the pages are at http://{address}/");
        }
        for address in self.probe.iter().filter_map(Listener::tcp_address) {
            tracing::info!("probes are answered at http://{address}/readyz");
        }
        for address in self.session_addresses() {
            tracing::info!("workers connect to ws://{address}");
        }
        for GatewayListener { listener, protocol } in &self.stock {
            let speaks = match protocol {
                StockProtocol::Pb { port: None } => "stock workers connect (PB)",
                StockProtocol::Pb { port: Some(_) } => "changes are sent (PB)",
                StockProtocol::Msgpack => "stock workers connect (msgpack_experimental_v7)",
            };
            tracing::info!("{speaks} to {}", listener.address());
        }
    }

    /// The addresses for workers.
    pub fn session_addresses(&self) -> Vec<SocketAddr> {
        self.sessions.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }
}

/// Refuses a role that could never do its work. Whoever names none gets what the configuration has ports for.
fn check(snapshot: &Snapshot, roles: Roles) -> Result<()> {
    if roles == Roles::ALL {
        return Ok(());
    }
    let stock = ["pb", "msgpack_experimental_v7"].iter().any(|name| snapshot.protocols.contains_key(*name));
    let without = |role: Role, setting: &str| {
        bail!("the role {} needs {setting} in the configuration; set it, or leave the role out", role.name())
    };
    if roles.has(Role::Web) && snapshot.www.port.is_none() {
        return without(Role::Web, "c['www']['port']");
    }
    if roles.has(Role::Gateway) && !stock {
        return without(Role::Gateway, "c['protocols']['pb'] or ['msgpack_experimental_v7']");
    }
    if roles.has(Role::Engine) && !roles.has(Role::Gateway) && session_port(snapshot).is_none() {
        return without(Role::Engine, "c['protocols']['session']");
    }
    Ok(())
}

async fn open_stock(snapshot: &Snapshot) -> Result<Vec<GatewayListener>> {
    let mut stock = Vec::new();
    for (name, protocol) in
        [("pb", StockProtocol::Pb { port: None }), ("msgpack_experimental_v7", StockProtocol::Msgpack)]
    {
        let Some(port) = snapshot.protocols.get(name).map(|config| &config.port) else { continue };
        let setting = format!("c['protocols']['{name}']['port']");
        let Some(port) = port else { bail!("{setting} is missing; write a port such as 9989") };
        let listener = gateway_listener(listen(port, &setting).await?);
        stock.push(GatewayListener { listener, protocol });
    }
    let mut ports: Vec<String> = Vec::new();
    for source in &snapshot.change_sources {
        let ChangeSourceKind::Pb(config) = &source.kind else { continue };
        match own_port(snapshot, config.port.as_deref()) {
            Some(port) if !ports.contains(&port) => {
                let setting = format!("the port of change source '{}'", source.name);
                let listener = gateway_listener(listen(&port, &setting).await?);
                stock.push(GatewayListener {
                    listener,
                    protocol: StockProtocol::Pb { port: Some(port.clone()) },
                });
                ports.push(port);
            }
            None if !snapshot.protocols.contains_key("pb") => bail!(
                "change source '{}' has no port: give it one, or configure c['protocols']['pb']['port']",
                source.name
            ),
            _ => {}
        }
    }
    Ok(stock)
}

/// The port, unless it is that of the workers.
pub fn own_port(snapshot: &Snapshot, port: Option<&str>) -> Option<String> {
    let workers = snapshot.protocols.get("pb").and_then(|pb| pb.port.as_deref());
    port.filter(|port| Some(*port) != workers).map(str::to_owned)
}

fn gateway_listener(listener: Listener) -> muster_gateway::Listener {
    match listener {
        Listener::Tcp(listener) => muster_gateway::Listener::Tcp(listener),
        Listener::Unix(listener) => muster_gateway::Listener::Unix(listener),
    }
}

/// Where workers are accepted, as configured; `None` accepts none.
pub fn session_port(snapshot: &Snapshot) -> Option<String> {
    let session = snapshot.protocols.get("session")?;
    Some(session.port.clone().unwrap_or_else(|| SESSION_PORT.to_owned()))
}

/// Opens what the port string of a setting asks for.
pub async fn listen(port: &str, setting: &str) -> Result<Listener> {
    let address = port.parse::<ListenAddress>().with_context(|| setting.to_owned())?;
    muster_web::listen(&address).await.with_context(|| setting.to_owned())
}
