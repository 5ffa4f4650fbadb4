//! What happened, when, and how the queue stood then: a table.

use std::time::Instant;

/// Of the column that says whom an event hit, and how it ended.
const WIDTH: usize = 100;

/// The events of a run.
pub struct History {
    begin: Instant,
    rows: Vec<Row>,
}

struct Row {
    seconds: f64,
    what: &'static str,
    whom: String,
    queue: String,
}

impl History {
    /// An empty one that begins now.
    pub fn begin() -> History {
        History { begin: Instant::now(), rows: Vec::new() }
    }

    /// Adds an event, whose words are cut to the width of their column; `queue` says how the requests stand, if the database told.
    pub fn note(&mut self, what: &'static str, whom: &str, queue: Option<String>) {
        let seconds = self.begin.elapsed().as_secs_f64();
        let queue = queue.unwrap_or_else(|| "-".to_owned());
        let whom: String = whom.chars().take(WIDTH).collect();
        eprintln!("{seconds:8.1}  {what:<16} {whom:<WIDTH$} {queue}");
        self.rows.push(Row { seconds, what, whom, queue });
    }

    /// The whole of it.
    pub fn table(&self) -> String {
        let mut table = format!(
            "{:>8}  {:<16} {:<WIDTH$} {}\n",
            "seconds", "event", "of", "pending/running/done/retried"
        );
        for Row { seconds, what, whom, queue } in &self.rows {
            table += &format!("{seconds:8.1}  {what:<16} {whom:<WIDTH$} {queue}\n");
        }
        table
    }

    /// Seconds since the beginning.
    pub fn seconds(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }
}

/// The query of the last column.
pub const QUEUE: &str = "SELECT count(*) FILTER (WHERE complete = 0 AND id NOT IN (SELECT brid FROM buildrequest_claims)) \
    || '/' || (SELECT count(*) FROM muster_runs) || '/' || count(*) FILTER (WHERE complete = 1) || '/' || \
    (SELECT count(*) FROM builds WHERE results = 5) FROM buildrequests";
