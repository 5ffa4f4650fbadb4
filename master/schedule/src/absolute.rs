//! `createAbsoluteSourceStamps`: codebases without a change are built at the last revision seen
//! (`docs/compat/behaviour-3-changes-schedulers.md` 3.5). State `lastCodebases`, as Python masters keep it.

use std::collections::BTreeMap;

use muster_config::snapshot::{CodebaseDefaults, SchedulerConfig};
use muster_core::Change;
use muster_data::{Data, StateKey};
use muster_store::Result;
use serde_json::{Value, json};

use crate::buildset::class_of;

/// What was last seen of each codebase.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LastCodebases(serde_json::Map<String, Value>);

impl LastCodebases {
    /// Notes a change; `false` when a newer one is noted already.
    fn record(&mut self, change: &Change) -> bool {
        let known = self.0.get(&change.codebase).and_then(|entry| entry["lastChange"].as_i64());
        if known.is_some_and(|known| known >= change.id.0) {
            return false;
        }
        let entry = json!({
            "repository": change.repository,
            "branch": change.branch,
            "revision": change.revision,
            "lastChange": change.id.0,
        });
        self.0.insert(change.codebase.clone(), entry);
        true
    }

    /// The configured defaults with what was seen over them.
    fn over(&self, defaults: &BTreeMap<String, CodebaseDefaults>) -> BTreeMap<String, CodebaseDefaults> {
        let text = |entry: &Value, key: &str| entry[key].as_str().map(str::to_owned);
        let merged = |(codebase, defaults): (&String, &CodebaseDefaults)| {
            let defaults = match self.0.get(codebase) {
                Some(entry) => CodebaseDefaults {
                    branch: text(entry, "branch"),
                    revision: text(entry, "revision"),
                    repository: text(entry, "repository").unwrap_or_default(),
                    ..defaults.clone()
                },
                None => defaults.clone(),
            };
            (codebase.clone(), defaults)
        };
        defaults.iter().map(merged).collect()
    }
}

fn key(scheduler: &SchedulerConfig) -> StateKey {
    StateKey {
        object: scheduler.name.clone(),
        class: class_of(scheduler).to_owned(),
        key: "lastCodebases".to_owned(),
    }
}

async fn load(data: &Data, key: &StateKey) -> Result<LastCodebases> {
    Ok(match data.get_state(key).await? {
        Some(Value::Object(codebases)) => LastCodebases(codebases),
        _ => LastCodebases::default(),
    })
}

/// Notes a change. Doing it again changes nothing, so a crash afterwards harms nothing.
pub(crate) async fn record(data: &Data, scheduler: &SchedulerConfig, change: &Change) -> Result<()> {
    let key = key(scheduler);
    let mut seen = load(data, &key).await?;
    if seen.record(change) {
        data.set_state(&key, &Value::Object(seen.0)).await?;
    }
    Ok(())
}

/// The scheduler's codebases at the last revision seen.
pub(crate) async fn codebases(
    data: &Data,
    scheduler: &SchedulerConfig,
) -> Result<BTreeMap<String, CodebaseDefaults>> {
    Ok(load(data, &key(scheduler)).await?.over(&scheduler.codebases))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::change;

    #[test]
    fn the_newest_change_of_a_codebase_counts() {
        let mut seen = LastCodebases::default();
        let mut newer = change(7);
        newer.revision = Some("seven".into());
        assert!(seen.record(&newer));
        assert!(!seen.record(&change(6)));
        let defaults = BTreeMap::from([
            (String::new(), CodebaseDefaults { branch: Some("old".into()), ..CodebaseDefaults::default() }),
            (
                "lib".to_owned(),
                CodebaseDefaults { branch: Some("stable".into()), ..CodebaseDefaults::default() },
            ),
        ]);
        let merged = seen.over(&defaults);
        assert_eq!(merged[""].revision.as_deref(), Some("seven"));
        assert_eq!(merged[""].branch, newer.branch);
        assert_eq!(merged["lib"], defaults["lib"]);
    }
}
