//! Guesses of passwords are slowed, and nobody is locked out by them.
//!
//! What a log-in comes to is told only after its turn: right or wrong, so that nobody learns sooner by going away. Turns
//! are given by address and name. Whoever has failed before waits, and two wait at a time. A name that has come in from an
//! address lately has its turn there whatever others have tried: only its own failures there count, and however many try it
//! there at the same time, none waits for another.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Failures that cost nothing: people mistype, and configurations change under workers.
const FREE: u32 = 3;
/// What the first failure after those costs the next try; each further one doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// The longest wait, far below the time that a log-in may take, so that who is right comes in all the same.
const LONGEST_DELAY: Duration = Duration::from_secs(3);
/// Tries of one name from one address that have their turn at the same time: with the delay, some forty guesses a minute.
const AT_ONCE: usize = 2;
/// Tries that wait behind them, less than a log-in may take; more are turned away without an answer.
const WAITING: usize = 4;
/// After so long without a failure all is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// How long a name that came in is known at its address: workers come again after restarts and holidays.
const KNOWN: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Entries of each kind that are remembered. With more of them the oldest go: who guesses from so many addresses is not
/// slowed by delays.
const MOST: usize = 16_384;

/// Who has tried what. Clones are the same one.
#[derive(Clone, Default)]
pub struct Guesses(Arc<Mutex<State>>);

/// Where somebody tries, and as whom. Names that nobody has are one, so that they can't be listed and take no room.
type Lane = (String, Option<String>);

#[derive(Default)]
struct State {
    lanes: HashMap<Lane, Turns>,
    addresses: HashMap<String, Failures>,
    names: HashMap<String, Failures>,
    /// When a name last came in from an address.
    known: HashMap<Lane, Instant>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

#[derive(Clone)]
struct Turns {
    failures: Failures,
    /// Who has a turn, or waits for one.
    line: Arc<Semaphore>,
    slots: Arc<Semaphore>,
}

/// Too many try the same: this one is not looked at.
#[derive(Debug, thiserror::Error)]
#[error("too many others try the same name from the same address")]
pub struct Crowd;

/// The turn of one try. Say what came of it; the next one waits until it is dropped.
pub struct Turn {
    guesses: Guesses,
    lane: Lane,
    _held: Option<[OwnedSemaphorePermit; 2]>,
}

impl Guesses {
    /// Waits for the turn of a try from `peer`; `name` is `None` for one that nobody has. Tell nothing before. Safe to
    /// cancel.
    ///
    /// # Errors
    /// When too many wait already.
    pub async fn turn(&self, peer: &str, name: Option<&str>) -> Result<Turn, Crowd> {
        let lane = (address_of(peer), name.map(str::to_owned));
        let now = Instant::now();
        let (turns, is_known) = {
            let mut state = self.state();
            let is_known = state.known.get(&lane).is_some_and(|at| now - *at < KNOWN);
            (state.turns(&lane, now), is_known)
        };
        let held = match (turns.line.try_acquire_owned(), is_known) {
            // A flood in its name from its own address keeps nobody out who has been let in there.
            _ if is_known && turns.slots.available_permits() == 0 => None,
            (Err(_), true) => None,
            (Err(_), false) => return Err(Crowd),
            (Ok(place), _) => Some([place, turns.slots.acquire_owned().await.map_err(|_| Crowd)?]),
        };
        let delay = self.state().delay(&lane, is_known, Instant::now());
        tokio::time::sleep(delay).await;
        Ok(Turn { guesses: self.clone(), lane, _held: held })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// The password was right.
    pub fn passed(self) {
        let now = Instant::now();
        let mut state = self.guesses.state();
        make_room(&mut state.known, |at| *at);
        state.known.insert(self.lane.clone(), now);
        if let Some(turns) = state.lanes.get_mut(&self.lane) {
            turns.failures.count = 0;
        }
    }

    /// It was wrong.
    pub fn failed(self) {
        let now = Instant::now();
        let mut state = self.guesses.state();
        if let Some(turns) = state.lanes.get_mut(&self.lane) {
            turns.failures.add(now);
        }
        let (address, name) = self.lane.clone();
        count(&mut state.addresses, address, now);
        if let Some(name) = name {
            count(&mut state.names, name, now);
        }
    }
}

impl State {
    fn turns(&mut self, lane: &Lane, now: Instant) -> Turns {
        if !self.lanes.contains_key(lane) {
            make_room(&mut self.lanes, |turns| turns.failures.last);
        }
        let turns = self.lanes.entry(lane.clone()).or_insert_with(|| Turns {
            failures: Failures { count: 0, last: now },
            line: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
        });
        turns.clone()
    }

    fn delay(&self, lane: &Lane, is_known: bool, now: Instant) -> Duration {
        let of = |failures: Option<&Failures>| failures.map_or(0, |failures| failures.now(now));
        let own = of(self.lanes.get(lane).map(|turns| &turns.failures));
        let count = match is_known {
            true => own,
            false => {
                let name = lane.1.as_ref().and_then(|name| self.names.get(name));
                own.max(of(name)).max(of(self.addresses.get(&lane.0)))
            }
        };
        match count.checked_sub(FREE) {
            None | Some(0) => Duration::ZERO,
            Some(more) => FIRST_DELAY.saturating_mul(1 << (more - 1).min(16)).min(LONGEST_DELAY),
        }
    }
}

impl Failures {
    fn now(&self, now: Instant) -> u32 {
        if now.saturating_duration_since(self.last) < FORGOTTEN { self.count } else { 0 }
    }

