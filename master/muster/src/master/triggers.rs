//! Schedulers that builds ask for other builds: the engine's question, answered by the schedulers of the configuration in force.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use muster_data::{Data, NewBuildset, Trigger};
use muster_engine::{Active, NotMade, Triggers};
use muster_schedule::{ComposeError, TriggerError, check_trigger, compose_triggered};
use tokio::sync::watch;

/// The Triggerable schedulers of the configuration in force, whatever configuration the asking build began with.
pub(crate) struct InForce {
    pub(crate) data: Data,
    pub(crate) active: watch::Receiver<Arc<Active>>,
}

impl Triggers for InForce {
    fn check(&self, scheduler: &str) -> Result<(), String> {
        let active = self.active.borrow().clone();
        check_trigger(&active.snapshot, scheduler).map_err(|error| error.to_string())
    }

    fn compose<'a>(
        &'a self,
        scheduler: &'a str,
        trigger: Trigger,
    ) -> BoxFuture<'a, Result<NewBuildset, NotMade>> {
        Box::pin(async move {
            let active = self.active.borrow().clone();
            let (snapshot, host) = (&active.snapshot, active.host.as_ref());
            compose_triggered(&self.data, snapshot, host, scheduler, trigger).await.map_err(not_made)
        })
    }
}

fn not_made(error: TriggerError) -> NotMade {
    match error {
        TriggerError::Compose(error @ (ComposeError::Unavailable(_) | ComposeError::Store(_))) => {
            NotMade::Yet(error.to_string())
        }
        error => NotMade::Ever(error.to_string()),
    }
}
