//! The gateway inside of this process: stock workers, and who sends changes.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use futures_util::FutureExt;
use muster_config::Host;
use muster_config::snapshot::{ChangeSourceKind, Snapshot};
use muster_core::Timestamp;
use muster_core::render::Renderable;
use muster_data::{Data, NewChange};
use muster_engine::{Active, Engine};
use muster_gateway::{
    AddChange, BuilderDir, ChangeAccount, Dial, Gateway, Roster, SentChange, StockWorker, Surroundings,
};
use muster_session::Transport;
use serde_json::Value;
use tokio::sync::watch;

use super::listeners::{GatewayListener, StockProtocol, own_port};
use super::tasks::Tasks;

/// The gateway's files, below the base directory.
const DIRECTORY: &str = "gateway";

/// Starts the gateway on its listeners; without any there is nothing to start.
pub fn start(
    listeners: Vec<GatewayListener>,
    basedir: &Path,
    engine: Option<&Engine>,
    data: &Data,
    host: &Host,
    active: watch::Receiver<Arc<Active>>,
    services: &Tasks,
) -> Result<()> {
    if listeners.is_empty() {
        return Ok(());
    }
    let Some(engine) = engine else {
        bail!("a gateway runs only together with an engine; start this master with --roles engine,gateway")
    };
    let (publish, roster) = watch::channel(Arc::new(roster_of(&active.borrow().snapshot)));
    let around = Surroundings {
        roster,
        engine: dial(engine, services),
        changes: add_change(data.clone(), host.clone(), active.clone()),
        directory: basedir.join(DIRECTORY),
    };
    let gateway = Gateway::new(around).with_context(|| format!("{}", basedir.join(DIRECTORY).display()))?;
    services.spawn("the list of stock workers", |stop| async move {
        let mut active = active;
        loop {
            tokio::select! {
                changed = active.changed() => if changed.is_err() {
                    stop.cancelled().await;
                    return Ok(());
                },
                () = stop.cancelled() => return Ok(()),
            }
            publish.send_replace(Arc::new(roster_of(&active.borrow_and_update().snapshot)));
        }
    });
    for GatewayListener { listener, protocol } in listeners {
        let gateway = gateway.clone();
        services.spawn("the listener for stock workers", |stop| async move {
            match protocol {
                StockProtocol::Pb { port } => muster_gateway::serve_pb(listener, gateway, port, stop).await,
                StockProtocol::Msgpack => muster_gateway::serve_msgpack(listener, gateway, stop).await,
            }
            Ok(())
        });
    }
    Ok(())
}

/// Sessions go to the engine of this process, in memory.
fn dial(engine: &Engine, services: &Tasks) -> Dial {
    let (tracker, stop) = services.lend();
    let (engine, tracker) = (engine.clone(), tracker.clone());
    Arc::new(move || {
        let (ours, theirs) = Transport::pair();
        let accepting = engine.clone().accept_transport(theirs, tracker.clone(), stop.clone());
        tracker.spawn(accepting);
        async { Ok(ours) }.boxed()
    })
}

fn add_change(data: Data, host: Host, active: watch::Receiver<Arc<Active>>) -> AddChange {
    Arc::new(move |source, sent| {
        let (data, host, snapshot) = (data.clone(), host.clone(), active.borrow().snapshot.clone());
        async move {
            let codebase = sent.codebase.clone();
            let kept = muster_schedule::add_sent_change(&data, Some(host), &snapshot, change(sent), codebase);
            let id = kept.await?;
            tracing::info!("change source '{source}': change {id} was sent");
            Ok(())
        }
        .boxed()
    })
}

fn change(sent: SentChange) -> NewChange {
    NewChange {
        author: sent.author,
        committer: None,
        files: sent.files,
        comments: sent.comments,
        revision: sent.revision,
        when: sent.when.map(|when| Timestamp(when as i64)),
        branch: sent.branch,
        category: sent.category,
        revlink: sent.revlink,
        properties: sent.properties,
        repository: sent.repository,
        project: sent.project,
        codebase: String::new(),
        src: sent.src,
    }
}

/// Who may come in, as the snapshot says. Every worker gets every builder that may run on it; a list that is the same
/// on all masters keeps workers from deleting directories that they need elsewhere.
fn roster_of(snapshot: &Snapshot) -> Roster {
    let builders = |worker: &str| {
        let mine =
            snapshot.builders.iter().filter(|builder| builder.worker_names.iter().any(|name| name == worker));
        let dir = |builder: &muster_config::snapshot::BuilderConfig| BuilderDir {
            name: builder.name.clone(),
            dir: builder.worker_builddir.clone(),
        };
        let mut builders: Vec<BuilderDir> = mine.map(dir).collect();
        builders.sort();
        builders
    };
    let worker = |worker: &muster_config::snapshot::WorkerConfig| {
        let password = plain(worker.password.as_ref()?)?;
        Some((worker.name.clone(), StockWorker { password, builders: builders(&worker.name) }))
    };
    Roster {
        workers: snapshot.workers.iter().filter_map(worker).collect(),
        change_sources: change_accounts(snapshot),
    }
}

/// Every account for changes whose password is plain text.
fn change_accounts(snapshot: &Snapshot) -> Vec<ChangeAccount> {
    let account = |source: &muster_config::snapshot::ChangeSourceConfig| {
        let ChangeSourceKind::Pb(config) = &source.kind else { return None };
        let Some(password) = plain(&config.password) else {
            tracing::error!(
                source = source.name,
                "its password is not plain text; nobody can send changes to it"
            );
            return None;
        };
        Some(ChangeAccount {
            source: source.name.clone(),
            user: config.user.clone(),
            password,
            prefix: config.prefix.clone(),
            port: own_port(snapshot, config.port.as_deref()),
        })
    };
    snapshot.change_sources.iter().filter_map(account).collect()
}

fn plain(password: &Renderable) -> Option<String> {
    match password {
        Renderable::Literal(Value::String(password)) => Some(password.clone()),
        _ => None,
    }
}
