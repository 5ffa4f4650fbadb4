//! What gateways agree on, in the database.

use std::sync::Arc;

use futures_util::FutureExt;
use muster_core::WorkerId;
use muster_data::{Data, StockArrival, StockStanding};
use muster_engine::Active;
use muster_gateway::{Arrival, Ghost, Registry, Reply, Standing, Wanted};
use muster_store::Error;
use tokio::sync::watch;

/// The rows of all gateways, as this one sees them.
pub struct ClusterRegistry {
    data: Data,
    /// Of this master: what the rows name it by.
    incarnation: Arc<str>,
    active: watch::Receiver<Arc<Active>>,
}

impl ClusterRegistry {
    /// For the gateway of the master with this incarnation.
    pub fn new(data: Data, incarnation: &str, active: watch::Receiver<Arc<Active>>) -> ClusterRegistry {
        ClusterRegistry { data, incarnation: incarnation.into(), active }
    }

    fn id(&self, worker: &str) -> Option<WorkerId> {
        self.active.borrow().ids.workers.get(worker).copied()
    }
}

impl Registry for ClusterRegistry {
    fn arrive(&self, arrivals: Vec<Arrival>) -> Reply<Vec<Standing>> {
        let ids: Vec<Option<WorkerId>> = arrivals.iter().map(|arrival| self.id(&arrival.worker)).collect();
        let known = arrivals.iter().zip(&ids).filter_map(|(arrival, id)| {
            Some(StockArrival { worker: (*id)?, is_first: arrival.is_first, insists: arrival.insists })
        });
        let known: Vec<StockArrival> = known.collect();
        let (data, gateway) = (self.data.clone(), self.incarnation.clone());
        async move {
            let stand = data.stock_workers_arrive(&gateway, &known).await.map_err(words)?;
            let mut stand = stand.into_iter();
            let standing = |id: Option<WorkerId>| match id.and_then(|_| stand.next()) {
                None => Ok(Standing::Unknown),
                Some(standing) => translated(standing),
            };
            ids.into_iter().map(standing).collect()
        }
        .boxed()
    }

    fn leave(&self, workers: Vec<String>) -> Reply<()> {
        let ids: Vec<WorkerId> = workers.iter().filter_map(|worker| self.id(worker)).collect();
        let (data, gateway) = (self.data.clone(), self.incarnation.clone());
        async move { data.stock_workers_leave(&gateway, &ids).await.map_err(words) }.boxed()
    }

    fn look(&self) -> Reply<Vec<Wanted>> {
        let (data, gateway, active) = (self.data.clone(), self.incarnation.clone(), self.active.clone());
        async move {
            let wanted = data.stock_workers_wanted(&gateway).await.map_err(words)?;
            let active = active.borrow();
            let name = |id: WorkerId| {
                active.ids.workers.iter().find(|(_, known)| **known == id).map(|(name, _)| name.clone())
            };
            let told = |(id, is_lost): (WorkerId, bool)| {
                let name = name(id)?;
                Some(if is_lost { Wanted::Lost(name) } else { Wanted::Challenged(name) })
            };
            Ok(wanted.into_iter().filter_map(told).collect())
        }
        .boxed()
    }

    fn keep(&self, worker: String) -> Reply<()> {
        let (data, gateway, id) = (self.data.clone(), self.incarnation.clone(), self.id(&worker));
        async move {
            match id {
                Some(id) => data.stock_worker_stays(&gateway, id).await.map_err(words),
                None => Ok(()),
            }
        }
        .boxed()
    }

    fn note(&self, worker: String, ghosts: Vec<Ghost>) -> Reply<bool> {
        let (data, gateway, id) = (self.data.clone(), self.incarnation.clone(), self.id(&worker));
        async move {
            let Some(id) = id else { return Ok(false) };
            let commands = serde_json::to_string(&ghosts).map_err(|error| error.to_string())?;
            data.stock_worker_runs(&gateway, id, &commands).await.map_err(words)
        }
        .boxed()
    }
}

fn translated(standing: StockStanding) -> Result<Standing, String> {
    Ok(match standing {
        StockStanding::Taken { commands, dials } => Standing::Taken {
            ghosts: serde_json::from_str(&commands).map_err(|error| {
                format!("what is stored about the worker's commands can't be read: {error}")
            })?,
            dials: dials.start.unsigned_abs()..dials.end.unsigned_abs(),
        },
        StockStanding::Waits => Standing::Waits,
        StockStanding::Busy => Standing::Busy,
        StockStanding::Late => Standing::Late,
        StockStanding::Unknown => Standing::Unknown,
    })
}

fn words(error: Error) -> String {
    error.to_string()
}
