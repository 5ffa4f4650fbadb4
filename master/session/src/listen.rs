//! The master's side of an opening: who dials, and may it come in?

use std::sync::Arc;
use std::time::Duration;

use muster_net::{Crowd, Guesses, Incoming, Listener, Opened, Place, Refusals, Strangers};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::auth::{Nonce, Password};
use crate::liveness::OPENING_TIMEOUT;
use crate::opening::{Admitted, Challenged, Turned};
use crate::transport::{Transport, TransportError};
use crate::websocket;
use crate::wire::{self, BootId, CommandState, FromMaster, Refusal, RefusalCode, WorkerInfo};

/// Connections that may be in their opening at once. With more of them the oldest one that is still silent leaves, so
/// that peers which say nothing never keep workers out; each holds its place for [`OPENING_TIMEOUT`] at most.
pub const MAX_OPENINGS: usize = 1024;

/// Rest after an error of `accept`: mostly the process has no file descriptor left, and needs time to get one back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Looks up a worker's password; `None` for a name that is not configured.
pub type Passwords = Arc<dyn Fn(&str) -> Option<Password> + Send + Sync>;

/// A worker that proved its password and waits for the engine's word:
/// [`MasterLink::converse`](crate::MasterLink::converse) accepts it, [`Opening::refuse`] doesn't. Decide within
/// [`OPENING_TIMEOUT`], or the worker gives up. Dropping it closes the connection, and the worker dials again.
pub struct Opening {
    pub(crate) admitted: Admitted,
    pub(crate) transport: Transport,
}

impl Opening {
    /// The worker's name.
    pub fn worker(&self) -> &str {
        &self.admitted.hello.worker
    }

    /// The life of its process.
    pub fn boot_id(&self) -> &BootId {
        &self.admitted.hello.boot_id
    }

    /// Of this dial. The engine accepts only one that is higher than the stored one, by compare-and-set.
    pub fn dial_no(&self) -> u64 {
        self.admitted.hello.dial_no
    }

    /// What the worker tells about itself.
    pub fn info(&self) -> &WorkerInfo {
        &self.admitted.claim.info
    }

    /// The commands it holds, running or ended.
    pub fn commands(&self) -> &[CommandState] {
        &self.admitted.claim.commands
    }

    /// Where it dials from, for people.
    pub fn peer(&self) -> &str {
        self.transport.peer()
    }

    /// Sends it away.
    pub async fn refuse(mut self, refusal: Refusal) {
        tracing::info!(worker = self.worker(), peer = self.peer(), reason = refusal.reason, "worker refused");
        self.transport.turn_away(refusal).await;
    }
}

