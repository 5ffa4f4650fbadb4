//! Effects of steps that ask for other builds.

use std::{collections::BTreeMap, time::Duration};

use muster_bus::{Event, Subscription};
use muster_core::{BuildsetId, RequestId, Results, TopicFilter};
use muster_data::{AddedBuildset, NewBuildset, Trigger, TriggeredBuild};
use muster_store::Error;
use serde_json::json;

use super::{
    context::{StepContext, StepEnd, outcome},
    core::ordered,
    halt::Halt,
    journal,
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
        let row = match self.journal.effect("trigger", &asked(scheduler, &trigger))? {
            journal::Effect::Recorded(row) => return outcome(&row),
            journal::Effect::Live(row) => row,
        };
        // Only here: whoever goes on with a stopped step must learn of all that it has asked for.
        if self.stopped().is_some() {
            return Err(StepEnd::Cancelled);
        }
        self.core.recorder.flush().await?;
        let set = self.compose(scheduler, trigger).await?;
        let mut wait = AGAIN.0;
        loop {
            let error = match self.core.data.trigger(&self.core.key, &row, &set).await {
                Ok(added) => return Ok(added),
                Err(Error::Fenced(_)) => return Err(Halt::Fenced.into()),
                // The run goes on from what is stored.
                Err(Error::Unknown { .. }) => return Err(Halt::Unsure.into()),
                Err(error) if error.is_for_good() => return Err(StepEnd::Exception(error.to_string())),
                Err(error) => error,
            };
            self.pause(&mut wait, scheduler, &error.to_string()).await?;
        }
    }

    async fn compose(&mut self, scheduler: &str, trigger: Trigger) -> Result<NewBuildset, StepEnd> {
        let mut wait = AGAIN.0;
        loop {
            let triggers = self.core.triggers.clone();
            let composed = tokio::select! {
                composed = triggers.compose(scheduler, trigger.clone()) => composed,
                () = self.core.leaving.cancelled() => return Err(self.leave()),
            };
            match composed {
                Ok(set) => return Ok(set),
                Err(NotMade::Ever(reason)) => return Err(StepEnd::Exception(reason)),
                Err(NotMade::Yet(reason)) => self.pause(&mut wait, scheduler, &reason).await?,
            }
        }
    }

    /// Waits before a scheduler is asked again, longer each time.
    async fn pause(&mut self, wait: &mut Duration, scheduler: &str, reason: &str) -> Result<(), StepEnd> {
        tracing::warn!(build = %self.core.key.build, scheduler, reason, "can't trigger builds yet; trying again");
        let mut stop = self.core.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(*wait) => {}
            () = ordered(&mut stop) => return Err(StepEnd::Cancelled),
            () = self.core.leaving.cancelled() => return Err(self.leave()),
        }
        *wait = (*wait * 2).min(AGAIN.1);
        Ok(())
    }

    /// Waits until more than `known` of these buildsets are complete, and answers all that are. What has come out does not
    /// change any more, so that no row is needed.
    ///
    /// # Errors
    /// When the build is stopped meanwhile, or this master goes.
    pub(crate) async fn wait_for_buildsets(
        &mut self,
        sets: &[BuildsetId],
        known: usize,
    ) -> Result<BTreeMap<BuildsetId, Results>, StepEnd> {
        self.core.recorder.flush().await?;
        let filter = TopicFilter::parse("buildsets/*/complete");
        let mut events = self.core.data.bus().subscribe();
        let mut stop = self.core.stop.clone();
        loop {
            match self.core.data.complete_buildsets(sets).await {
                Ok(complete) if complete.len() > known => return Ok(complete),
                Ok(_) => {}
                Err(error) => {
                    let build = self.core.key.build;
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
                () = ordered(&mut stop) => return Err(StepEnd::Cancelled),
                () = self.core.leaving.cancelled() => return Err(self.leave()),
            }
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

    /// Cancels requests that a stopped build has made. What is over already stays as it is, so doing it twice is the same as
    /// once.
    ///
    /// # Errors
    /// When this master goes before the database accepts it: whoever goes on with the build does it.
    pub(crate) async fn cancel_triggered(&self, requests: &[RequestId]) -> Result<(), StepEnd> {
        for request in requests {
            let cancel = || self.core.data.cancel_request(*request, INTERRUPTED);
            self.core.insist("a request that is to be cancelled", cancel).await?;
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

/// What is asked for, as the journal keeps it.
fn asked(scheduler: &str, trigger: &Trigger) -> serde_json::Value {
    let sources = trigger.sources.iter().map(|source| {
        json!([
            source.codebase,
            source.branch,
            source.revision,
            source.repository,
            source.project,
            source.patch.as_ref().map(|patch| &patch.body_base64),
        ])
    });
    let sources: Vec<serde_json::Value> = sources.collect();
    let relationship = trigger.parent.as_ref().map(|(_, relationship)| relationship);
    json!([scheduler, sources, trigger.properties, relationship, trigger.waited_for])
}
