//! Workers that stay away for longer than their `missing_timeout`: the event, and the reports.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use muster_bus::Subscription;
use muster_config::Host;
use muster_config::snapshot::{GeneratorConfig, ReporterConfig, ReporterKind, Snapshot};
use muster_core::{Timestamp, TopicFilter, WorkerId};
use muster_data::{Absence, Data, MissingWorker, Told, now};
use muster_store::Result;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::mail;

/// How often absences are looked at although no worker came or went.
const LOOK: Duration = Duration::from_secs(5);

/// The shortest rest between two looks: thousands of workers may come at once.
const REST: Duration = Duration::from_secs(1);

/// How long the reports of one event may take, on any master, before they are sent again, by it or another one: so a mail
/// comes twice where the first master has died, or did not know what another one had sent, but not never.
const REPORTING: i64 = 120;

/// How long after the event a mail is tried: a mail server that is away for longer has other readers than this mail's.
const GIVE_UP: i64 = 24 * 60 * 60;

/// What this master has sent about absences that are still to be reported: where one reporter's mail server is away, the
/// others don't write again and again.
type Sent = BTreeSet<(WorkerId, Timestamp, String)>;

/// Tells about missing workers until `stop`.
pub async fn run(data: Data, host: Host, snapshot: watch::Receiver<Arc<Snapshot>>, stop: CancellationToken) {
    let mut events = data.bus().subscribe();
    let mut sent = Sent::new();
    loop {
        let in_force = snapshot.borrow().clone();
        let looked = tokio::select! {
            looked = look(&data, &host, &in_force, &mut sent) => looked,
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

async fn look(data: &Data, host: &Host, snapshot: &Snapshot, sent: &mut Sent) -> Result<()> {
    let absences = data.absent_workers().await?;
    sent.retain(|(worker, since, _)| {
        absences.iter().any(|absence| (absence.worker, absence.since) == (*worker, *since))
    });
    // Reporters whose server was found to be away: it is not asked for each worker.
    let mut away = BTreeSet::new();
    for absence in absences {
        let Some(worker) = snapshot.worker(&absence.name) else { continue };
        if !is_due(&absence, worker.missing_timeout, now()) {
            continue;
        }
        let last = last_connection(absence.since);
        let missing = data.worker_is_missing(&absence, &last, &worker.notify_on_missing).await?;
        let Some((missing, claimed)) = missing else { continue };
        if absence.told == Told::Nobody {
            note(&missing);
        }
        let mut reports = Reports { data, host, snapshot, absence: &claimed, sent, away: &mut away };
        let is_done = reports.send(&missing).await;
        let is_given_up = !is_done && has_waited_enough(&claimed, worker.missing_timeout, now());
        if is_given_up {
            metrics::counter!("muster_reports_failed_total").increment(1);
            tracing::error!(worker = absence.name, "a mail about a missing worker is given up");
        }
        if is_done || is_given_up {
            data.missing_worker_is_reported(&claimed).await?;
        }
    }
    Ok(())
}

fn note(missing: &MissingWorker) {
    let (worker, last_connection) = (&missing.worker.name, &missing.last_connection);
    tracing::warn!(worker, last_connection, "a worker is missing");
    metrics::counter!("muster_workers_missing_total").increment(1);
}

/// Whether what could not be sent about an absence is given up.
fn has_waited_enough(absence: &Absence, timeout: f64, now: Timestamp) -> bool {
    (now.0 - absence.since.0) as f64 >= timeout + GIVE_UP as f64
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

/// The reports about one absence.
struct Reports<'a> {
    data: &'a Data,
    host: &'a Host,
    snapshot: &'a Snapshot,
    absence: &'a Absence,
    sent: &'a mut Sent,
    away: &'a mut BTreeSet<String>,
}

impl Reports<'_> {
    /// Sends all of them; whether none is left to be sent later.
    async fn send(&mut self, missing: &MissingWorker) -> bool {
        if missing.notify.is_empty() {
            return true;
        }
        let mut is_done = true;
        let reporters = self.snapshot.reporters.iter();
        for reporter in reporters.filter(|reporter| tells_about(reporter, &missing.worker.name)) {
            let key = (self.absence.worker, self.absence.since, reporter.name.clone());
            if self.sent.contains(&key) {
                continue;
            }
            if self.away.contains(&reporter.name) {
                is_done = false;
                continue;
            }
            match self.mail(reporter, missing).await {
                Ok(0) => {
                    let (reporter, worker) = (&reporter.name, &missing.worker.name);
                    tracing::warn!(reporter, worker, "nobody gets the mail about a missing worker");
                    self.sent.insert(key);
                }
                Ok(recipients) => {
                    metrics::counter!("muster_reports_sent_total").increment(1);
                    let reporter = &reporter.name;
                    tracing::info!(reporter, recipients, "a mail about a missing worker was sent");
                    self.sent.insert(key);
                }
                Err(error) if error.may_pass() => {
                    let (reporter, worker) = (&reporter.name, &missing.worker.name);
                    tracing::warn!(
                        reporter,
                        worker,
                        "a mail about a missing worker could not be sent yet: {error}; trying again"
                    );
                    self.away.insert(reporter.clone());
                    is_done = false;
                }
                Err(error) => {
                    metrics::counter!("muster_reports_failed_total").increment(1);
                    let (reporter, worker) = (&reporter.name, &missing.worker.name);
                    tracing::error!(reporter, worker, "a mail about a missing worker can't be sent: {error}");
                }
            }
        }
        is_done
    }

    async fn mail(
        &self,
        reporter: &ReporterConfig,
        missing: &MissingWorker,
    ) -> std::result::Result<usize, mail::MailError> {
        let ReporterKind::Mail(config) = &reporter.kind;
        let mail = mail::about_missing(self.snapshot, missing);
        // Another master may be about to tell instead of one that has lost its lease.
        self.data.trust().held().await;
        mail::send(self.host, config, mail).await
    }
}

fn tells_about(reporter: &ReporterConfig, worker: &str) -> bool {
    reporter.generators.iter().any(|GeneratorConfig::WorkerMissing { workers }| {
        workers.as_ref().is_none_or(|names| names.iter().any(|name| name == worker))
    })
}

#[cfg(test)]
mod tests {
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
        assert!(!has_waited_enough(&absence(Told::Event), 60.0, Timestamp(159 + GIVE_UP)));
        assert!(has_waited_enough(&absence(Told::Event), 60.0, Timestamp(160 + GIVE_UP)));
    }
}
