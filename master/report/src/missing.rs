//! Workers that stay away for longer than their `missing_timeout`: the event, and the reports.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use muster_bus::Subscription;
use muster_config::Host;
use muster_config::snapshot::{GeneratorConfig, ReporterConfig, ReporterKind, Snapshot};
use muster_core::{Timestamp, TopicFilter};
use muster_data::{Absence, Data, MissingWorker, Told, now};
use muster_store::Result;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::mail;

/// How often absences are looked at although no worker came or went.
const LOOK: Duration = Duration::from_secs(5);

/// The shortest rest between two looks: thousands of workers may come at once.
const REST: Duration = Duration::from_secs(1);

/// How long the reports of one event may take, on any master, before another one sends them again. A report may come
/// twice, then, but not never.
const REPORTING: i64 = 120;

/// Tells about missing workers until `stop`.
pub async fn run(data: Data, host: Host, snapshot: watch::Receiver<Arc<Snapshot>>, stop: CancellationToken) {
    let mut events = data.bus().subscribe();
    loop {
        let in_force = snapshot.borrow().clone();
        let looked = tokio::select! {
            looked = look(&data, &host, &in_force) => looked,
            () = stop.cancelled() => return,
        };
        if let Err(error) = looked {
            tracing::debug!(%error, "can't look for missing workers; trying again");
        }
        tokio::select! {
            () = async { tokio::time::sleep(REST).await; moves(&mut events).await } => {}
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Waits until a worker comes or goes, or until some news were missed.
async fn moves(events: &mut Subscription) {
    let filters = [TopicFilter::parse("workers/*/connected"), TopicFilter::parse("workers/*/disconnected")];
    if !events.wait_for(|event| filters.iter().any(|filter| event.matching(filter).is_some())).await {
        // The bus is gone; the timer still works.
        std::future::pending().await
    }
}

async fn look(data: &Data, host: &Host, snapshot: &Snapshot) -> Result<()> {
    for absence in data.absent_workers().await? {
        let Some(worker) = snapshot.worker(&absence.name) else { continue };
        if is_due(&absence, worker.missing_timeout, now()) {
            let last = last_connection(absence.since);
            let missing = data.worker_is_missing(&absence, &last, &worker.notify_on_missing).await?;
            if let Some((missing, claimed)) = missing {
                report(data, host, snapshot, &missing).await;
                data.missing_worker_is_reported(&claimed).await?;
            }
        }
    }
    Ok(())
}

/// A timeout of 0 tells nobody, as in Buildbot.
fn is_due(absence: &Absence, timeout: f64, now: Timestamp) -> bool {
    match absence.told {
        Told::Nobody => timeout > 0.0 && (now.0 - absence.since.0) as f64 >= timeout,
        Told::Event => now.0 - absence.told_at.0 > REPORTING,
        Told::Everybody => false,
    }
}

/// As `time.ctime` of Python writes it: Buildbot sends this text.
fn last_connection(at: Timestamp) -> String {
    let time = jiff::Timestamp::from_second(at.0).unwrap_or_default().to_zoned(TimeZone::system());
    time.strftime("%a %b %e %H:%M:%S %Y").to_string()
}

async fn report(data: &Data, host: &Host, snapshot: &Snapshot, missing: &MissingWorker) {
    tracing::warn!(
        worker = missing.worker.name,
        last_connection = missing.last_connection,
        "a worker is missing"
    );
    metrics::counter!("muster_workers_missing_total").increment(1);
    if missing.notify.is_empty() {
        return;
    }
    for reporter in snapshot.reporters.iter().filter(|reporter| tells_about(reporter, &missing.worker.name)) {
        let ReporterKind::Mail(config) = &reporter.kind;
        let mail = mail::about_missing(snapshot, config, missing);
        // Another master may be about to tell instead of one that has lost its lease.
        data.trust().held().await;
        match mail::send(host, config, mail).await {
            Ok(recipients) => {
                metrics::counter!("muster_reports_sent_total").increment(1);
                tracing::info!(
                    reporter = reporter.name,
                    recipients,
                    "a mail about a missing worker was sent"
                );
            }
            Err(error) => {
                metrics::counter!("muster_reports_failed_total").increment(1);
                tracing::error!(
                    reporter = reporter.name,
                    "a mail about a missing worker was not sent: {error}"
                );
            }
        }
    }
}

fn tells_about(reporter: &ReporterConfig, worker: &str) -> bool {
    reporter.generators.iter().any(|GeneratorConfig::WorkerMissing { workers }| {
        workers.as_ref().is_none_or(|names| names.iter().any(|name| name == worker))
    })
}

#[cfg(test)]
mod tests {
    use muster_core::WorkerId;

    use super::*;

    #[test]
    fn a_worker_is_missing_once_its_time_is_over() {
        let absence = |told| Absence {
            worker: WorkerId(1),
            name: "w".into(),
            since: Timestamp(100),
            told,
            told_at: Timestamp(200),
        };
        assert!(!is_due(&absence(Told::Nobody), 60.0, Timestamp(159)));
        assert!(is_due(&absence(Told::Nobody), 60.0, Timestamp(160)));
        assert!(!is_due(&absence(Told::Nobody), 0.0, Timestamp(1_000_000)));
        assert!(!is_due(&absence(Told::Event), 60.0, Timestamp(200 + REPORTING)));
        assert!(is_due(&absence(Told::Event), 60.0, Timestamp(201 + REPORTING)));
        assert!(!is_due(&absence(Told::Everybody), 60.0, Timestamp(1_000_000)));
    }
}
