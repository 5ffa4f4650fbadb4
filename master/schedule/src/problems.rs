//! What of a configuration can't be carried out here, found when it is loaded: patterns and times.

use muster_config::{
    ConfigError,
    snapshot::{ForceField, SchedulerConfig, SchedulerKind, Snapshot},
};
use muster_core::pattern::Pattern;

use crate::{change_filter::ChangeFilter, cron::CronRule};

/// One error for each, with its scheduler and its place.
pub fn problems(snapshot: &Snapshot) -> Vec<ConfigError> {
    let of_one = |scheduler: &SchedulerConfig| {
        let error = |text: String| ConfigError {
            text: format!("scheduler '{}': {text}", scheduler.name),
            source: scheduler.source.clone(),
        };
        of_scheduler(scheduler).into_iter().map(error).collect::<Vec<_>>()
    };
    snapshot.schedulers.iter().flat_map(of_one).collect()
}

fn of_scheduler(scheduler: &SchedulerConfig) -> Vec<String> {
    let filter = match &scheduler.kind {
        SchedulerKind::SingleBranch(details) | SchedulerKind::AnyBranch(details) => {
            Some(&details.change_filter)
        }
        SchedulerKind::Periodic(details) => details.change_filter.as_ref(),
        SchedulerKind::Nightly(details) => details.change_filter.as_ref(),
        SchedulerKind::Triggerable { .. } | SchedulerKind::Force(_) => None,
    };
    let mut found: Vec<String> = Vec::new();
    found.extend(filter.and_then(|filter| ChangeFilter::new(filter).err()).map(|error| error.to_string()));
    if let SchedulerKind::Nightly(details) = &scheduler.kind {
        let rules = std::iter::once(&details.at).chain(&details.force_at);
        found.extend(rules.filter_map(|fields| CronRule::new(fields).err()).map(|error| error.to_string()));
    }
    if let SchedulerKind::Force(details) = &scheduler.kind {
        of_fields(&details.fields, &mut found);
    }
    found
}

fn of_fields(fields: &[ForceField], found: &mut Vec<String>) {
    for field in fields {
        if let Some(Err(error)) = field.regex.as_ref().map(|pattern| Pattern::at_start(pattern)) {
            let name = field.full_name.as_ref().unwrap_or(&field.label);
            found.push(format!("parameter '{name}': {error}"));
        }
        of_fields(&field.fields, found);
    }
}
