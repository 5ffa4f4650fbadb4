//! The start, step by step. Nothing is spawned before everything that can be refused was tried.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{FutureExt, future::BoxFuture};
use muster_config::{Host, snapshot::Snapshot};
use muster_core::{MasterId, Role};
use muster_data::{Data, Life, Trust};
use muster_engine::{Active, Engine, activate, answer_collapses, watch_peers};
use muster_net::Listener;
use muster_schedule::Schedulers;
use muster_session::MasterUrl;
use muster_store::{Db, DbUrl};
use muster_web::{AccessLog, AppState};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    RunningMaster,
    bus::{MasterBus, wait_for_router},
    drain::{Drain, Phase},
    gateway,
    lease::{self, Keeper},
    listeners::Listeners,
    reconfigure::{Reconfigure, listen_for_hang_up},
    said,
    tasks::Tasks,
    triggers, warnings,
};
use crate::buildbot_pid;
use crate::cli::Serving;
use crate::config;
use crate::logging::RotatingFile;
use crate::master_dir::{MasterDir, PRIVATE_FILE, is_open_to_others};
use crate::metrics;
use crate::pid_file::PidFile;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Starts the master of `dir`; when this returns it runs, and its sockets accept.
pub async fn start(dir: &MasterDir, lock: PidFile, serving: &Serving) -> Result<RunningMaster> {
    tracing::info!("Muster {VERSION} starts in {} as {}", dir.path().display(), serving.roles);
    let running =
        Ready::get(dir, serving).await?.spawn(dir, lock, Duration::from_secs(serving.drain_timeout)).await?;
    wait_for_router(running.data().bus()).await;
    running.data().master_is_ready(running.drain.master).await?;
    tracing::info!("{}", said::RUNNING);
    Ok(running)
}

/// Everything that can be refused was not.
struct Ready {
    hang_up: Signal,
    host: Host,
    /// The host's driver, under way since the configuration was loaded.
    driving: BoxFuture<'static, ()>,
    bus: MasterBus,
    data: Data,
    /// The same on a connection of its own.
    lease_data: Data,
    /// The thread of the lease.
    on_lease: Handle,
    listeners: Listeners,
    id: MasterId,
    life: Life,
    generation: i64,
    active: Active,
}

impl Ready {
    async fn get(dir: &MasterDir, serving: &Serving) -> Result<Ready> {
        let left = buildbot_pid::refuse_live(dir)?;
        // Before anything takes its time: a reconfiguration that is asked for meanwhile is carried out afterwards.
        let hang_up = listen_for_hang_up()?;
        let (host, driver) = config::host(dir);
        let mut driving = driver.run().boxed();
        let loading = async {
            let loaded = config::load(&host, dir).await?;
            let url = config::db_url(&host, &loaded.snapshot, dir).await?;
            anyhow::Ok((loaded, url))
        };
        let (loaded, url) = tokio::select! {
            loaded = loading => loaded?,
            () = &mut driving => bail!("the Python host has ended"),
        };
        for warning in warnings::about(&loaded.snapshot, serving.roles) {
            tracing::warn!("{warning}");
        }
        warn_of_readers(&url, dir);
        // Who waits for its lease behind slow queries loses it, although nothing is wrong.
        let (url, apart) = url.one_apart();
        let db = Db::open(&url).await?;
        let on_lease = lease::runtime()?;
        let lease_db = match apart {
            // There, so that its connection is driven there.
            Some(url) => on_lease.spawn(async move { Db::open(&url).await }).await??,
            None => db.clone(),
        };
        let name = serving.name.clone().unwrap_or_else(|| dir.master_name());
        // A file tells of the Buildbot of this directory only.
        let buildbot_is_gone = left == buildbot_pid::Seen::Stale && name == dir.master_name();
        // Before the sockets, which it mostly has: that they are taken would be half of the truth.
        refuse_live_buildbot(&db, &name, buildbot_is_gone).await?;
        let bus = MasterBus::open(&loaded.snapshot.mq, dir.path()).await?;
        let data = Data::trusted(db, bus.bus.clone(), Trust::none());
        let lease_data = Data::trusted(lease_db, bus.bus.clone(), data.trust().clone());
        let listeners =
            Listeners::open(&loaded.snapshot, serving.roles, dir.path(), serving.probe.as_deref()).await?;
        listeners.log_addresses();
        let incarnation = uuid::Uuid::new_v4().to_string();
        let life = Life {
            incarnation,
            roles: serving.roles,
            version: VERSION.to_owned(),
            sessions: reached_at(&serving.session_url, &listeners.sessions),
        };
        let generation = data.generation().await?;
        let dead = std::fs::read_to_string(dir.incarnation_file()).ok();
        let id = lease::take(&data, &name, &life, dead.as_deref(), buildbot_is_gone).await?;
        write_privately(&dir.incarnation_file(), &life.incarnation)
            .with_context(|| format!("can't write {}", dir.incarnation_file().display()))?;
        if left == buildbot_pid::Seen::Stale {
            buildbot_pid::remove_stale(dir);
        }
        let active = activate(&data, id, loaded.snapshot, &loaded.digest, Some(host.clone()), life.roles)
            .await
            .context("the configuration can't be written to the database")?;
        Ok(Ready {
            hang_up,
            host,
            driving,
            bus,
            data,
            lease_data,
            on_lease,
            listeners,
            id,
            life,
            generation,
            active,
        })
    }

