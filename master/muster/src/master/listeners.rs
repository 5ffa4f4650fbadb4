//! The sockets, opened before the master says that it runs.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use muster_config::snapshot::Snapshot;
use muster_core::strports::ListenAddress;
use muster_web::Listener;
use tokio::net::TcpListener;

/// Where workers are accepted when `c['protocols']['session']` names no port.
const SESSION_PORT: &str = "9990";

/// All sockets of one configuration.
pub struct Listeners {
    /// For pages and REST.
    pub web: Vec<Listener>,
    /// For workers.
    pub sessions: Vec<TcpListener>,
}

impl Listeners {
    /// Opens them all, or none.
    pub async fn open(snapshot: &Snapshot) -> Result<Listeners> {
        let mut web = Vec::new();
        if let Some(port) = &snapshot.www.port {
            web.push(listen(port, "c['www']['port']").await?);
        }
        let mut sessions = Vec::new();
        if let Some(port) = session_port(snapshot) {
            let setting = "c['protocols']['session']['port']";
            match listen(&port, setting).await? {
                Listener::Tcp(listener) => sessions.push(listener),
                Listener::Unix(_) => {
                    bail!("{setting}: workers connect over TCP; write a port such as {SESSION_PORT}")
                }
            }
        }
        Ok(Listeners { web, sessions })
    }

    /// Tells the log where everybody can come in.
    pub fn log_addresses(&self) {
        for address in self.web.iter().filter_map(Listener::tcp_address) {
            tracing::info!("the pages are at http://{address}/");
        }
        for address in self.session_addresses() {
            tracing::info!("workers connect to ws://{address}");
        }
    }

    /// The addresses for workers.
    pub fn session_addresses(&self) -> Vec<SocketAddr> {
        self.sessions.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }
}

/// Where workers are accepted, as configured; `None` accepts none.
pub fn session_port(snapshot: &Snapshot) -> Option<String> {
    let session = snapshot.protocols.get("session")?;
    Some(session.port.clone().unwrap_or_else(|| SESSION_PORT.to_owned()))
}

async fn listen(port: &str, setting: &str) -> Result<Listener> {
    let address = port.parse::<ListenAddress>().with_context(|| setting.to_owned())?;
    muster_web::listen(&address).await.with_context(|| setting.to_owned())
}
