//! A gateway on real sockets, an engine that takes every worker, and a small stock worker.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub mod client;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[allow(unused_imports, reason = "each test binary uses its part")]
pub use client::{Heard, PASSWORD, PbClient};
use futures_util::FutureExt;
use muster_core::Epoch;
use muster_gateway::{
    Arrival, BuilderDir, Gateway, Ghost, Registry, Reply, Roster, SentChange, Standing, StockWorker,
    Surroundings, Wanted, serve_msgpack, serve_pb,
};
use muster_session::{MasterEvents, MasterLink, Password, Passwords, Terms, Transport, open};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A session as the engine has it.
pub struct Session {
    pub link: MasterLink,
    pub events: MasterEvents,
    pub info: muster_session::WorkerInfo,
    pub dial_no: u64,
}

/// A cluster of one gateway. It counts arrivals.
#[derive(Default)]
struct OneGateway(AtomicU64);

/// Dials of one arrival.
const DIALS: u64 = 1000;

impl Registry for OneGateway {
    fn arrive(&self, arrivals: Vec<Arrival>) -> Reply<Vec<Standing>> {
        let dials = || {
            let first = 1 + DIALS * self.0.fetch_add(1, Ordering::Relaxed);
            first..first + DIALS
        };
        let taken = arrivals.iter().map(|_| Standing::Taken { ghosts: Vec::new(), dials: dials() }).collect();
        async { Ok(taken) }.boxed()
    }

    fn leave(&self, _workers: Vec<String>) -> Reply<()> {
        async { Ok(()) }.boxed()
    }

    fn look(&self) -> Reply<Vec<Wanted>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn keep(&self, _worker: String) -> Reply<()> {
        async { Ok(()) }.boxed()
    }

    fn note(&self, _worker: String, _ghosts: Vec<Ghost>) -> Reply<bool> {
        async { Ok(true) }.boxed()
    }
}

pub struct Port {
    pub gateway: Gateway,
    pub pb: SocketAddr,
    pub msgpack: SocketAddr,
    pub sessions: mpsc::UnboundedReceiver<Session>,
    pub changes: mpsc::UnboundedReceiver<SentChange>,
    pub roster: watch::Sender<Arc<Roster>>,
    pub stop: CancellationToken,
    _directory: TempDir,
}

/// Workers `w0`, `w1` and so on, each with one builder.
pub fn roster(workers: usize) -> Roster {
    let worker = |number: usize| {
        let builders = vec![BuilderDir { name: "b".into(), dir: "b".into() }];
        (
            format!("w{number}"),
            StockWorker {
                password: PASSWORD.into(),
                builders: builders.into(),
                keepalive: Duration::from_secs(3600),
            },
        )
    };
    Roster { workers: (0..workers).map(worker).collect(), change_sources: Vec::new() }
}

impl Port {
    pub async fn open(workers: usize) -> Port {
        let directory = tempfile::tempdir().unwrap();
        let (publish, followed) = watch::channel(Arc::new(roster(workers)));
        let (send_session, sessions) = mpsc::unbounded_channel();
        let (send_change, changes) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let around = Surroundings {
            roster: followed,
            registry: Arc::new(OneGateway::default()),
            engine: Arc::new(move |_| {
                let (ours, theirs) = Transport::pair();
                tokio::spawn(take(theirs, send_session.clone()));
                async { Ok(ours) }.boxed()
            }),
            changes: Arc::new(move |_, change| {
                let kept = send_change.send(change).map_err(|error| error.to_string());
                async { kept }.boxed()
            }),
            directory: directory.path().to_owned(),
            name: "gateway".into(),
        };
        let (gateway, running) = Gateway::new(around, stop.clone()).unwrap();
        tokio::spawn(running);
        let [pb, msgpack] = [listener(), listener()];
        let addresses = [&pb, &msgpack].map(|listener| listener.local_addr().unwrap());
        tokio::spawn(serve_pb(pb, gateway.clone(), None, stop.clone()));
        tokio::spawn(serve_msgpack(msgpack, gateway.clone(), stop.clone()));
        let [pb, msgpack] = addresses;
        Port { gateway, pb, msgpack, sessions, changes, roster: publish, stop, _directory: directory }
    }
}

/// With a queue that many connections fit into at once.
fn listener() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket.listen(4096).unwrap()
}

/// The engine: takes the session and drives it.
async fn take(transport: Transport, sessions: mpsc::UnboundedSender<Session>) {
    let passwords: Passwords = Arc::new(|_| Some(Password::new(PASSWORD)));
    let opening = open(transport, &passwords).await.unwrap();
    let (link, events) = MasterLink::new(opening.worker(), opening.boot_id().clone());
    let session =
        Session { link: link.clone(), events, info: opening.info().clone(), dial_no: opening.dial_no() };
    // A test that looks at no session still wants its workers attached.
    let _ = sessions.send(session);
    link.converse(opening, Terms::new(1, Epoch(1))).await;
}
