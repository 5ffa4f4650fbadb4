//! The gateway: stock workers, and who sends changes. With an engine in this process sessions go there, in memory; a
//! gateway alone dials the engines of the cluster. It proves itself with each worker's own password, which it has from the
//! configuration that all masters share: so an engine needs no other secret, and a gateway speaks for no worker that it
//! could not be.

mod engines;
mod registry;
mod roster;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use futures_util::FutureExt;
use muster_config::Host;
use muster_core::Timestamp;
use muster_core::policy::{Action, Permit};
use muster_data::{Data, NewChange};
use muster_engine::{Active, Engine};
use muster_gateway::{AddChange, Dial, Gateway, SentChange, Surroundings};
use muster_session::Transport;
use tokio::sync::watch;

use super::listeners::{GatewayListener, StockProtocol};
use super::tasks::Tasks;
use registry::ClusterRegistry;
use roster::Union;

/// The gateway's files, below the base directory.
const DIRECTORY: &str = "gateway";

/// What a gateway works with.
pub struct Around<'a> {
    pub basedir: &'a Path,
    /// Of this master.
    pub incarnation: &'a str,
    /// Of this process, if it has one.
    pub engine: Option<&'a Engine>,
    pub data: &'a Data,
    pub host: &'a Host,
    pub active: watch::Receiver<Arc<Active>>,
}

/// Starts the gateway on its listeners; without any there is nothing to start.
pub async fn start(
    listeners: Vec<GatewayListener>,
    around: Around<'_>,
    services: &Tasks,
) -> Result<Option<Gateway>> {
    if listeners.is_empty() {
        return Ok(None);
    }
    let Around { basedir, incarnation, engine, data, host, active } = around;
    let mut union = Union::new(data.clone());
    let in_force = active.borrow().clone();
    let (publish, roster) = watch::channel(Arc::new(union.roster(&in_force).await));
    let (_, stop) = services.lend();
    let surroundings = Surroundings {
        roster,
        engine: match engine {
            Some(engine) => dial_here(engine, services),
            None => dial_elsewhere(data.clone(), services),
        },
        changes: add_change(data.clone(), host.clone(), active.clone()),
        registry: Arc::new(ClusterRegistry::new(data.clone(), incarnation, active.clone())),
        directory: basedir.join(DIRECTORY),
        name: incarnation.to_owned(),
    };
    let (gateway, running) =
        Gateway::new(surroundings, stop).with_context(|| format!("{}", basedir.join(DIRECTORY).display()))?;
    services.spawn("the gateway", |_| async move {
        running.await;
        Ok(())
    });
    services.spawn("the list of stock workers", |stop| async move {
        roster::follow(union, active, publish, stop).await;
        Ok(())
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
    Ok(Some(gateway))
}

fn dial_elsewhere(data: Data, services: &Tasks) -> Dial {
    let (publish, addresses) = watch::channel(Arc::default());
    services.spawn("the list of engines", |stop| async move {
        engines::follow(data, publish, stop).await;
        Ok(())
    });
    engines::dial(addresses)
}

/// Sessions go to the engine of this process, in memory.
fn dial_here(engine: &Engine, services: &Tasks) -> Dial {
    let (tracker, stop) = services.lend();
    let (engine, tracker) = (engine.clone(), tracker.clone());
    Arc::new(move |_| {
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
            let permit = Permit::peer(format!("the change source {source}"), Action::SendChange);
            let kept = muster_schedule::add_sent_change(
                &data,
                Some(host),
                &snapshot,
                &permit,
                change(sent),
                codebase,
            );
            let id = kept.await.map_err(|error| error.to_string())?;
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
