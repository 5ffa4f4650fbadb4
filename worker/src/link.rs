//! Keeping a session: which master to dial, when, and what to tell the operator about it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muster_session::{
    Backoff, Disconnect, MasterUrl, ProtocolError, Refusal, RefusalCode, Terms, Transport, WorkerLink,
    connect,
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::WorkerError;
use crate::commands::Commands;
use crate::home::{WorkerHome, worker_info};

/// How long one dial may take, all addresses of the host together.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// A session that lasted so long was a good one: the next failure begins with short waits again.
const LASTING_SESSION: Duration = Duration::from_secs(10);

/// Wait after a refusal that only an operator can mend.
const HOPELESS_WAIT: Duration = Duration::from_secs(60);

/// Bounds for the wait that a master asks for.
const ASKED_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(60));

/// Masters that may be learnt from a master.
const MAX_PEERS: usize = 64;

/// What dialing and the session's events tell each other.
#[derive(Debug, Default)]
pub(crate) struct Contact {
    /// The master being dialed or spoken to.
    dialed: Option<MasterUrl>,
    /// It has accepted this worker.
    accepted: bool,
    /// Where it says that other masters listen.
    peers: Vec<MasterUrl>,
}

/// [`Contact`], shared.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedContact(Arc<Mutex<Contact>>);

impl SharedContact {
    /// A master has accepted the worker.
    pub(crate) fn accepted(&self, worker: &str, terms: &Terms) {
        let mut contact = self.lock();
        contact.accepted = true;
        contact.peers = terms.peers.iter().take(MAX_PEERS).filter_map(|peer| peer.parse().ok()).collect();
        if let Some(url) = &contact.dialed {
            tracing::info!("connected to {} as worker '{worker}'", url.to_string());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Contact> {
        // Plain values; whole at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dials, converses, waits, for ever or until `closing`.
pub(crate) struct Dialer<'a> {
    pub link: &'a WorkerLink,
    pub commands: &'a Commands,
    pub home: &'a WorkerHome,
    pub contact: SharedContact,
    pub masters: Vec<MasterUrl>,
    pub closing: CancellationToken,
}

impl Dialer<'_> {
    /// Ends with an error only if the dial counter can't be kept.
    pub(crate) async fn run(self) -> Result<(), WorkerError> {
        let mut turn = Turn::new(self.masters.clone());
        let mut backoff = Backoff::default();
        let mut teller = Teller::default();
        while !self.closing.is_cancelled() {
            let url = turn.current().clone();
            let began = Instant::now();
            let attempt = self.attempt(&url).await?;
            if self.closing.is_cancelled() {
                break;
            }
            let wait = if attempt.accepted {
                teller.lost(&url, &attempt.end);
                if began.elapsed() >= LASTING_SESSION {
                    backoff.reset();
                }
                turn.good(std::mem::take(&mut self.contact.lock().peers));
                match &attempt.end {
                    End::Session(Disconnect::Redirected { elsewhere, .. }) if turn.elsewhere(elsewhere) => {
                        None
                    }
                    _ => Some(backoff.failed()),
                }
            } else {
                teller.failed(&url, &attempt.end);
                // The others are tried at once, then all have a rest.
                turn.bad().then(|| wait_after(&attempt.end, &mut backoff))
            };
            if let Some(wait) = wait {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = self.closing.cancelled() => {}
                }
            }
        }
        Ok(())
    }

    async fn attempt(&self, url: &MasterUrl) -> Result<Attempt, WorkerError> {
        {
            let mut contact = self.contact.lock();
            contact.accepted = false;
            contact.dialed = Some(url.clone());
        }
        let dial_no = self.home.next_dial_number(unix_seconds())?;
        let end = tokio::select! {
            reached = timeout(DIAL_TIMEOUT, connect(url)) => match reached {
                Ok(Ok(transport)) => self.converse(transport, dial_no).await,
                Ok(Err(error)) => End::Unreachable(error.to_string()),
                Err(_) => End::Unreachable(format!("no answer for {} s", DIAL_TIMEOUT.as_secs())),
            },
            () = self.closing.cancelled() => End::Unreachable("the worker stops".into()),
        };
        if let End::Session(Disconnect::Refused(Refusal { highest_dial: Some(highest), .. })) = &end {
            self.home.count_dials_from(*highest)?;
        }
        Ok(Attempt { end, accepted: self.contact.lock().accepted })
    }

    async fn converse(&self, transport: Transport, dial_no: u64) -> End {
        let info = worker_info(self.home.dir());
        End::Session(self.link.converse(transport, dial_no, info, self.commands).await)
    }
}

struct Attempt {
    end: End,
    accepted: bool,
}

/// How one dial ended.
#[derive(Debug)]
enum End {
    Unreachable(String),
    Session(Disconnect),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Unreachable(problem) => f.write_str(problem),
            End::Session(disconnect) => disconnect.fmt(f),
        }
    }
}

