//! The bus that a configuration asks for, and the router inside the master.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures_util::future::{join, join_all};
use muster_bus::{Bus, WampDriver, WampOptions};
use muster_config::snapshot::{EmbeddedRouter, MqConfig, WampAuthMethod, WampConfig};
use muster_core::render::Renderable;
use muster_router_compat::auth::{Credentials, Secret};
use muster_router_compat::net::tls::{ClientTls, Identity};
use muster_router_compat::net::{Listener, RouterServer, address::RouterUrl};
use muster_router_compat::router::{Proof, RouterConfig};
use tokio_util::sync::CancellationToken;

use super::tasks::Tasks;
use crate::router_file::{Listen, RouterFile};

/// How long a start waits for the router (3 s). Then the master goes on without it, by timer.
const ROUTER_PATIENCE: Duration = Duration::from_secs(3);
/// Longest first line of a file with a secret.
const MAX_SECRET_BYTES: u64 = 4096;

/// The bus, and what has to run for it.
pub struct MasterBus {
    /// For everybody.
    pub bus: Bus,
    driver: Option<WampDriver>,
    embedded: Option<(RouterServer, Vec<Listener>)>,
}

impl MasterBus {
    /// Reads secrets and opens the sockets of a router inside the master.
    pub async fn open(mq: &MqConfig, basedir: &Path) -> Result<MasterBus> {
        let MqConfig::Wamp(config) = mq else {
            return Ok(MasterBus { bus: Bus::default(), driver: None, embedded: None });
        };
        let options = options(config, basedir)?;
        let embedded = match &config.embedded {
            Some(embedded) => Some(open_router(embedded, &options, basedir).await?),
            None => None,
        };
        let (bus, driver) = Bus::wamp(options);
        Ok(MasterBus { bus, driver: Some(driver), embedded })
    }

    /// Spawns what has to run. The router ends after the bus, which has to say goodbye to it.
    pub fn spawn(self, tasks: &Tasks) {
        let Some(driver) = self.driver else { return };
        tasks.spawn("the bus", |stop| async move {
            let router_stop = CancellationToken::new();
            let sockets = self.embedded.into_iter().flat_map(|(router, listeners)| {
                listeners.into_iter().map(move |listener| (router.clone(), listener))
            });
            let routing = join_all(sockets.map(|(router, listener)| {
                let stop = router_stop.clone();
                async move { router.serve(listener, stop).await }
            }));
            let driving = async {
                driver.run(stop).await;
                router_stop.cancel();
            };
            join(driving, routing).await;
            Ok(())
        });
    }
}

/// Waits a moment for the router, so that others hear of this master's start.
pub async fn wait_for_router(bus: &Bus) {
    if !bus.ready(ROUTER_PATIENCE).await {
        tracing::warn!("the router is not there; the master starts without it");
    }
}

fn options(config: &WampConfig, basedir: &Path) -> Result<WampOptions> {
    let Renderable::Literal(serde_json::Value::String(url)) = &config.router_url else {
        bail!("c['mq']['router_url'] must be a plain text such as \"ws://localhost:8080/ws\"");
    };
    let url: RouterUrl = url.parse().context("c['mq']['router_url']")?;
    let file = |name: &Option<String>| name.as_ref().map(|name| basedir.join(name));
    let identity = match (file(&config.tls_certificate), file(&config.tls_key)) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        _ => None,
    };
    let tls = ClientTls { ca: file(&config.tls_ca), identity };
    if matches!(url, RouterUrl::Tcp { tls: true, .. }) {
        tls.load().context("c['mq']: TLS")?;
    }
    Ok(WampOptions { url, realm: config.realm.clone(), credentials: credentials(config, basedir)?, tls })
}

fn credentials(config: &WampConfig, basedir: &Path) -> Result<Credentials> {
    let proof = || -> Result<(String, Secret)> {
        let authid = config.authid.clone().context("c['mq']['authid'] is missing")?;
        let secret = match (&config.secret, &config.secret_file) {
            (Some(secret), _) => secret.clone(),
            (None, Some(file)) => read_secret(&basedir.join(file))?,
            (None, None) => bail!("c['mq']['secret'] is missing"),
        };
        Ok((authid, Secret::new(secret)))
    };
    Ok(match config.auth_method {
        WampAuthMethod::Anonymous => Credentials::Anonymous,
        WampAuthMethod::Ticket => {
            let (authid, ticket) = proof()?;
            Credentials::Ticket { authid, ticket }
        }
        WampAuthMethod::WampCra => {
            let (authid, secret) = proof()?;
            Credentials::WampCra { authid, secret }
        }
    })
}

fn read_secret(path: &Path) -> Result<String> {
    let told = || format!("c['mq']['secret_file']: can't read {}", path.display());
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_SECRET_BYTES).read_to_string(&mut text))
        .with_context(told)?;
    let first = text.lines().next().filter(|line| !line.is_empty());
    first.map(str::to_owned).ok_or_else(|| anyhow!("{}: its first line is empty", told()))
}

async fn open_router(
    embedded: &EmbeddedRouter,
    options: &WampOptions,
    basedir: &Path,
) -> Result<(RouterServer, Vec<Listener>)> {
    let file = match &embedded.file {
        Some(name) => RouterFile::read(&basedir.join(name)).context("c['mq']['embedded']")?,
        None => same_as_client(options)?,
    };
    for warning in file.warnings() {
        tracing::warn!("{warning}");
    }
    let listeners = file.open().await.context("c['mq']['embedded']")?;
    for listen in &file.listen {
        tracing::info!("the router inside this master listens on {listen}");
    }
    Ok((RouterServer::new(file.router), listeners))
}

/// A router that listens where `router_url` points to, and asks everybody for the master's own credentials.
fn same_as_client(options: &WampOptions) -> Result<RouterFile> {
    let listen = match &options.url {
        RouterUrl::Unix(path) => Listen::Unix { unix: PathBuf::from(path) },
        RouterUrl::Tcp { tls: true, .. } => {
            bail!("c['mq']: an embedded router with wss:// needs its certificate: 'embedded': 'router.json'")
        }
        RouterUrl::Tcp { host, port, .. } => {
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            Listen::Tcp { address: format!("{host}:{port}"), tls: None }
        }
    };
    let router = match &options.credentials {
        Credentials::Anonymous => RouterConfig::open(&options.realm),
        Credentials::Ticket { authid, ticket } => {
            RouterConfig::closed(&options.realm, authid, Proof::Ticket(ticket.clone()))
        }
        Credentials::WampCra { authid, secret } => {
            let proof = Proof::WampCra { secret: secret.clone(), salting: None };
            RouterConfig::closed(&options.realm, authid, proof)
        }
    };
    Ok(RouterFile { listen: vec![listen], router })
}
