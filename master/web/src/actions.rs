//! What people order, for REST and the pages alike: each asks the policy first, and hands the permit to an update method of
//! `data`.

use muster_core::policy::{Action, Denied, Permit, Target, TargetKind};
use muster_core::{BuildId, MasterId, RequestId, SchedulerId, WorkerId};
use muster_data::{AddedBuildset, MasterOrder, WorkerOrder, read};
use muster_schedule::ForceError;
use serde_json::{Map, Value};

use crate::{AppState, auth::Visitor, forcing::Forms};

/// Why an order was not carried out.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The policy says no.
    Denied(Denied),
    /// The database, mostly.
    Failed(read::Error),
    /// A force that can't be.
    Force(ForceError),
}

/// What came of an order.
pub(crate) type Done<T> = Result<T, Refusal>;

impl<E: Into<read::Error>> From<E> for Refusal {
    fn from(error: E) -> Refusal {
        Refusal::Failed(error.into())
    }
}

/// The orders of one visitor.
pub(crate) struct Orders<'a> {
    pub(crate) state: &'a AppState,
    pub(crate) visitor: &'a Visitor,
}

impl Orders<'_> {
    /// The permit for an action on something.
    pub(crate) fn permit(&self, action: Action, target: &Target) -> Done<Permit> {
        self.visitor.may(action, target).map_err(Refusal::Denied)
    }

    /// The permit for an action on a build.
    pub(crate) async fn permit_for_build(&self, action: Action, build: BuildId) -> Done<Permit> {
        let with_owner = self.visitor.policy.asks_for_owners();
        let target = self.state.data.build_as_target(build, with_owner).await?;
        self.permit(action, &target)
    }

    /// Whether the visitor may, for a page to offer it.
    pub(crate) async fn may_with_build(&self, action: Action, build: BuildId) -> Done<bool> {
        match self.permit_for_build(action, build).await {
            Ok(_) => Ok(true),
            Err(Refusal::Denied(_)) => Ok(false),
            Err(other) => Err(other),
        }
    }

    pub(crate) async fn stop_build(&self, build: BuildId, reason: &str) -> Done<()> {
        let permit = self.permit_for_build(Action::StopBuild, build).await?;
        Ok(self.state.data.stop_build(&permit, build, reason).await?)
    }

    pub(crate) async fn rebuild(&self, build: BuildId) -> Done<Option<AddedBuildset>> {
        let permit = self.permit_for_build(Action::RebuildBuild, build).await?;
        Ok(self.state.data.rebuild(&permit, build).await?)
    }

    /// Cancels a request. Where its build runs already, that is to stop the build, too.
    pub(crate) async fn cancel(&self, request: RequestId, reason: &str) -> Done<()> {
        let permit = self.permit(Action::CancelRequest, &Target::default())?;
        for build in self.state.data.running_builds_of(request).await? {
            self.permit_for_build(Action::StopBuild, build).await?;
        }
        Ok(self.state.data.cancel_request(&permit, request, reason).await?)
    }

    pub(crate) async fn set_priority(&self, request: RequestId, priority: i64) -> Done<bool> {
        let permit = self.permit(Action::SetPriority, &Target::default())?;
        Ok(self.state.data.set_priority(&permit, request, priority).await?)
    }

    pub(crate) async fn enable_scheduler(&self, scheduler: SchedulerId, enabled: bool) -> Done<()> {
        let permit = self.permit(Action::EnableScheduler, &Target::of(TargetKind::Scheduler))?;
        Ok(self.state.data.set_scheduler_enabled(&permit, scheduler, enabled).await?)
    }

    pub(crate) async fn control_worker(
        &self,
        worker: WorkerId,
        order: WorkerOrder,
        reason: &str,
    ) -> Done<bool> {
        let permit = self.permit(order.action(), &Target::default())?;
        Ok(self.state.data.control_worker(&permit, worker, order, reason).await?)
    }

    pub(crate) async fn control_master(
        &self,
        master: MasterId,
        order: MasterOrder,
        reason: &str,
    ) -> Done<bool> {
        let permit = self.permit(Action::StopMaster, &Target::default())?;
        Ok(self.state.data.control_master(&permit, master, order, reason).await?)
    }

    /// Whoever has logged in owns what they force; else the form says who it is.
    pub(crate) async fn force(
        &self,
        forms: &Forms,
        scheduler: &str,
        params: Map<String, Value>,
    ) -> Done<AddedBuildset> {
        let (data, snapshot) = (&self.state.data, forms.of(scheduler));
        let builders = muster_schedule::forced_builders(data, snapshot, scheduler, &params).await;
        let target =
            Target { builders: builders.map_err(Refusal::Force)?, ..Target::of(TargetKind::ForceScheduler) };
        let permit = self.permit(Action::Force, &target)?;
        muster_schedule::force(data, snapshot, &permit, scheduler, params).await.map_err(Refusal::Force)
    }
}