impl End {
    /// What an operator can do about it, where nothing else would help.
    fn advice(&self) -> Option<&'static str> {
        match self {
            End::Session(Disconnect::Refused(refusal)) => match refusal.code {
                RefusalCode::Credentials => {
                    Some("check --name and --password, and the master's list of workers")
                }
                RefusalCode::Version => Some("update this worker or the master"),
                RefusalCode::StaleDial | RefusalCode::Unavailable | RefusalCode::Malformed => None,
            },
            End::Session(Disconnect::Protocol(ProtocolError::FalseMaster)) => {
                Some("check --master, and --password on both sides")
            }
            End::Session(Disconnect::Protocol(ProtocolError::StaleGeneration { .. })) => {
                Some("check --master; a restored cluster needs `muster cluster restore`")
            }
            _ => None,
        }
    }
}

fn wait_after(end: &End, backoff: &mut Backoff) -> Duration {
    if end.advice().is_some() {
        return HOPELESS_WAIT.mul_f64(0.75 + fastrand::f64() / 2.0);
    }
    if let End::Session(Disconnect::Refused(refusal)) = end
        && let Some(asked) = refusal.retry_after_ms
    {
        let (least, most) = ASKED_WAIT;
        return Duration::from_millis(asked).clamp(least, most);
    }
    backoff.failed()
}

/// Tells each problem of a master once, until something else happens.
#[derive(Debug, Default)]
struct Teller {
    /// The last word about each master.
    told: BTreeMap<String, String>,
}

impl Teller {
    fn lost(&mut self, url: &MasterUrl, end: &End) {
        self.told.clear();
        tracing::warn!("connection to {} lost: {end}; commands go on, dialing again", url.to_string());
    }

    fn failed(&mut self, url: &MasterUrl, end: &End) {
        let message = failure_message(url, end);
        if self.is_news(url, &message) {
            tracing::warn!("{message}");
        } else {
            tracing::debug!("{message}");
        }
    }

    fn is_news(&mut self, url: &MasterUrl, message: &str) -> bool {
        self.told.insert(url.to_string(), message.to_owned()).is_none_or(|before| before != message)
    }
}

fn failure_message(url: &MasterUrl, end: &End) -> String {
    let url = url.to_string();
    match (end, end.advice()) {
        (End::Unreachable(_), _) => format!("can't reach {url}: {end}; will keep trying"),
        (_, Some(advice)) => format!("refused by {url}: {end} ({advice}); will try again about every minute"),
        (_, None) => format!("not accepted by {url}: {end}; will keep trying"),
    }
}

/// Whose turn it is.
#[derive(Debug)]
struct Turn {
    configured: Vec<MasterUrl>,
    candidates: Vec<MasterUrl>,
    current: usize,
    /// Failures in this round.
    failed: usize,
}

impl Turn {
    fn new(configured: Vec<MasterUrl>) -> Self {
        Self { candidates: configured.clone(), configured, current: 0, failed: 0 }
    }

    fn current(&self) -> &MasterUrl {
        &self.candidates[self.current]
    }

    /// The current one stays the first; the peers that it named come after the configured ones.
    fn good(&mut self, peers: Vec<MasterUrl>) {
        let mut candidates = vec![self.current().clone()];
        for url in self.configured.iter().cloned().chain(peers) {
            if !candidates.contains(&url) {
                candidates.push(url);
            }
        }
        (self.candidates, self.current, self.failed) = (candidates, 0, 0);
    }

