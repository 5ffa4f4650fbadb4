//! The start, step by step. Nothing is spawned before everything that can be refused has been tried.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use muster_bus::Bus;
use muster_data::Data;
use muster_engine::{Engine, activate};
use muster_schedule::Schedulers;
use muster_store::Db;
use muster_web::AppState;
use tokio::sync::watch;

use super::{RunningMaster, listeners::Listeners, reconfigure::Reconfigure, said, tasks::Tasks, warnings};
use crate::config;
use crate::master_dir::MasterDir;
use crate::pid_file::PidFile;

/// Starts the master of `dir`; when this returns it runs, and its sockets accept.
pub async fn start(dir: &MasterDir, lock: PidFile) -> Result<RunningMaster> {
    tracing::info!("Muster {} starts in {}", env!("CARGO_PKG_VERSION"), dir.path().display());
    let (host, driver) = config::host(dir);
    let mut driving = Box::pin(driver.run());
    let loaded = tokio::select! {
        loaded = config::load(&host, dir) => loaded?,
        () = &mut driving => bail!("the Python host has ended"),
    };
    for warning in warnings::about(&loaded.snapshot) {
        tracing::warn!("{warning}");
    }
    let db = Db::open(&config::db_url(&loaded.snapshot, dir)?).await?;
    let data = Data::new(db, Bus::default());
    let listeners = Listeners::open(&loaded.snapshot).await?;
    listeners.log_addresses();
    let incarnation = uuid::Uuid::new_v4().to_string();
    let version = env!("CARGO_PKG_VERSION");
    let id = data.master_starts(&dir.master_name(), &incarnation, version).await?;
    let active = activate(&data, id, loaded.snapshot.clone(), &loaded.digest, Some(host.clone()))
        .await
        .context("the configuration can't be written to the database")?;

    let (active, in_force) = watch::channel(Arc::new(active));
    let (published, snapshot) = watch::channel(loaded.snapshot);
    let (services, lease) = (Tasks::default(), Tasks::default());
    let running = RunningMaster {
        data: data.clone(),
        id,
        incarnation: incarnation.clone(),
        snapshot: snapshot.clone(),
        sessions: listeners.session_addresses(),
        services: services.clone(),
        lease: lease.clone(),
        _lock: lock,
    };

    lease.spawn("the lease", |stop| super::lease::keep(data.clone(), id, incarnation, stop));
    services.spawn("the Python host", |stop| async move {
        tokio::select! {
            () = driving => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    });
    let engine = Engine::new(data.clone(), id, dir.path().to_owned(), in_force);
    for listener in listeners.sessions {
        let engine = engine.clone();
        services.spawn("the listener for workers", |stop| async move {
            engine.serve_sessions(listener, stop).await;
            Ok(())
        });
    }
    services.spawn("the engine", |stop| async move { Ok(engine.run(stop).await?) });
    let (tracker, stop) = services.lend();
    Schedulers::start(
        data.clone(),
        Some(host.clone()),
        id,
        dir.path().to_owned(),
        snapshot.clone(),
        tracker,
        stop,
    );
    if !listeners.web.is_empty() {
        let state = AppState::new(data.clone(), snapshot);
        services.spawn("the web server", |stop| async move {
            Ok(muster_web::serve(listeners.web, state, stop).await?)
        });
    }
    let reconfigure = Reconfigure::new(dir.clone(), data.clone(), id, host, active, published)?;
    services.spawn("the reconfiguration", |stop| reconfigure.serve(stop));

    data.master_is_ready(id).await?;
    tracing::info!("{}", said::RUNNING);
    Ok(running)
}
