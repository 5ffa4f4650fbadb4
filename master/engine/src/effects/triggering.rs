//! Effects of steps that ask for other builds.

use std::{collections::BTreeMap, time::Duration};

use muster_bus::{Event, Subscription};
use muster_core::policy::{Action, Permit};
use muster_core::{BuildsetId, RequestId, Results, TopicFilter};
use muster_data::{AddedBuildset, NewBuildset, Trigger, TriggeredBuild};
use muster_store::Error;

use super::{
    context::StepContext,
    core::{Interrupts, insist},
    effect::{Effect, Outcome},
    end::{Halt, StepEnd, outcome},
    journal::{Entry, Matching},
    perform::SharedContext,
    summary::OwnSummary,
};
use crate::triggers::NotMade;

/// How often it is looked whether buildsets are complete although no event came.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Waits before something that was away is asked again: first and longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// Why requests of a stopped build are cancelled, as Buildbot says it.
const INTERRUPTED: &str = "parent build was interrupted";

impl StepContext<'_> {
    /// The build.
    pub fn build(&self) -> muster_core::BuildId {
        self.core.key.build
    }

    /// The address of a request's page.
    pub fn request_url(&self, request: muster_core::RequestId) -> String {
        self.core.facts.request_url(request)
    }

    /// The address of a build's page.
    pub fn build_url(&self, builder: muster_core::BuilderId, number: i64) -> String {
        self.core.facts.build_url(builder, number)
    }

    /// Sets the whole summary: neither what is configured nor the result is added.
    pub(crate) fn set_own_summary(&mut self, summary: OwnSummary) {
        self.own_summary = summary;
    }

    /// Why a scheduler can't be triggered, if that is so.
    ///
    /// # Errors
    /// The step is an exception then.
    pub(crate) fn check_trigger(&self, scheduler: &str) -> Result<(), StepEnd> {
        self.core.triggers.check(scheduler).map_err(StepEnd::Exception)
    }

    /// Asks a scheduler for builds, once: a replay gets the requests that were made before.
    ///
    /// # Errors
    /// When the scheduler can't make them, the build is stopped meanwhile, or this master goes.
    pub(crate) async fn trigger(
        &mut self,
        scheduler: &str,
        trigger: Trigger,
    ) -> Result<AddedBuildset, StepEnd> {
        let (scheduler, trigger) = (scheduler.to_owned(), Box::new(trigger));
        match self.perform(Effect::Trigger { scheduler, trigger }).await? {
            Outcome::Triggered(added) => Ok(added),
            other => Err(other.unexpected()),
        }
    }

    /// Waits until more than `known` of these buildsets are complete, and answers all that are.
    ///
    /// # Errors
    /// When the build is stopped meanwhile, or this master goes.
    pub(crate) async fn wait_for_buildsets(
        &mut self,
        sets: &[BuildsetId],
        known: usize,
    ) -> Result<BTreeMap<BuildsetId, Results>, StepEnd> {
        match self.perform(Effect::AwaitBuildsets { sets: sets.to_vec(), known }).await? {
            Outcome::Buildsets(complete) => Ok(complete.into_iter().collect()),
            other => Err(other.unexpected()),
        }
    }

    /// The builds of requests so far.
    ///
    /// # Errors
    /// When this master goes before the database answers.
    pub(crate) async fn triggered_builds(
        &self,
        requests: &[RequestId],
    ) -> Result<Vec<TriggeredBuild>, StepEnd> {
        let read = || self.core.data.builds_of_requests(requests);
        Ok(self.core.insist("triggered builds", read).await?)
    }

    /// Cancels requests that a stopped build has made.
    ///
    /// # Errors
    /// When this master goes before the database accepts it: whoever goes on with the build does it.
    pub(crate) async fn cancel_triggered(&mut self, requests: &[RequestId]) -> Result<(), StepEnd> {
        self.perform(Effect::CancelRequests { requests: requests.to_vec() }).await.map(drop)
    }
}

