//! SingleBranchScheduler and AnyBranchScheduler: changes become builds
//! (`docs/compat/behaviour-3-changes-schedulers.md` 3.5).

use std::{collections::BTreeMap, time::Duration};

use muster_config::snapshot::{CodebaseDefaults, SchedulerConfig, SourceStampSchedulerConfig};
use muster_core::{Change, ChangeId, SchedulerId, pattern::PatternError};
use muster_data::{Classification, Data};
use tokio::time::Instant;

use crate::{
    absolute,
    buildset::{ComposeError, Composer},
    callables::Callables,
    changes,
    gate::{Gate, Verdict},
    stable_timers::{StableTimers, TimerKey},
    trouble::Trouble,
};

/// Changes looked at in one round; with more the next round follows at once.
const BATCH: i64 = 100;

/// Which timer a change belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// All changes together.
    One,
    /// Each line of development for itself.
    Each,
}

/// A scheduler of changes, owned by this master.
pub(crate) struct Basic {
    config: SchedulerConfig,
    details: SourceStampSchedulerConfig,
    lines: Lines,
    gate: Gate,
    id: SchedulerId,
    data: Data,
    callables: Callables,
    /// `None`: a build for each change.
    timers: Option<StableTimers>,
    /// The changes kept by an earlier owner (or before the scheduler was switched off) were looked at.
    resumed: bool,
    trouble: Trouble,
}

impl Basic {
    pub(crate) fn new(
        config: SchedulerConfig,
        details: SourceStampSchedulerConfig,
        lines: Lines,
        id: SchedulerId,
        data: Data,
        callables: Callables,
    ) -> Result<Basic, PatternError> {
        let gate = Gate::new(
            &config,
            Some(&details.change_filter),
            details.file_is_important.as_ref(),
            details.only_important,
        )?;
        let wait = details.tree_stable_timer.filter(|seconds| *seconds > 0.0);
        let wait = wait.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Ok(Basic {
            timers: wait.map(StableTimers::new),
            config,
            details,
            lines,
            gate,
            id,
            data,
            callables,
            resumed: false,
            trouble: Trouble::default(),
        })
    }

    /// Does everything that is due; answers when to look again at the latest.
    pub(crate) async fn round(
        &mut self,
        enabled: bool,
        now: Instant,
    ) -> Result<Option<Instant>, ComposeError> {
        if !enabled {
            self.pause().await?;
            return Ok(None);
        }
        if !self.resumed {
            self.resume(now).await?;
            self.resumed = true;
        }
        let unseen = self.data.unseen_changes(self.id, BATCH).await?;
        let more = unseen.len() as i64 == BATCH;
        for id in unseen {
            self.classify(id, now).await?;
        }
        for timer in self.timers.as_ref().map(|timers| timers.due(now)).unwrap_or_default() {
            self.fire(&timer).await?;
        }
        if more {
            return Ok(Some(now));
        }
        Ok(self.timers.as_ref().and_then(StableTimers::next))
    }

