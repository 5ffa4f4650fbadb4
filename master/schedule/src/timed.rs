//! Periodic and Nightly: builds by the clock (`docs/compat/behaviour-3-changes-schedulers.md` 3.5).

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use muster_config::snapshot::{
    Branches, ChangeFilter, CodebaseDefaults, NightlyConfig, PeriodicConfig, SchedulerConfig,
};
use muster_core::{
    Change, ChangeId, SchedulerId,
    pattern::PatternError,
    render::{Callable, Renderable},
};
use muster_data::{Classification, Data, NewBuildset, StateKey};
use serde_json::{Value, json};

use crate::{
    absolute,
    buildset::{ComposeError, Composer, Draft, class_of, stamps_with_defaults},
    callables::Callables,
    changes,
    cron::{CronError, CronRule},
    gate::{Gate, Verdict},
    trouble::Trouble,
};

/// Changes that are read at once.
const BATCH: i64 = 100;

/// When a scheduler is due.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    /// So many seconds after the last time.
    Every(f64),
    /// By the calendar of a zone.
    Calendar { at: Box<CronRule>, force_at: Option<Box<CronRule>>, zone: TimeZone },
}

impl Plan {
    /// The next time after `last`, in seconds since 1970; `None` is never. A scheduler that never ran counts from
    /// `since`, the moment it became active; a periodic one is due then.
    pub(crate) fn next(&self, last: Option<f64>, since: f64) -> Option<f64> {
        match self {
            Plan::Every(period) => Some(last.map_or(since, |last| last + period)),
            Plan::Calendar { at, zone, .. } => {
                let after = Timestamp::from_microsecond((last.unwrap_or(since) * 1e6) as i64).ok()?;
                at.next(after, zone).map(|next| next.as_second() as f64)
            }
        }
    }

    /// Whether it builds at `moment` even without an important change.
    fn forces(&self, moment: f64) -> bool {
        match self {
            Plan::Calendar { force_at: Some(rule), zone, .. } => {
                Timestamp::from_second(moment as i64).is_ok_and(|moment| rule.matches(moment, zone))
            }
            _ => false,
        }
    }
}

/// What Periodic and Nightly have in common.
#[derive(Clone, Debug)]
pub(crate) struct TimedDetails {
    plan: Plan,
    only_if_changed: bool,
    change_filter: Option<ChangeFilter>,
    file_is_important: Option<Callable>,
    only_important: bool,
    branch: Branches,
    create_absolute_source_stamps: bool,
    reason: Option<Renderable>,
}

impl From<PeriodicConfig> for TimedDetails {
    fn from(config: PeriodicConfig) -> TimedDetails {
        TimedDetails {
            plan: Plan::Every(config.period),
            only_if_changed: config.only_if_changed,
            change_filter: config.change_filter,
            file_is_important: config.file_is_important,
            only_important: config.only_important,
            branch: config.branch,
            create_absolute_source_stamps: config.create_absolute_source_stamps,
            reason: config.reason,
        }
    }
}

impl TimedDetails {
    /// A calendar of this zone.
    pub(crate) fn nightly(config: NightlyConfig, zone: TimeZone) -> Result<TimedDetails, CronError> {
        let at = Box::new(CronRule::new(&config.at)?);
        let force_at = config.force_at.as_ref().map(CronRule::new).transpose()?.map(Box::new);
        Ok(TimedDetails {
            plan: Plan::Calendar { at, force_at, zone },
            only_if_changed: config.only_if_changed,
            change_filter: config.change_filter,
            file_is_important: config.file_is_important,
            only_important: config.only_important,
            branch: config.branch,
            create_absolute_source_stamps: config.create_absolute_source_stamps,
            reason: config.reason,
        })
    }

    /// Whether changes matter to it at all.
    fn wants_changes(&self) -> bool {
        self.only_if_changed || self.create_absolute_source_stamps
    }

    fn wants_branch(&self, branch: Option<&str>) -> bool {
        match &self.branch {
            Branches::Any => true,
            Branches::Only(wanted) => wanted.as_deref() == branch,
        }
    }
}

/// A timed scheduler, owned by this master.
pub(crate) struct Timed {
    config: SchedulerConfig,
    details: TimedDetails,
    gate: Gate,
    id: SchedulerId,
    data: Data,
    callables: Callables,
    /// When it became active, in seconds since 1970; `None` while it is switched off.
    since: Option<f64>,
    /// The time it waits for.
    planned: Option<f64>,
    trouble: Trouble,
}

impl Timed {
    pub(crate) fn new(
        config: SchedulerConfig,
        details: TimedDetails,
        id: SchedulerId,
        data: Data,
        callables: Callables,
    ) -> Result<Timed, PatternError> {
        let gate = Gate::new(
            &config,
            details.change_filter.as_ref(),
            details.file_is_important.as_ref(),
            details.only_important,
        )?;
        let trouble = Trouble::default();
        Ok(Timed { config, details, gate, id, data, callables, since: None, planned: None, trouble })
    }