    async fn spawn(self, dir: &MasterDir, lock: PidFile, patience: Duration) -> Result<RunningMaster> {
        let Ready {
            hang_up,
            host,
            driving,
            bus,
            data,
            lease_data,
            on_lease,
            listeners,
            id,
            life,
            generation,
            active,
        } = self;
        let Life { incarnation, roles, .. } = life;
        let (services, lease, bus_tasks) = (Tasks::default(), Tasks::default(), Tasks::default());
        let (singletons, phase, going) =
            (Tasks::default(), watch::Sender::new(Phase::Running), CancellationToken::new());
        let sessions = listeners.session_addresses();
        let (published, snapshot) = watch::channel(active.snapshot.clone());
        let (active, in_force) = watch::channel(Arc::new(active));
        let basedir = dir.path().to_owned();

        services.spawn("the Python host", |stop| async move {
            tokio::select! {
                () = driving => {}
                () = stop.cancelled() => {}
            }
            Ok(())
        });
        bus.spawn(&bus_tasks);
        let engine = roles.has(Role::Engine).then(|| {
            let generation = u64::try_from(generation).unwrap_or_default();
            let triggers = Arc::new(triggers::InForce { data: data.clone(), active: in_force.clone() });
            Engine::new(data.clone(), id, basedir.clone(), in_force.clone(), generation, triggers)
        });
        let keeper = Keeper {
            data: lease_data,
            master: id,
            incarnation: incarnation.clone(),
            generation,
            active: in_force.clone(),
            engine: engine.clone(),
            phase: phase.subscribe(),
            main: Handle::current(),
        };
        lease.spawn_on(&on_lease, "the lease", |stop| keeper.keep(stop));
        spawn_beside_engine(&data, id, &in_force, engine.as_ref(), &services);
        let around = gateway::Around {
            basedir: &basedir,
            incarnation: &incarnation,
            engine: engine.as_ref(),
            data: &data,
            host: &host,
            active: in_force,
        };
        let gateway = gateway::start(listeners.stock, around, &services).await?;
        if let Some(engine) = engine.clone() {
            spawn_engine(engine, listeners.sessions, &services);
        }
        if roles.has(Role::Scheduler) {
            let (tracker, stop) = singletons.lend();
            Schedulers::start(data.clone(), Some(host.clone()), id, basedir, snapshot.clone(), tracker, stop);
            spawn_beside_schedulers(&data, id, &host, &snapshot, &services);
        }
        let access_log = match listeners.web.is_empty() {
            true => None,
            false => access_log(dir, &snapshot.borrow())?,
        };
        let state = AppState::until(data.clone(), snapshot.clone(), metrics::text()?, going.clone())
            .with_access_log(access_log)
            .with_host(host.clone());
        spawn_web(listeners.web, listeners.probe, state, &services, &lease);
        let reconfigure = Reconfigure::new(dir.clone(), data.clone(), id, host, active, published, hang_up);
        services.spawn("the reconfiguration", |stop| reconfigure.serve(stop));
        let drain =
            Drain { data, master: id, incarnation, engine, gateway, singletons, phase, going, patience };
        Ok(RunningMaster { drain, snapshot, sessions, services, lease, bus: bus_tasks, _lock: lock })
    }
}

async fn refuse_live_buildbot(db: &Db, name: &str, is_gone: bool) -> Result<()> {
    let living = Data::live_buildbots(db, name).await?;
    match living.into_iter().find(|(buildbot, _)| !(is_gone && buildbot == name)) {
        Some((buildbot, heard)) => bail!("{}", said::buildbot_lives(name, &buildbot, heard)),
        None => Ok(()),
    }
}

fn write_privately(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(true).mode(PRIVATE_FILE).open(path)?;
    file.write_all(text.as_bytes())
}

/// The database holds configurations with the passwords of workers, and the log may hold what builds say.
fn warn_of_readers(url: &DbUrl, dir: &MasterDir) {
    let database = match url {
        DbUrl::Sqlite(path) => Some(path.clone()),
        _ => None,
    };
    for path in database.into_iter().chain([dir.log_file()]).filter(|path| is_open_to_others(path)) {
        let path = path.display();
        tracing::warn!("other users may read {path}, which can hold passwords; forbid it: chmod go= {path}*");
    }
}