/// Why nobody came in.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// It said nothing for too long.
    #[error("it did not finish the opening within {OPENING_TIMEOUT:?}")]
    Silent,
    /// It had not finished the opening, and its place was needed.
    #[error("it did not finish the opening while others waited for its place")]
    Crowded,
    /// It went away.
    #[error("it went away during the opening")]
    Closed,
    /// It was refused; the text is for the log, and may say more than the worker was told.
    #[error("{0}")]
    Refused(String),
    /// Somebody guesses passwords.
    #[error("it was not looked at: {0}")]
    Crowd(#[from] Crowd),
    /// The network, or no WebSocket at all.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// Accepts connections for ever, and hands out those that open well. Strangers, silence and garbage are turned away
/// here, with a line in the log; guesses of passwords are slowed. When `openings` is full, new connections wait; when its receiver is gone, this ends.
pub async fn serve(listener: impl Into<Listener>, passwords: Passwords, openings: mpsc::Sender<Opening>) {
    let listener = listener.into();
    let strangers = Strangers::new(MAX_OPENINGS);
    let (guesses, refusals) = (Guesses::default(), Refusals::new("the session port"));
    let mut pending = JoinSet::new();
    loop {
        let accepted = async {
            let incoming = listener.accept().await?;
            Ok::<_, std::io::Error>((strangers.enter().await, incoming))
        };
        tokio::select! {
            accepted = accepted => match accepted {
                Ok((place, incoming)) => {
                    let (guesses, refusals) = (guesses.clone(), refusals.clone());
                    let (passwords, openings) = (passwords.clone(), openings.clone());
                    pending.spawn(async move {
                        let mut peer = incoming.peer().to_owned();
                        match admit(incoming, &mut peer, place, passwords, guesses).await {
                            // A closed queue ends `serve`, and the opening with it.
                            Ok(opening) => drop(openings.send(opening).await),
                            Err(error) => {
                                metrics::counter!("muster_session_openings_refused_total").increment(1);
                                refusals.tell(&peer, &error);
                            }
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the session port can't accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            () = openings.closed() => return,
        }
        while pending.try_join_next().is_some() {}
    }
}

async fn admit(
    incoming: Incoming,
    // Who it is, as soon as that is known.
    known_peer: &mut String,
    place: Place,
    passwords: Passwords,
    guesses: Guesses,
) -> Result<Opening, OpeningError> {
    let accepted = async {
        let Opened { stream, peer } = incoming.open().await.map_err(TransportError::from)?;
        known_peer.clone_from(&peer);
        exchange(websocket::accept(stream, peer).await?, &passwords, Some(&guesses)).await
    };
    tokio::select! {
        opened = tokio::time::timeout(OPENING_TIMEOUT, accepted) => opened.unwrap_or(Err(OpeningError::Silent)),
        () = place.taken() => Err(OpeningError::Crowded),
    }
}

/// The same for one transport of somebody who guesses no passwords.
///
/// # Errors
/// When the peer is not let in; it was told why where that was possible.
pub async fn open(transport: Transport, passwords: &Passwords) -> Result<Opening, OpeningError> {
    tokio::time::timeout(OPENING_TIMEOUT, exchange(transport, passwords, None))
        .await
        .unwrap_or(Err(OpeningError::Silent))
}

async fn exchange(
    mut transport: Transport,
    passwords: &Passwords,
    guesses: Option<&Guesses>,
) -> Result<Opening, OpeningError> {
    let hello = transport.receive().await?.ok_or(OpeningError::Closed)?;
    let challenged = match Challenged::by_hello(&hello, Nonce::fresh(), passwords.as_ref()) {
        Ok(challenged) => challenged,
        Err(turned) => return Err(send_away(transport, turned).await),
    };
    let challenge = wire::encode(&challenged.challenge()).expect("a challenge is a few dozen bytes");
    transport.send(challenge).await?;
    let claim = transport.receive().await?.ok_or(OpeningError::Closed)?;
    // Right or wrong, it is told no sooner than when its turn comes.
    let turn = match guesses {
        Some(guesses) => Some(guesses.turn(transport.peer(), challenged.known_name()).await?),
        None => None,
    };
    match challenged.by_claim(&claim) {
        Ok(admitted) => {
            if let Some(turn) = turn {
                turn.passed();
            }
            Ok(Opening { admitted, transport })
        }
        Err(turned) => {
            if let Some(turn) = turn
                && turned.refusal.code == RefusalCode::Credentials
            {
                turn.failed();
            }
            Err(send_away(transport, turned).await)
        }
    }
}

async fn send_away(mut transport: Transport, turned: Turned) -> OpeningError {
    transport.turn_away(turned.refusal).await;
    OpeningError::Refused(turned.for_log)
}

impl Transport {
    pub(crate) async fn turn_away(&mut self, refusal: Refusal) {
        let frame = match wire::encode(&FromMaster::Refused(refusal)) {
            Ok(frame) => frame,
            Err(error) => return tracing::error!(%error, "a refusal does not fit a frame"),
        };
        let told = async {
            self.send(frame).await?;
            self.close().await
        };
        // A peer that doesn't listen to its refusal loses the connection all the same.
        let _ = tokio::time::timeout(OPENING_TIMEOUT, told).await;
    }
}