impl SharedContext<'_, '_> {
    /// Asks a scheduler for builds, once.
    pub(super) async fn trigger(
        &self,
        scheduler: String,
        trigger: Trigger,
        matching: Matching,
        interrupts: &mut Interrupts,
    ) -> Result<AddedBuildset, StepEnd> {
        let effect = Effect::Trigger { scheduler: scheduler.clone(), trigger: Box::new(trigger.clone()) };
        let row = match self.entry(&effect, matching)? {
            Entry::Recorded(recorded) => return outcome(&recorded.row),
            Entry::Live(row) => row,
        };
        // Only here: whoever goes on with a stopped step must learn of all that it has asked for.
        if self.with(|context| context.stopped().is_some()) {
            return Err(StepEnd::Cancelled);
        }
        self.flush().await?;
        let (data, key) = self.with(|context| (context.core.data.clone(), context.core.key));
        let set = self.compose(&scheduler, trigger, interrupts).await?;
        let mut wait = AGAIN.0;
        loop {
            let error = match data.trigger(&key, &row, &set).await {
                Ok(added) => return Ok(added),
                Err(Error::Fenced(_)) => return Err(Halt::Fenced.into()),
                // The run goes on from what is stored.
                Err(Error::Unknown { .. }) => return Err(Halt::Unsure.into()),
                Err(error) if error.is_for_good() => return Err(StepEnd::Exception(error.to_string())),
                Err(error) => error,
            };
            self.pause(&mut wait, &scheduler, &error.to_string(), interrupts).await?;
        }
    }

    async fn compose(
        &self,
        scheduler: &str,
        trigger: Trigger,
        interrupts: &mut Interrupts,
    ) -> Result<NewBuildset, StepEnd> {
        let triggers = self.with(|context| context.core.triggers.clone());
        let mut wait = AGAIN.0;
        loop {
            let composed = tokio::select! {
                composed = triggers.compose(scheduler, trigger.clone()) => composed,
                end = interrupts.left_or_cancelled() => return Err(end),
            };
            match composed {
                Ok(set) => return Ok(set),
                Err(NotMade::Ever(reason)) => return Err(StepEnd::Exception(reason)),
                Err(NotMade::Yet(reason)) => self.pause(&mut wait, scheduler, &reason, interrupts).await?,
            }
        }
    }

    /// Waits before a scheduler is asked again, longer each time.
    async fn pause(
        &self,
        wait: &mut Duration,
        scheduler: &str,
        reason: &str,
        interrupts: &mut Interrupts,
    ) -> Result<(), StepEnd> {
        let build = self.with(|context| context.core.key.build);
        tracing::warn!(%build, scheduler, reason, "can't trigger builds yet; trying again");
        tokio::select! {
            () = tokio::time::sleep(*wait) => {}
            end = interrupts.any() => return Err(end),
        }
        *wait = (*wait * 2).min(AGAIN.1);
        Ok(())
    }

    /// Waits until more than `known` of these buildsets are complete, and answers all that are. What has come out does not
    /// change any more, so that no row is needed.
    pub(super) async fn await_buildsets(
        &self,
        sets: &[BuildsetId],
        known: usize,
        interrupts: &mut Interrupts,
    ) -> Result<BTreeMap<BuildsetId, Results>, StepEnd> {
        self.flush().await?;
        let filter = TopicFilter::parse("buildsets/*/complete");
        let (data, build) = self.with(|context| (context.core.data.clone(), context.core.key.build));
        let mut events = data.bus().subscribe();
        loop {
            match data.complete_buildsets(sets).await {
                Ok(complete) if complete.len() > known => return Ok(complete),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%build, %error, "can't look for triggered builds; trying again");
                }
            }
            let is_ours = |event: &Event| {
                let id = event.matching(&filter).and_then(|topic| topic.0.get(1)?.parse().ok());
                id.is_some_and(|id| sets.contains(&BuildsetId(id)))
            };
            tokio::select! {
                () = told(&mut events, is_ours) => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                end = interrupts.any() => return Err(end),
            }
        }
    }

    /// Cancels requests. What is over already stays as it is, so doing it twice is the same as once.
    pub(super) async fn cancel_requests(&self, requests: &[RequestId]) -> Result<(), StepEnd> {
        let (data, build, leaving) = self.with(|context| {
            (context.core.data.clone(), context.core.key.build, context.core.leaving.clone())
        });
        for request in requests {
            let permit = Permit::system("the step that made it", Action::CancelRequest);
            let cancel = || data.cancel_request(&permit, *request, INTERRUPTED);
            insist(build, &leaving, "a request that is to be cancelled", cancel).await?;
        }
        Ok(())
    }
}

/// Waits for an event that `wanted` selects, or for the news that some were missed.
async fn told(events: &mut Subscription, wanted: impl Fn(&Event) -> bool) {
    if !events.wait_for(wanted).await {
        // The bus is gone; the timer still works.
        std::future::pending().await
    }
}
