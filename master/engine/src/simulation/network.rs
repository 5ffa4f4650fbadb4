//! The network between workers and masters: frames take their time, connections break in every way in which they do.

use std::{fmt::Display, sync::Arc, time::Duration};

use muster_session::Transport;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use super::trace::Trace;

/// Frames on their way in each direction before the sender has to wait.
const QUEUE: usize = 16;
/// One frame of so many is late; the others arrive at once.
const LATE: u8 = 5;
/// How late, in milliseconds.
const DELAYS: std::ops::Range<u64> = 1..80;

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Carries frames; when an end hangs up, the other one hears of it.
    Open,
    /// Frames wait: packets vanish and are sent again until they get through.
    Held,
    /// What is on its way is lost, and both ends are told.
    Broken,
    /// What is on its way is lost, and nobody is told: each end finds out by itself.
    Silent,
}

/// One connection.
#[derive(Clone)]
pub(super) struct Line(Arc<watch::Sender<State>>);

impl Line {
    /// Two ends that are connected: the worker's and the master's.
    pub(super) fn connect(
        random: &mut fastrand::Rng,
        trace: &Trace,
        name: &str,
    ) -> (Line, Transport, Transport) {
        let line = Line(Arc::new(watch::Sender::new(State::Open)));
        let (worker_out, master_in) = line.direction(random.fork(), trace.clone(), format!("{name} >"));
        let (master_out, worker_in) = line.direction(random.fork(), trace.clone(), format!("{name} <"));
        (line, transport(worker_in, worker_out), transport(master_in, master_out))
    }

    /// Changes what the connection does. One that is over stays over.
    pub(super) fn become_(&self, next: State) {
        self.0.send_if_modified(|state| {
            let changes = !state.is_over() && *state != next;
            if changes {
                *state = next;
            }
            changes
        });
    }

    fn direction(
        &self,
        random: fastrand::Rng,
        trace: Trace,
        name: impl Display + Send + 'static,
    ) -> (mpsc::Sender<Vec<u8>>, mpsc::Receiver<Vec<u8>>) {
        let (sender, from) = mpsc::channel(QUEUE);
        let (to, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(carry(from, to, self.0.subscribe(), random, trace, name));
        (sender, receiver)
    }
}

impl State {
    fn is_over(self) -> bool {
        matches!(self, State::Broken | State::Silent)
    }
}

async fn carry(
    mut from: mpsc::Receiver<Vec<u8>>,
    to: mpsc::Sender<Vec<u8>>,
    mut line: watch::Receiver<State>,
    mut random: fastrand::Rng,
    trace: Trace,
    name: impl Display,
) {
    let state = loop {
        let frame = tokio::select! {
            frame = from.recv() => frame,
            state = over(&mut line) => break state,
        };
        if random.u8(..LATE) == 0 {
            sleep(Duration::from_millis(random.u64(DELAYS))).await;
        }
        // When nobody is left who could change it, it is as it was before it was held.
        let now = line.wait_for(|state| *state != State::Held).await.map(|state| *state);
        let state = now.unwrap_or(State::Open);
        match frame {
            Some(_) if state.is_over() => break state,
            Some(frame) => {
                trace.note(format_args!("{name} {} bytes", frame.len()));
                if to.send(frame).await.is_err() {
                    return;
                }
            }
            None => break state,
        }
    };
    if state == State::Silent {
        // The sender may send what it likes; the receiver hears nothing until it loses its patience.
        let swallow = async { while from.recv().await.is_some() {} };
        tokio::join!(swallow, to.closed());
    }
}

async fn over(line: &mut watch::Receiver<State>) -> State {
    let over = line.wait_for(|state| state.is_over()).await.map(|state| *state);
    match over {
        Ok(state) => state,
        Err(_) => std::future::pending().await,
    }
}

fn transport(incoming: mpsc::Receiver<Vec<u8>>, outgoing: mpsc::Sender<Vec<u8>>) -> Transport {
    let incoming = futures_util::stream::unfold(incoming, |mut incoming| async move {
        incoming.recv().await.map(|frame| (Ok(frame), incoming))
    });
    let outgoing = futures_util::sink::unfold(outgoing, |outgoing, frame: Vec<u8>| async move {
        outgoing.send(frame).await.map_err(|_| muster_session::TransportError::Gone)?;
        Ok(outgoing)
    });
    Transport::new(incoming, outgoing, "the simulated network")
}