    /// What it can't do.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.text()
    }

    /// Changes that come while the scheduler is switched off are not built; those it keeps wait for the switch.
    async fn pause(&mut self) -> Result<(), ComposeError> {
        self.resumed = false;
        if let Some(timers) = &mut self.timers {
            timers.clear();
        }
        changes::ignore_unseen(&self.data, self.id, BATCH).await?;
        Ok(())
    }

    /// Timers wait anew with the changes that are kept; without timers nobody waits for them.
    async fn resume(&mut self, now: Instant) -> Result<(), ComposeError> {
        let kept = self.data.kept_changes(self.id).await?;
        if kept.is_empty() {
            return Ok(());
        }
        let Some(timers) = &mut self.timers else {
            let kept: Vec<ChangeId> = kept.into_iter().map(|(id, _)| id).collect();
            return Ok(self.data.drop_kept_changes(self.id, &kept).await?);
        };
        for (id, important) in kept {
            if let Some(change) = changes::load(&self.data, id).await? {
                timers.observe(self.lines.key(&change), important, now);
            }
        }
        Ok(())
    }

    async fn classify(&mut self, id: ChangeId, now: Instant) -> Result<(), ComposeError> {
        let Some(change) = changes::load(&self.data, id).await? else {
            return Ok(());
        };
        let looked = self.gate.look_at(&self.config.name, &change, &self.callables).await;
        let verdict = looked.map_err(|error| ComposeError::Unavailable(error.to_string()))?;
        if !matches!(verdict, Verdict::Failed(_)) {
            self.trouble.decided();
        }
        let important = match verdict {
            Verdict::Take { important } => important,
            Verdict::Pass => return self.record(id, Classification::Ignored).await,
            Verdict::Failed(why) => {
                self.trouble.deciding_failed(id, &why);
                return self.record(id, Classification::Ignored).await;
            }
        };
        if self.details.create_absolute_source_stamps {
            absolute::record(&self.data, &self.config, &change).await?;
        }
        if self.timers.is_some() {
            self.record(id, Classification::Kept { important }).await?;
            if let Some(timers) = &mut self.timers {
                timers.observe(self.lines.key(&change), important, now);
            }
            return Ok(());
        }
        if !important {
            return self.record(id, Classification::Ignored).await;
        }
        let built = match self.compose(std::slice::from_ref(&change)).await {
            Ok(set) => self.record(id, Classification::Built(Box::new(set))).await,
            Err(error) => Err(error),
        };
        match built {
            Ok(()) => {
                self.trouble.built();
                Ok(())
            }
            Err(ComposeError::Configuration { what, reason }) => {
                let name = &self.config.name;
                self.trouble.building_failed(&[id], &format!("{what}: {reason}"));
                tracing::error!("scheduler '{name}' can't build change {id}: {what}: {reason}");
                self.record(id, Classification::Ignored).await
            }
            Err(error) => Err(error),
        }
    }

    async fn record(&self, id: ChangeId, classification: Classification) -> Result<(), ComposeError> {
        if let Some(added) = self.data.classify_change(self.id, id, classification).await? {
            tracing::info!("scheduler '{}' builds change {id}: buildset {}", self.config.name, added.id);
        }
        Ok(())
    }

    /// Builds what a timer waited for. Only the changes of this timer are used up: others go on waiting.
    async fn fire(&mut self, timer: &TimerKey) -> Result<(), ComposeError> {
        let mut ids = Vec::new();
        let mut waiting = Vec::new();
        for (id, _) in self.data.kept_changes(self.id).await? {
            match changes::load(&self.data, id).await? {
                Some(change) if self.lines.key(&change) == *timer => {
                    ids.push(id);
                    waiting.push(change);
                }
                _ => {}
            }
        }
        if !ids.is_empty() {
            let built = match self.compose(&waiting).await {
                Ok(set) => self.data.build_kept_changes(self.id, &ids, set).await.map_err(Into::into),
                Err(error) => Err(error),
            };
            match built {
                Ok(added) => {
                    self.trouble.built();
                    let (name, count) = (&self.config.name, ids.len());
                    tracing::info!("scheduler '{name}' builds {count} changes: buildset {}", added.id);
                }
                Err(ComposeError::Configuration { what, reason }) => {
                    let name = &self.config.name;
                    tracing::error!("scheduler '{name}' can't build the changes it kept: {what}: {reason}");
                    self.trouble.building_failed(&ids, &format!("{what}: {reason}"));
                    self.data.drop_kept_changes(self.id, &ids).await?;
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(timers) = &mut self.timers {
            timers.done(timer);
        }
        Ok(())
    }

    async fn compose(&self, changes: &[Change]) -> Result<muster_data::NewBuildset, ComposeError> {
        let composer = Composer { scheduler: &self.config, data: &self.data, callables: &self.callables };
        let reason = composer.reason(self.details.reason.as_ref()).await?;
        composer.for_changes(reason, &self.codebases().await?, changes).await
    }

    async fn codebases(&self) -> Result<BTreeMap<String, CodebaseDefaults>, ComposeError> {
        if self.details.create_absolute_source_stamps {
            return Ok(absolute::codebases(&self.data, &self.config).await?);
        }
        Ok(self.config.codebases.clone())
    }
}

impl Lines {
    fn key(self, change: &Change) -> TimerKey {
        match self {
            Lines::One => TimerKey::Only,
            Lines::Each => TimerKey::of_line(change),
        }
    }
}

#[cfg(test)]
mod tests;
