//! A configuration that says nothing.

use std::collections::BTreeMap;

use muster_config::snapshot::{
    CollapseSetting, DbConfig, LogEncoding, MqConfig, Snapshot, Values, WwwConfig,
};
use muster_core::render::Renderable;

pub(crate) fn empty() -> Snapshot {
    Snapshot {
        config_file: "master.cfg".into(),
        title: String::new(),
        title_url: String::new(),
        buildbot_url: "http://localhost/".into(),
        properties: Values::new(),
        multi_master: false,
        db: DbConfig { db_url: Renderable::NONE },
        mq: MqConfig::Simple,
        log_compression_method: "gz".into(),
        log_compression_is_named: false,
        log_encoding: LogEncoding::Name("utf-8".into()),
        validation: Default::default(),
        collapse_requests: CollapseSetting::Default,
        prioritize_builders: None,
        select_next_worker: None,
        codebase_generator: None,
        change_horizon: None,
        caches: BTreeMap::new(),
        protocols: BTreeMap::new(),
        www: WwwConfig::default(),
        workers: Vec::new(),
        builders: Vec::new(),
        schedulers: Vec::new(),
        change_sources: Vec::new(),
        reporters: Vec::new(),
        locks: Vec::new(),
        projects: Vec::new(),
        warnings: Vec::new(),
        has_callables: false,
    }
}
