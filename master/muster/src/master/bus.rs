//! The bus that a configuration asks for, and the router inside the master.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::{join, join_all};
use muster_bus::{Bus, WampDriver};
use muster_config::snapshot::MqConfig;
use muster_router_compat::net::{Listener, RouterServer};
use tokio_util::sync::CancellationToken;

use super::tasks::Tasks;
use crate::mq::Mq;
use crate::router_file::RouterFile;
use crate::{logging, metrics};

/// How long a start waits for the router (3 s). Then the master goes on without it, by timer.
const ROUTER_PATIENCE: Duration = Duration::from_secs(3);

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
        // Before anything is counted.
        metrics::text()?;
        logging::of_bus(config.debug_level.as_deref().unwrap_or_default());
        let Mq { options, embedded } = Mq::read(config, basedir)?;
        let embedded = match embedded {
            Some(file) => Some(open_router(file).await?),
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

async fn open_router(file: RouterFile) -> Result<(RouterServer, Vec<Listener>)> {
    for warning in file.warnings() {
        tracing::warn!("{warning}");
    }
    let listeners = file.open().await.context("c['mq']['embedded']")?;
    for listen in &file.listen {
        tracing::info!("the router inside this master listens on {listen}");
    }
    Ok((RouterServer::new(file.router), listeners))
}
