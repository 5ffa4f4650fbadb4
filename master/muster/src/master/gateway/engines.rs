//! The engines of the cluster, for a gateway that has none in its own process.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use muster_data::{Data, EngineAddress};
use muster_gateway::Dial;
use muster_session::dial::connect;
use muster_session::{MasterUrl, Transport, TransportError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the list is read: an engine that starts gets its first workers within this time.
const LOOK: Duration = Duration::from_secs(1);

/// How long an engine may take to accept a connection. One that is cut off says nothing at all, and the next one may have to
/// be found within the 20 s that builds of stock workers are kept for.
const PATIENCE: Duration = Duration::from_secs(3);

/// The addresses of the engines that act.
pub type Addresses = watch::Receiver<Arc<Vec<MasterUrl>>>;

/// Keeps the list up to date until `stop`.
pub async fn follow(data: Data, publish: watch::Sender<Arc<Vec<MasterUrl>>>, stop: CancellationToken) {
    loop {
        match data.live_engines().await {
            Ok(engines) => {
                let found = Arc::new(read(&engines));
                publish.send_if_modified(|known| {
                    let is_new = *known != found;
                    if is_new {
                        tracing::info!("{} engine addresses are known", found.len());
                        *known = found;
                    }
                    is_new
                });
            }
            // The list stays as it was: most engines are where they were.
            Err(error) => tracing::debug!(%error, "can't read where engines are"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn read(engines: &[EngineAddress]) -> Vec<MasterUrl> {
    let addresses = engines.iter().flat_map(|engine| &engine.sessions);
    addresses
        .filter_map(|address| match address.parse() {
            Ok(url) => Some(url),
            Err(error) => {
                tracing::warn!(%error, "an engine announces an address that can't be dialed");
                None
            }
        })
        .collect()
}

/// Dials the engine of the last dial first, then the others in random order, so that workers spread.
pub fn dial(addresses: Addresses) -> Dial {
    Arc::new(move |last| {
        let mut urls: Vec<MasterUrl> = addresses.borrow().to_vec();
        async move {
            fastrand::shuffle(&mut urls);
            urls.sort_by_key(|url| Some(url.to_string()) != last);
            first(urls).await
        }
        .boxed()
    })
}

async fn first(urls: Vec<MasterUrl>) -> Result<Transport, TransportError> {
    let mut problem = std::io::Error::other(
        "no engine of the cluster announces an address; one with the role engine and c['protocols']['session'] has to run",
    )
    .into();
    for url in urls {
        let connected = tokio::time::timeout(PATIENCE, connect(&url)).await;
        let silent = || std::io::Error::other(format!("{url}: no answer within {PATIENCE:?}")).into();
        match connected.unwrap_or_else(|_| Err(silent())) {
            Ok(transport) => return Ok(transport),
            Err(error) => {
                tracing::debug!(%url, %error, "an engine can't be reached");
                problem = error;
            }
        }
    }
    Err(problem)
}
