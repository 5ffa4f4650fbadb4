//! Triggerable: builds that other builds ask for (`docs/compat/behaviour-2-builds.md`, Trigger). The waiting is the caller's.

use muster_config::{
    Host,
    snapshot::{SchedulerKind, Snapshot},
};
use muster_core::{BuildId, Properties, render::py_str};
use muster_data::{AddedBuildset, Data, NewSourceStamp};

use crate::{
    buildset::{ComposeError, Composer, Draft, stamps_with_defaults},
    callables::Callables,
};

/// What a build asks for.
#[derive(Clone, Debug, Default)]
pub struct Trigger {
    /// Versions of the sources; codebases that are not among them get the scheduler's defaults.
    pub sources: Vec<NewSourceStamp>,
    /// Properties for the new builds; the scheduler's own win over them. A property `reason` is the buildset's reason.
    pub properties: Properties,
    /// The asking build, and how the two are related.
    pub parent: Option<(BuildId, String)>,
    /// It waits for the end.
    pub waited_for: bool,
}

/// Why nothing was triggered.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    /// No Triggerable scheduler has this name.
    #[error("there is no Triggerable scheduler '{0}'")]
    UnknownScheduler(String),
    /// The buildset could not be made.
    #[error(transparent)]
    Compose(#[from] ComposeError),
}

impl From<muster_store::Error> for TriggerError {
    fn from(error: muster_store::Error) -> TriggerError {
        TriggerError::Compose(error.into())
    }
}

/// Makes the buildset that a build asks the Triggerable scheduler `name` for. It works on every master that has the
/// scheduler configured, whoever owns it.
pub async fn trigger(
    data: &Data,
    snapshot: &Snapshot,
    host: Option<&Host>,
    name: &str,
    trigger: Trigger,
) -> Result<AddedBuildset, TriggerError> {
    let scheduler = snapshot.scheduler(name);
    let Some((scheduler, SchedulerKind::Triggerable { reason })) =
        scheduler.map(|scheduler| (scheduler, &scheduler.kind))
    else {
        return Err(TriggerError::UnknownScheduler(name.to_owned()));
    };
    let callables = Callables::new(host.cloned());
    let composer = Composer { scheduler, data, callables: &callables };
    let reason = match trigger.properties.get("reason") {
        Some(reason) if !reason.is_null() => py_str(reason),
        _ => composer.reason(reason.as_ref()).await?,
    };
    let set = composer
        .compose(Draft {
            reason,
            stamps: stamps_with_defaults(&scheduler.codebases, trigger.sources),
            properties: trigger.properties,
            priority: composer.fixed_priority(),
            parent: trigger.parent,
            waited_for: trigger.waited_for,
            ..Draft::default()
        })
        .await?;
    Ok(data.add_buildset(set).await?)
}

#[cfg(test)]
mod tests;