    /// What it can't do.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.text()
    }

    /// Does everything that is due at `now`; answers the time it waits for. Times are seconds since 1970.
    pub(crate) async fn round(&mut self, enabled: bool, now: f64) -> Result<Option<f64>, ComposeError> {
        if !enabled {
            self.since = None;
            self.planned = None;
            changes::ignore_unseen(&self.data, self.id, BATCH).await?;
            return Ok(None);
        }
        self.take_changes().await?;
        let since = *self.since.get_or_insert(now);
        if self.planned.is_none() {
            // A time that was missed is made up for now.
            self.planned = self.details.plan.next(self.last_build().await?, since).map(|next| next.max(now));
        }
        let Some(planned) = self.planned.filter(|planned| *planned <= now) else {
            return Ok(self.planned);
        };
        self.fire(planned).await?;
        self.planned = self.details.plan.next(Some(planned), since).map(|next| next.max(now));
        Ok(self.planned)
    }

    async fn take_changes(&mut self) -> Result<(), ComposeError> {
        if !self.details.wants_changes() {
            changes::ignore_unseen(&self.data, self.id, BATCH).await?;
            let kept: Vec<_> = self.data.kept_changes(self.id).await?.into_iter().map(|(id, _)| id).collect();
            if !kept.is_empty() {
                self.data.drop_kept_changes(self.id, &kept).await?;
            }
            return Ok(());
        }
        // All of them: a build that is due now is one of the newest, and one of the last may be what is important.
        loop {
            let unseen = self.data.unseen_changes(self.id, BATCH).await?;
            let more = unseen.len() as i64 == BATCH;
            for id in unseen {
                let Some(change) = changes::load(&self.data, id).await? else { continue };
                let classification = self.classify(&change).await?;
                self.data.classify_change(self.id, id, classification).await?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    async fn classify(&mut self, change: &Change) -> Result<Classification, ComposeError> {
        let looked = self.gate.look_at(&self.config.name, change, &self.callables).await;
        let verdict = looked.map_err(|error| ComposeError::Unavailable(error.to_string()))?;
        if !matches!(verdict, Verdict::Failed(_)) {
            self.trouble.decided();
        }
        let important = match verdict {
            Verdict::Take { important } => important,
            Verdict::Pass => return Ok(Classification::Ignored),
            Verdict::Failed(why) => {
                self.trouble.deciding_failed(change.id, &why);
                return Ok(Classification::Ignored);
            }
        };
        if !self.details.wants_branch(change.branch.as_deref()) {
            return Ok(Classification::Ignored);
        }
        if self.details.create_absolute_source_stamps {
            absolute::record(&self.data, &self.config, change).await?;
        }
        Ok(Classification::Kept { important })
    }

    /// Builds, or finds that nothing changed.
    async fn fire(&mut self, planned: f64) -> Result<(), ComposeError> {
        let first = self.last_build().await?.is_none();
        let kept = self.data.kept_changes(self.id).await?;
        let was_only_if_changed =
            self.state("last_only_if_changed").await?.is_none_or(|value| value == json!(true));
        let idle = self.details.only_if_changed
            && was_only_if_changed
            && !first
            && !kept.iter().any(|(_, important)| *important)
            && !self.details.plan.forces(planned);
        if idle {
            let class = class_of(&self.config);
            tracing::info!("{class} scheduler <{}>: skipping build - No important changes", self.config.name);
            return self.set_state("last_build", &json!(planned)).await;
        }
        if was_only_if_changed != self.details.only_if_changed {
            self.set_state("last_only_if_changed", &json!(self.details.only_if_changed)).await?;
        }
        self.build(planned, kept.into_iter().map(|(id, _)| id).collect()).await
    }

    /// The time is kept before the build, as Buildbot does it: a crash in between leaves one run out and does none
    /// twice. What can fail for other reasons comes before both.
    async fn build(&mut self, planned: f64, kept: Vec<ChangeId>) -> Result<(), ComposeError> {
        let mut loaded = Vec::with_capacity(kept.len());
        for id in &kept {
            loaded.extend(changes::load(&self.data, *id).await?);
        }
        let set = match self.compose(&loaded).await {
            Ok(set) => set,
            Err(ComposeError::Configuration { what, reason }) => {
                tracing::error!("scheduler '{}' can't build: {what}: {reason}", self.config.name);
                self.trouble.building_failed(&[], &format!("{what}: {reason}"));
                return self.set_state("last_build", &json!(planned)).await;
            }
            Err(error) => return Err(error),
        };
        self.set_state("last_build", &json!(planned)).await?;
        let added = match kept.is_empty() {
            true => self.data.add_buildset(set).await?,
            false => self.data.build_kept_changes(self.id, &kept, set).await?,
        };
        tracing::info!("scheduler '{}' builds: buildset {}", self.config.name, added.id);
        self.trouble.built();
        Ok(())
    }

    async fn compose(&self, changes: &[Change]) -> Result<NewBuildset, ComposeError> {
        let composer = Composer { scheduler: &self.config, data: &self.data, callables: &self.callables };
        let reason = composer.reason(self.details.reason.as_ref()).await?;
        let codebases = self.codebases().await?;
        if !changes.is_empty() {
            return composer.for_changes(reason, &codebases, changes).await;
        }
        let stamps = stamps_with_defaults(&codebases, Vec::new());
        composer
            .compose(Draft { reason, stamps, priority: composer.fixed_priority(), ..Draft::default() })
            .await
    }

    async fn codebases(&self) -> Result<BTreeMap<String, CodebaseDefaults>, ComposeError> {
        if self.details.create_absolute_source_stamps {
            return Ok(absolute::codebases(&self.data, &self.config).await?);
        }
        Ok(self.config.codebases.clone())
    }

    async fn last_build(&self) -> Result<Option<f64>, ComposeError> {
        Ok(self.state("last_build").await?.and_then(|value| value.as_f64()))
    }

    async fn state(&self, key: &str) -> Result<Option<Value>, ComposeError> {
        Ok(self.data.get_state(&self.key(key)).await?)
    }

    async fn set_state(&self, key: &str, value: &Value) -> Result<(), ComposeError> {
        Ok(self.data.set_state(&self.key(key), value).await?)
    }

    fn key(&self, key: &str) -> StateKey {
        StateKey {
            object: self.config.name.clone(),
            class: class_of(&self.config).to_owned(),
            key: key.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
