//! The sockets, opened before the master says that it runs.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use muster_config::snapshot::{ChangeSourceKind, Snapshot};
use muster_core::{Role, Roles, strports::ListenAddress};
use muster_net::Listener;

use crate::ports::no_port;

/// Where workers are accepted when `c['protocols']['session']` names no port.
const SESSION_PORT: &str = "9990";

/// All sockets of one configuration.
pub struct Listeners {
    /// For pages and REST.
    pub web: Vec<Listener>,
    /// For probes only.
    pub probe: Vec<Listener>,
    /// For workers.
    pub sessions: Vec<Listener>,
    /// For stock workers, and for changes that are sent.
    pub stock: Vec<GatewayListener>,
}

/// A socket of the gateway.
pub struct GatewayListener {
    /// The socket.
    pub listener: Listener,
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
    /// Opens all that a master with these roles needs, or none. Files that port strings name are below `basedir`.
    pub async fn open(
        snapshot: &Snapshot,
        roles: Roles,
        basedir: &Path,
        probe: Option<&str>,
    ) -> Result<Listeners> {
        check(snapshot, roles)?;
        let mut web = Vec::new();
        if let Some(port) = snapshot.www.port.as_ref().filter(|_| roles.has(Role::Web)) {
            web.push(listen(port, "c['www']['port']", basedir).await?);
        }
        let mut sessions = Vec::new();
        if roles.has(Role::Engine) {
            for port in session_ports(snapshot) {
                sessions.push(listen(&port, "c['protocols']['session']['port']", basedir).await?);
            }
        }
        let stock = if roles.has(Role::Gateway) { open_stock(snapshot, basedir).await? } else { Vec::new() };
        let mut probes = Vec::new();
        if let Some(port) = probe {
            probes.push(listen(port, "--probe", basedir).await?);
        }
        Ok(Listeners { web, probe: probes, sessions, stock })
    }

    /// Tells the log where everybody can come in.
    pub fn log_addresses(&self) {
        let stock = self.stock.iter().map(|stock| &stock.listener);
        let all = self.web.iter().chain(&self.probe).chain(&self.sessions).chain(stock);
        for (listener, warning) in all.filter_map(|listener| Some((listener, listener.warning()?))) {
            tracing::warn!("{}: {warning}", listener.address());
        }
        for listener in &self.web {
            tracing::info!("the pages are at {}", url_of(listener, "http", "/"));
        }
        for listener in &self.probe {
            tracing::info!("probes are answered at {}", url_of(listener, "http", "/readyz"));
        }
        for listener in &self.sessions {
            tracing::info!("workers connect to {}", url_of(listener, "ws", ""));
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
        self.sessions.iter().filter_map(Listener::tcp_address).collect()
    }
}

/// What leads to a path of a listener. A socket in the file system has no address of that form: whoever connects to it,
/// such as `curl --unix-socket`, names its file.
fn url_of(listener: &Listener, scheme: &str, path: &str) -> String {
    let tls = if listener.has_tls() { "s" } else { "" };
    match listener.tcp_address() {
        Some(address) => format!("{scheme}{tls}://{address}{path}"),
        None if path.len() > 1 => format!("unix:{} ({path})", listener.address()),
        None => format!("unix:{}", listener.address()),
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
    if roles.has(Role::Engine) && !roles.has(Role::Gateway) && session_ports(snapshot).is_empty() {
        return without(Role::Engine, "c['protocols']['session']");
    }
    Ok(())
}

async fn open_stock(snapshot: &Snapshot, basedir: &Path) -> Result<Vec<GatewayListener>> {
    let mut stock = Vec::new();
    for name in ["pb", "msgpack_experimental_v7"] {
        let Some(config) = snapshot.protocols.get(name) else { continue };
        let setting = format!("c['protocols']['{name}']['port']");
        if config.port.is_none() {
            bail!(no_port(&setting));
        }
        for port in config.ports() {
            let protocol = match name {
                "pb" => StockProtocol::Pb { port: None },
                _ => StockProtocol::Msgpack,
            };
            stock.push(GatewayListener { listener: listen(port, &setting, basedir).await?, protocol });
        }
    }
    let mut ports: Vec<String> = Vec::new();
    for source in &snapshot.change_sources {
        let ChangeSourceKind::Pb(config) = &source.kind else { continue };
        match own_port(snapshot, config.port.as_deref()) {
            Some(port) if !ports.contains(&port) => {
                let setting = format!("the port of change source '{}'", source.name);
                let listener = listen(&port, &setting, basedir).await?;
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

/// The port, unless it is one of the workers.
pub fn own_port(snapshot: &Snapshot, port: Option<&str>) -> Option<String> {
    let workers = snapshot.protocols.get("pb");
    let is_theirs = |port: &str| workers.is_some_and(|config| config.ports().any(|theirs| theirs == port));
    port.filter(|port| !is_theirs(port)).map(str::to_owned)
}

/// Where workers are accepted, as configured; none accepts none.
pub fn session_ports(snapshot: &Snapshot) -> Vec<String> {
    let Some(session) = snapshot.protocols.get("session") else { return Vec::new() };
    let ports: Vec<String> = session.ports().map(str::to_owned).collect();
    if ports.is_empty() { vec![SESSION_PORT.to_owned()] } else { ports }
}

/// Opens what the port string of a setting asks for; files that it names are below `basedir`.
pub async fn listen(port: &str, setting: &str, basedir: &Path) -> Result<Listener> {
    let address = port.parse::<ListenAddress>().with_context(|| setting.to_owned())?;
    muster_net::listen(&address, basedir).await.with_context(|| setting.to_owned())
}
