//! The figures of this process for Prometheus. Whoever counts something calls the macros of `metrics`; `docs/metrics.md`
//! lists what there is.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use muster_web::MetricsText;
use tokio_util::sync::CancellationToken;

/// Upper bounds for what is measured in seconds: a transaction takes about a millisecond, a take-over some seconds.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// How long single measurements may gather; a busy master makes some thousands a second.
const SUM_UP: Duration = Duration::from_secs(5);

/// One recorder for the process: from the first call on everything counted is kept.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Begins to count, unless it was begun; answers what writes the figures down.
pub fn text() -> Result<MetricsText> {
    let handle = match RECORDER.get() {
        Some(handle) => handle,
        None => {
            let builder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
                .context("the bounds of histograms")?;
            let handle = builder.install_recorder().context("can't count for /metrics")?;
            RECORDER.get_or_init(|| handle)
        }
    };
    metrics::gauge!("muster_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let process = Collector::default();
    process.describe();
    Ok(MetricsText::new(move || {
        process.collect();
        handle.render()
    }))
}

/// Sums up what was measured, again and again: what nobody has summed up or read yet is kept one by one.
pub async fn sum_up(stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(SUM_UP)).await.is_some() {
        if let Some(handle) = RECORDER.get() {
            handle.run_upkeep();
        }
    }
}
