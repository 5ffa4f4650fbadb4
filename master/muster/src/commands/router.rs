//! `muster router`: the router alone, for several masters.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use muster_router_compat::net::RouterServer;
use muster_router_compat::router::RouterConfig;
use muster_web::{MetricsText, Probe};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::router_file::{Listen, RouterFile, Tls};
use crate::{cli, commands, logging, master, metrics};

/// Runs until SIGTERM or SIGINT.
pub fn run(options: &cli::Router) -> Result<ExitCode> {
    logging::to_terminal();
    // Before anything is counted.
    let metrics = metrics::text()?;
    let file = match &options.config {
        Some(path) => RouterFile::read(path)?,
        None => from_options(options)?,
    };
    commands::block_on(serve(file, options.probe.as_deref(), metrics))?;
    Ok(ExitCode::SUCCESS)
}

fn from_options(options: &cli::Router) -> Result<RouterFile> {
    if options.realm.is_empty() {
        bail!("--realm needs a name");
    }
    let tls = match (&options.tls_certificate, &options.tls_key) {
        (Some(certificate), Some(key)) => Some(Tls {
            certificate: certificate.clone(),
            key: key.clone(),
            client_ca: options.tls_client_ca.clone(),
        }),
        _ => None,
    };
    let ports =
        options.listen.iter().map(|address| Listen::Tcp { address: address.clone(), tls: tls.clone() });
    let sockets = options.unix.iter().map(|path| Listen::Unix { unix: path.clone() });
    Ok(RouterFile { listen: ports.chain(sockets).collect(), router: RouterConfig::open(&options.realm) })
}

async fn serve(file: RouterFile, probe: Option<&str>, metrics: MetricsText) -> Result<()> {
    for warning in file.warnings() {
        tracing::warn!("{warning}");
    }
    let mut terminate = signal(SignalKind::terminate()).context("can't listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for signals")?;
    let mut asked = signal(SignalKind::user_defined1()).context("can't listen for signals")?;
    let listeners = file.open().await?;
    let probe = match probe {
        Some(port) => vec![master::listen(port, "--probe", Path::new(".")).await?],
        None => Vec::new(),
    };
    let (server, stop, tasks) =
        (RouterServer::new(file.router), CancellationToken::new(), TaskTracker::new());
    for address in probe.iter().filter_map(|listener| listener.tcp_address()) {
        tracing::info!("probes are answered at http://{address}/readyz");
    }
    // They answer until the last peer is gone.
    let probing = CancellationToken::new();
    let served =
        muster_web::serve_probe(probe, Probe::without_database(metrics, stop.clone()), probing.clone());
    let (served, summed_up) = (tokio::spawn(served), tokio::spawn(metrics::sum_up(probing.clone())));
    for (listener, listen) in listeners.into_iter().zip(&file.listen) {
        match listener.port() {
            Some(port) => tracing::info!("the router listens on {listen} (port {port})"),
            None => tracing::info!("the router listens on {listen}"),
        }
        let (server, stop) = (server.clone(), stop.clone());
        tasks.spawn(async move { server.serve(listener, stop).await });
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = asked.recv() => log_counters(&server),
        }
    }
    tracing::info!("the router stops");
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    log_counters(&server);
    probing.cancel();
    served.await.context("the probe failed")?;
    summed_up.await.context("the figures failed")?;
    Ok(())
}

fn log_counters(server: &RouterServer) {
    let (peers, subscriptions) = server.peers_and_subscriptions();
    let counters: Vec<String> =
        server.metrics().all().iter().map(|(name, count)| format!("{name}={count}")).collect();
    tracing::info!("peers={peers} subscriptions={subscriptions} {}", counters.join(" "));
}