    /// The current one sends this worker to others: they are next, and it comes last. False when it names none.
    fn elsewhere(&mut self, named: &[String]) -> bool {
        let here = self.current().clone();
        let mut candidates: Vec<MasterUrl> = named
            .iter()
            .take(MAX_PEERS)
            .filter_map(|url| url.parse().ok())
            .filter(|url| *url != here)
            .collect();
        if candidates.is_empty() {
            return false;
        }
        for url in std::mem::take(&mut self.candidates).into_iter().filter(|url| *url != here) {
            if !candidates.contains(&url) {
                candidates.push(url);
            }
        }
        candidates.push(here);
        (self.candidates, self.current, self.failed) = (candidates, 0, 0);
        true
    }

    /// Goes on to the next. True if all have failed in this round.
    fn bad(&mut self) -> bool {
        self.current = (self.current + 1) % self.candidates.len();
        self.failed = (self.failed + 1) % self.candidates.len();
        self.failed == 0
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use muster_session::Refusal;

    use super::*;

    fn url(host: &str) -> MasterUrl {
        MasterUrl { host: host.into(), port: 9990, tls: false }
    }

    #[test]
    fn every_master_gets_its_turn_and_a_good_one_comes_first() {
        let mut turn = Turn::new(vec![url("a"), url("b")]);
        assert_eq!(turn.current(), &url("a"));
        assert!(!turn.bad());
        assert_eq!(turn.current(), &url("b"));
        turn.good(vec![url("c"), url("a")]);
        assert_eq!(turn.current(), &url("b"));
        let mut order = Vec::new();
        loop {
            order.push(turn.current().host.clone());
            if turn.bad() {
                break;
            }
        }
        assert_eq!(order, ["b", "a", "c"]);
        assert_eq!(turn.current(), &url("b"));
    }

    #[test]
    fn a_master_that_goes_is_tried_last() {
        let mut turn = Turn::new(vec![url("a"), url("b")]);
        turn.good(vec![url("c")]);
        assert!(!turn.elsewhere(&["ws://a:9990".into(), "nonsense".into()]), "nobody else is named");
        assert!(turn.elsewhere(&["ws://c:9990".into(), "ws://d:9990".into()]));
        let order: Vec<String> = turn.candidates.iter().map(|url| url.host.clone()).collect();
        assert_eq!(order, ["c", "d", "b", "a"]);
        assert_eq!(turn.current(), &url("c"));
    }

    #[test]
    fn a_wrong_password_is_told_once_with_what_to_do() {
        let refusal = Refusal {
            code: RefusalCode::Credentials,
            reason: "unknown name or wrong password".into(),
            retry_after_ms: None,
            highest_dial: None,
        };
        let message = failure_message(&url("ci"), &End::Session(Disconnect::Refused(refusal)));
        let expected = "refused by ws://ci:9990: unknown name or wrong password (check --name and --password, and the \
                        master's list of workers); will try again about every minute";
        assert_eq!(message, expected);
        let mut teller = Teller::default();
        assert!(teller.is_news(&url("ci"), &message));
        assert!(!teller.is_news(&url("ci"), &message));
        teller.lost(&url("ci"), &End::Session(Disconnect::Closed));
        assert!(teller.is_news(&url("ci"), &message));
    }

    #[test]
    fn hopeless_refusals_are_retried_slowly_and_asked_waits_are_kept() {
        let refused = |code, retry_after_ms| {
            End::Session(Disconnect::Refused(Refusal { retry_after_ms, ..Refusal::new(code, "no") }))
        };
        let mut backoff = Backoff::default();
        let wait = wait_after(&refused(RefusalCode::Credentials, None), &mut backoff);
        assert!(wait >= HOPELESS_WAIT / 2 && wait <= HOPELESS_WAIT * 2);
        let wait = wait_after(&refused(RefusalCode::Unavailable, Some(700)), &mut backoff);
        assert_eq!(wait, Duration::from_millis(700));
        let wait = wait_after(&refused(RefusalCode::Unavailable, Some(u64::MAX)), &mut backoff);
        assert_eq!(wait, ASKED_WAIT.1);
    }
}
