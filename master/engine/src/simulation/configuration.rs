//! The configuration of the simulated cluster.

use std::collections::BTreeMap;

use muster_config::snapshot::{
    BuilderConfig, CollapseSetting, Condition, FactoryConfig, LockAccess, LockConfig, LockKind, LockMode,
    LockSet, Snapshot, SourceRef, StepConfig, Values, WorkerConfig,
};
use muster_core::render::Renderable;
use serde_json::json;

use crate::steps::testing;

fn step(name: &str, locks: Vec<LockAccess>) -> StepConfig {
    let step = testing::step("ShellCommand", json!({"command": ["write", "lines"]}));
    StepConfig { name: Renderable::from(name), locks: LockSet::Accesses(locks), ..step }
}

fn builder(name: &str, workers: usize, steps: Vec<StepConfig>) -> BuilderConfig {
    BuilderConfig {
        name: name.to_owned(),
        worker_names: (0..workers).map(worker_name).collect(),
        builddir: name.to_owned(),
        worker_builddir: name.to_owned(),
        tags: Vec::new(),
        next_worker: None,
        next_build: None,
        can_start_build: None,
        locks: LockSet::default(),
        env: Renderable::try_from(json!({})).unwrap(),
        properties: Values::new(),
        default_properties: Values::new(),
        collapse_requests: CollapseSetting::Off,
        description: None,
        description_format: None,
        description_html: None,
        project: None,
        do_build_if: Condition::Fixed(true),
        factory: FactoryConfig { workdir: Renderable::from("build"), steps },
        source: SourceRef::default(),
    }
}

pub(super) fn worker_name(number: usize) -> String {
    format!("w{number}")
}

fn worker_config(number: usize) -> WorkerConfig {
    WorkerConfig {
        name: worker_name(number),
        class_name: "buildbot.worker.base.Worker".to_owned(),
        password: Some(Renderable::from("pw")),
        max_builds: Some(2),
        notify_on_missing: Vec::new(),
        missing_timeout: 0.0,
        properties: Values::new(),
        default_properties: Values::new(),
        locks: LockSet::default(),
        machine_name: None,
        keepalive_interval: 3600.0,
        source: SourceRef::default(),
    }
}

/// One builder as such, and one with locks: a counted one, and one for itself.
pub(super) fn snapshot(workers: usize) -> Snapshot {
    let access = |lock: &str, mode| LockAccess { lock: lock.to_owned(), mode, count: 1 };
    let lock = |name: &str, max_count| LockConfig {
        name: name.to_owned(),
        kind: LockKind::Master,
        max_count,
        max_count_for_worker: BTreeMap::new(),
    };
    Snapshot {
        workers: (0..workers).map(worker_config).collect(),
        builders: vec![
            builder("plain", workers, vec![step("one", Vec::new()), step("two", Vec::new())]),
            builder(
                "locked",
                workers,
                vec![
                    step("one", vec![access("counted", LockMode::Counting)]),
                    step("two", vec![access("alone", LockMode::Exclusive)]),
                ],
            ),
        ],
        locks: vec![lock("counted", 2), lock("alone", 1)],
        ..testing::snapshot::empty()
    }
}
