//! Masters that stand still are taken over.

use muster_bus::Event;
use muster_core::MasterId;
use muster_store::{
    Error, Result, builders,
    masters::{self, EngineAddress, Lease},
    runs::{self, RunRow},
};
use serde_json::json;

use super::runs::adopt;
use crate::Data;

impl Data {
    /// The leases of other masters that act.
    pub async fn leases_of_others(&self, me: MasterId) -> Result<Vec<Lease>> {
        self.db().read("leases_of_others", |tx| async move { masters::leases_of_others(&tx, me).await }).await
    }

    /// The engines that take workers now, this master's own among them, with the addresses they give.
    pub async fn live_engines(&self) -> Result<Vec<EngineAddress>> {
        self.db().read("live_engines", |tx| async move { masters::live_engines(&tx).await }).await
    }

    /// Ends the lease of a master that stands still, frees what it had, and takes over its builds. `None`: it was
    /// raised meanwhile, or somebody else was first.
    pub async fn take_over(&self, lease: &Lease, me: MasterId) -> Result<Option<Vec<RunRow>>> {
        let committed = self.db().tx("take_over", |tx| async move {
            if !masters::expire_lease(&tx, lease).await? {
                return Ok((None, Vec::new()));
            }
            let gone = lease.master;
            let mut events = Vec::new();
            for (builder, name) in builders::of_master(&tx, gone).await? {
                let payload = json!({ "builderid": builder, "masterid": gone, "name": name });
                events.push(Event::new([format!("builders/{builder}/stopped")], payload));
            }
            masters::forget_configuration(&tx, gone).await?;
            masters::set_inactive(&tx, gone).await?;
            let name = masters::by_id(&tx, gone).await?.map(|master| master.name);
            let payload = json!({ "masterid": gone, "name": name, "active": false });
            events.push(Event::new([format!("masters/{gone}/stopped")], payload));
            let left = runs::of_owner(&tx, gone).await?;
            Ok::<_, Error>((Some(adopt(&tx, left, me).await?), events))
        });
        Ok(self.tell(committed.await?))
    }
}