    fn add(&mut self, now: Instant) {
        *self = Failures { count: self.now(now).saturating_add(1), last: now };
    }
}

fn count(failures: &mut HashMap<String, Failures>, key: String, now: Instant) {
    if !failures.contains_key(&key) {
        make_room(failures, |failures| failures.last);
    }
    failures.entry(key).or_insert(Failures { count: 0, last: now }).add(now);
}

/// Forgets the older half, when there are too many.
fn make_room<K: Clone + Eq + std::hash::Hash, V>(all: &mut HashMap<K, V>, last: impl Fn(&V) -> Instant) {
    if all.len() < MOST {
        return;
    }
    let mut times: Vec<Instant> = all.values().map(&last).collect();
    times.sort();
    let middle = times[times.len() / 2];
    let mut surplus = MOST / 2;
    all.retain(|_, value| {
        let goes = surplus > 0 && last(value) <= middle;
        surplus -= usize::from(goes);
        !goes
    });
}

/// What counts as one peer: an address of version 4, a network of version 6, and all of a socket in the file system.
fn address_of(peer: &str) -> String {
    match peer.parse::<SocketAddr>().map(|peer| peer.ip()) {
        Ok(IpAddr::V6(ip)) if !ip.is_loopback() => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        Ok(ip) => ip.to_string(),
        Err(_) => peer.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTACKER: &str = "198.51.100.7:4000";
    const WORKER: &str = "192.0.2.1:5000";

    async fn wait(guesses: &Guesses, peer: &str, name: Option<&str>) -> (Turn, Duration) {
        let begun = Instant::now();
        let turn = guesses.turn(peer, name).await.unwrap_or_else(|_| panic!("{peer} {name:?}"));
        (turn, begun.elapsed())
    }

    async fn fail(guesses: &Guesses, peer: &str, name: Option<&str>) -> Duration {
        let (turn, waited) = wait(guesses, peer, name).await;
        turn.failed();
        waited
    }

    #[tokio::test(start_paused = true)]
    async fn failures_cost_time_and_are_forgotten() {
        let guesses = Guesses::default();
        let mut waits = Vec::new();
        for _ in 0..10 {
            waits.push(fail(&guesses, ATTACKER, Some("w1")).await.as_millis());
        }
        assert_eq!(waits, [0, 0, 0, 0, 250, 500, 1000, 2000, 3000, 3000]);
        assert_eq!(fail(&guesses, ATTACKER, Some("w2")).await, LONGEST_DELAY, "the address counts");
        assert_eq!(fail(&guesses, ATTACKER, None).await, LONGEST_DELAY);
        tokio::time::sleep(FORGOTTEN).await;
        assert_eq!(fail(&guesses, ATTACKER, Some("w1")).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_comes_in_whatever_others_try() {
        let guesses = Guesses::default();
        wait(&guesses, WORKER, Some("w1")).await.0.passed();
        for _ in 0..20 {
            fail(&guesses, ATTACKER, Some("w1")).await;
            fail(&guesses, "192.0.2.1:6000", Some("w2")).await;
        }
        // Known there: neither the name's failures elsewhere nor others' from its address count.
        assert_eq!(wait(&guesses, "192.0.2.1:7000", Some("w1")).await.1, Duration::ZERO);
        // Not known yet: a short while.
        let (turn, waited) = wait(&guesses, "203.0.113.9:1", Some("w1")).await;
        assert_eq!(waited, LONGEST_DELAY);
        turn.passed();
        assert_eq!(wait(&guesses, "203.0.113.9:2", Some("w1")).await.1, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn many_at_once_are_no_faster() {
        let guesses = Guesses::default();
        wait(&guesses, WORKER, Some("w1")).await.0.passed();
        for _ in 0..10 {
            fail(&guesses, ATTACKER, Some("w1")).await;
        }
        let begun = Instant::now();
        let tries = (0..500).map(|_| {
            let guesses = guesses.clone();
            tokio::spawn(async move {
                let turn = guesses.turn(ATTACKER, Some("w1")).await;
                turn.map(Turn::failed).is_ok()
            })
        });
        let tries: Vec<_> = tries.collect();
        let mut answered = 0;
        for one in tries {
            answered += usize::from(one.await.unwrap());
        }
        assert_eq!(answered, AT_ONCE + WAITING);
        assert!(begun.elapsed() >= LONGEST_DELAY * 3, "{:?}", begun.elapsed());
        // A flood from its own address doesn't keep a known one out either.
        let held: Vec<Turn> = vec![
            guesses.turn(WORKER, Some("w1")).await.unwrap(),
            guesses.turn(WORKER, Some("w1")).await.unwrap(),
        ];
        assert_eq!(wait(&guesses, WORKER, Some("w1")).await.1, Duration::ZERO);
        drop(held);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let guesses = Guesses::default();
        for n in 0..MOST as u32 + 100 {
            let peer = SocketAddr::from((std::net::Ipv4Addr::from(n), 1)).to_string();
            fail(&guesses, &peer, Some("w1")).await;
            tokio::time::advance(Duration::from_millis(1)).await;
            if n > 3 {
                // The name alone would make it slow.
                guesses.state().names.clear();
            }
        }
        let state = guesses.state();
        assert!(state.lanes.len() <= MOST && state.addresses.len() <= MOST);
        assert_eq!(address_of("[2001:db8:1:2:3:4:5:6]:80"), "2001:db8:1:2::/64");
        assert_eq!(address_of("unix"), "unix");
    }
}
