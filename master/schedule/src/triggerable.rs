//! Triggerable: builds that other builds ask for (`docs/compat/behaviour-2-builds.md`, Trigger). The waiting is the caller's.

use std::collections::BTreeMap;

use muster_config::{
    Host,
    snapshot::{CodebaseDefaults, SchedulerConfig, SchedulerKind, Snapshot},
};
use muster_core::render::{Renderable, py_str};
use muster_data::{Data, NewBuildset, NewSourceStamp, Trigger, WantedSource};

use crate::{
    buildset::{ComposeError, Composer, Draft, Stamp, default_stamp},
    callables::Callables,
};

/// Why nothing was triggered.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    /// No scheduler has this name.
    #[error("unknown triggered scheduler: '{0}'")]
    Unknown(String),
    /// The scheduler can't be triggered.
    #[error("the scheduler '{0}' can't be triggered: it is no Triggerable")]
    Other(String),
    /// The buildset could not be made.
    #[error(transparent)]
    Compose(#[from] ComposeError),
}

/// Whether there is a scheduler that a build can ask.
pub fn check_trigger(snapshot: &Snapshot, name: &str) -> Result<(), TriggerError> {
    find(snapshot, name).map(drop)
}

/// The buildset that a build asks the Triggerable scheduler `name` for. Every master that has the scheduler configured can
/// make it, whoever owns the scheduler.
pub async fn compose_triggered(
    data: &Data,
    snapshot: &Snapshot,
    host: Option<&Host>,
    name: &str,
    trigger: Trigger,
) -> Result<NewBuildset, TriggerError> {
    let (scheduler, reason) = find(snapshot, name)?;
    let callables = Callables::new(host.cloned());
    let composer = Composer { scheduler, data, callables: &callables };
    let reason = match trigger.properties.get("reason") {
        Some(reason) if !reason.is_null() => py_str(reason),
        _ => composer.reason(reason).await?,
    };
    let draft = Draft {
        reason,
        stamps: stamps(&scheduler.codebases, trigger.sources),
        properties: trigger.properties,
        priority: composer.fixed_priority(),
        parent: trigger.parent,
        waited_for: trigger.waited_for,
        ..Draft::default()
    };
    Ok(composer.compose(draft).await?)
}

fn find<'a>(
    snapshot: &'a Snapshot,
    name: &str,
) -> Result<(&'a SchedulerConfig, Option<&'a Renderable>), TriggerError> {
    let scheduler = snapshot.scheduler(name).ok_or_else(|| TriggerError::Unknown(name.to_owned()))?;
    match &scheduler.kind {
        SchedulerKind::Triggerable { reason } => Ok((scheduler, reason.as_ref())),
        _ => Err(TriggerError::Other(name.to_owned())),
    }
}

/// What the build says of each codebase, over the scheduler's defaults; codebases that it says nothing of get these.
fn stamps<'a>(codebases: &BTreeMap<String, CodebaseDefaults>, wanted: Vec<WantedSource>) -> Vec<Stamp<'a>> {
    let mut stamps: BTreeMap<String, NewSourceStamp> = codebases
        .iter()
        .map(|(codebase, defaults)| (codebase.clone(), default_stamp(codebase, defaults)))
        .collect();
    for source in wanted {
        let defaults = stamps.remove(&source.codebase).unwrap_or_default();
        stamps.insert(source.codebase.clone(), source.with_defaults(defaults));
    }
    stamps.into_values().map(|stamp| Stamp::New(Box::new(stamp))).collect()
}

#[cfg(test)]
mod tests;