/// The log of requests, as `c['www']` has it; what it leaves open is as for the master's own log.
fn access_log(dir: &MasterDir, snapshot: &Snapshot) -> Result<Option<AccessLog>> {
    let setting = |name: &str| snapshot.www.raw.get(name);
    let name = match setting("logfileName") {
        None => ACCESS_LOG,
        Some(given) => given.as_str().unwrap_or_default(),
    };
    if name.is_empty() {
        return Ok(None);
    }
    let (length, kept) = dir.log_rotation();
    // As in Buildbot, 0 is as good as nothing.
    let number =
        |name: &str, default| setting(name).and_then(Value::as_u64).filter(|&n| n > 0).unwrap_or(default);
    let path = dir.path().join(name);
    let file = RotatingFile::open(&path, number("logRotateLength", length), number("maxRotatedFiles", kept));
    let told = || format!("c['www']['logfileName']: can't write the access log {}", path.display());
    Ok(Some(AccessLog::to(file.with_context(told)?).with_context(told)?))
}

/// The name of the access log, as Buildbot's.
const ACCESS_LOG: &str = "http.log";

/// Where workers reach this master: as told, or as its sockets say.
fn reached_at(told: &[MasterUrl], listeners: &[Listener]) -> Vec<String> {
    let sockets: Vec<(SocketAddr, bool)> =
        listeners.iter().filter_map(|listener| Some((listener.tcp_address()?, listener.has_tls()))).collect();
    if sockets.is_empty() {
        return Vec::new();
    }
    if !told.is_empty() {
        return told.iter().map(MasterUrl::to_string).collect();
    }
    let url = |(socket, tls): &(SocketAddr, bool)| MasterUrl {
        host: match socket.ip().is_unspecified() {
            true => rustix::system::uname().nodename().to_string_lossy().into_owned(),
            false => socket.ip().to_string(),
        },
        port: socket.port(),
        tls: *tls,
    };
    let mut urls: Vec<String> = sockets.iter().map(|socket| url(socket).to_string()).collect();
    urls.sort();
    urls.dedup();
    urls
}

/// The pages, and what answers probes: that as long as anything runs.
fn spawn_web(web: Vec<Listener>, probe: Vec<Listener>, state: AppState, services: &Tasks, lease: &Tasks) {
    lease.spawn("the figures", |stop| async move {
        metrics::sum_up(stop).await;
        Ok(())
    });
    if !probe.is_empty() {
        let operators = state.clone();
        lease.spawn("the probe", |stop| async move {
            muster_web::serve_operators(probe, operators, stop).await;
            Ok(())
        });
    }
    if !web.is_empty() {
        services.spawn("the web server", |stop| async move {
            muster_web::serve(web, state, stop).await;
            Ok(())
        });
    }
}

/// What every master looks after, with an engine or without.
fn spawn_beside_engine(
    data: &Data,
    master: MasterId,
    active: &watch::Receiver<Arc<Active>>,
    engine: Option<&Engine>,
    services: &Tasks,
) {
    let watching = (data.clone(), engine.cloned());
    services.spawn("the watch over other masters", |stop| async move {
        watch_peers(watching.0, master, watching.1, stop).await;
        Ok(())
    });
    let asking = (data.clone(), active.clone(), engine.cloned());
    services.spawn("the questions of collapseRequests", |stop| async move {
        answer_collapses(asking.0, asking.1, asking.2, stop).await;
        Ok(())
    });
}

/// What the role of a scheduler does besides schedulers.
fn spawn_beside_schedulers(
    data: &Data,
    master: MasterId,
    host: &Host,
    snapshot: &watch::Receiver<Arc<Snapshot>>,
    services: &Tasks,
) {
    let pruning = (data.clone(), snapshot.clone());
    services.spawn("the horizon of changes", |stop| async move {
        muster_schedule::keep_horizon(pruning.0, master, pruning.1, stop).await;
        Ok(())
    });
    let (data, host, snapshot) = (data.clone(), host.clone(), snapshot.clone());
    services.spawn("the reporters", |stop| async move {
        muster_report::run(data, host, snapshot, stop).await;
        Ok(())
    });
}

fn spawn_engine(engine: Engine, listeners: Vec<Listener>, services: &Tasks) {
    for listener in listeners {
        let engine = engine.clone();
        services.spawn("the listener for workers", |stop| async move {
            engine.serve_sessions(listener, stop).await;
            Ok(())
        });
    }
    services.spawn("the engine", |stop| async move { Ok(engine.run(stop).await?) });
}
