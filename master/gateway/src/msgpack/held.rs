//! A socket that says nothing about a log-in before the log-in has had its turn.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use muster_net::{Crowd, Guesses, Turn};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a log-in has come to, and is not told yet.
pub(crate) struct Verdict {
    /// The name, if there is an account of that name.
    pub(crate) name: Option<String>,
    /// Whether the password is right.
    pub(crate) passed: bool,
}

/// Where the verdict is put before the answer is written.
pub(crate) type VerdictCell = Arc<Mutex<Option<Verdict>>>;

/// The socket. Once there is a verdict, writing waits for its turn.
pub(crate) struct Held<S> {
    socket: S,
    guesses: Guesses,
    peer: String,
    verdict: VerdictCell,
    waiting: Option<(bool, BoxFuture<'static, Result<Turn, Crowd>>)>,
}

impl<S> Held<S> {
    pub(crate) fn new(socket: S, guesses: &Guesses, peer: &str) -> (Held<S>, VerdictCell) {
        let verdict = VerdictCell::default();
        let (guesses, peer) = (guesses.clone(), peer.to_owned());
        (Held { socket, guesses, peer, verdict: verdict.clone(), waiting: None }, verdict)
    }

    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_none()
            && let Some(verdict) = self.verdict.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            let (guesses, peer) = (self.guesses.clone(), self.peer.clone());
            let turn = async move { guesses.turn(&peer, verdict.name.as_deref()).await };
            self.waiting = Some((verdict.passed, Box::pin(turn)));
        }
        let Some((passed, turn)) = &mut self.waiting else { return Poll::Ready(Ok(())) };
        let turn = ready!(turn.as_mut().poll(context));
        let passed = *passed;
        self.waiting = None;
        match turn {
            Ok(turn) if passed => turn.passed(),
            Ok(turn) => turn.failed(),
            Err(crowd) => return Poll::Ready(Err(io::Error::other(crowd))),
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(context))?;
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
