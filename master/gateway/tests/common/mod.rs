//! A gateway on real sockets, an engine that takes every worker, and a small stock worker.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use md5::{Digest, Md5};
use muster_core::Epoch;
use muster_gateway::banana::{self, Decoder, Item};
use muster_gateway::value::Value;
use muster_gateway::{
    BuilderDir, Gateway, Listener, Roster, SentChange, StockWorker, Surroundings, jelly, serve_msgpack,
    serve_pb,
};
use muster_session::{MasterEvents, MasterLink, Password, Passwords, Terms, Transport, open};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub const PASSWORD: &str = "secret";

/// A session as the engine has it.
pub struct Session {
    pub link: MasterLink,
    pub events: MasterEvents,
    pub info: muster_session::WorkerInfo,
    pub dial_no: u64,
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
        (format!("w{number}"), StockWorker { password: PASSWORD.into(), builders })
    };
    Roster { workers: (0..workers).map(worker).collect(), change_sources: Vec::new() }
}

impl Port {
    pub async fn open(workers: usize) -> Port {
        let directory = tempfile::tempdir().unwrap();
        let (publish, followed) = watch::channel(Arc::new(roster(workers)));
        let (send_session, sessions) = mpsc::unbounded_channel();
        let (send_change, changes) = mpsc::unbounded_channel();
        let gateway = Gateway::new(Surroundings {
            roster: followed,
            engine: Arc::new(move || {
                let (ours, theirs) = Transport::pair();
                tokio::spawn(take(theirs, send_session.clone()));
                async { Ok(ours) }.boxed()
            }),
            changes: Arc::new(move |_, change| {
                let kept = send_change.send(change).map_err(|error| error.to_string());
                async { kept }.boxed()
            }),
            directory: directory.path().to_owned(),
        });
        let gateway = gateway.unwrap();
        let stop = CancellationToken::new();
        let [pb, msgpack] = [listener(), listener()];
        let addresses = [&pb, &msgpack].map(|listener| listener.local_addr().unwrap());
        tokio::spawn(serve_pb(Listener::Tcp(pb), gateway.clone(), None, stop.clone()));
        tokio::spawn(serve_msgpack(Listener::Tcp(msgpack), gateway.clone(), stop.clone()));
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

/// The client's end of PB.
pub struct PbClient {
    pub socket: TcpStream,
    decoder: Decoder,
    requests: i128,
}

/// What the other side says.
#[derive(Debug)]
pub enum Heard {
    Call { request: i128, object: i128, method: String, args: Vec<Value> },
    Answer { request: i128, value: Value },
    Error { request: i128, value: Value },
    Other,
}

fn bytes(text: &str) -> Item {
    Item::Bytes(text.as_bytes().to_vec())
}

impl PbClient {
    pub async fn connect(address: SocketAddr) -> PbClient {
        let socket = TcpStream::connect(address).await.unwrap();
        let mut client = PbClient { socket, decoder: Decoder::new(1 << 22), requests: 0 };
        client.send(bytes("pb")).await;
        client.send(Item::List(vec![bytes("version"), Item::Int(6)])).await;
        client
    }

    async fn send(&mut self, item: Item) {
        let mut out = Vec::new();
        banana::encode(&item, true, &mut out).unwrap();
        // The gateway may have closed; that shows when it is read.
        let _ = self.socket.write_all(&out).await;
    }

    pub async fn call(&mut self, object: Item, method: &str, args: Vec<Value>) -> i128 {
        self.requests += 1;
        let (args, kwargs) = (jelly::encode(&Value::Tuple(args)), jelly::encode(&Value::Dict(Vec::new())));
        let request = Item::Int(self.requests);
        self.send(Item::List(vec![
            bytes("message"),
            request,
            object,
            bytes(method),
            Item::Int(1),
            args,
            kwargs,
        ]))
        .await;
        self.requests
    }

    pub async fn answer(&mut self, request: i128, value: &Value) {
        self.send(Item::List(vec![bytes("answer"), Item::Int(request), jelly::encode(value)])).await;
    }

    /// The next message; `None` when the gateway has closed.
    pub async fn hear(&mut self) -> Option<Heard> {
        loop {
            if let Some(item) = self.decoder.next().unwrap() {
                match heard(item) {
                    Heard::Other => continue,
                    heard => return Some(heard),
                }
            }
            let mut buffer = [0; 4096];
            match self.socket.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.decoder.push(&buffer[..count]),
            }
        }
    }

    /// Logs in as far as the response; `mind` is what the client brings along.
    pub async fn log_in(&mut self, name: &str, password: &str, mind: Value) -> i128 {
        self.call(bytes("root"), "login", vec![Value::Bytes(name.as_bytes().to_vec())]).await;
        let heard = self.hear().await;
        let Some(Heard::Answer { value: Value::Tuple(parts), .. }) = heard else {
            panic!("no challenge, but {heard:?}");
        };
        let [Value::Bytes(challenge), Value::Theirs(challenger)] = parts.as_slice() else {
            panic!("{parts:?}");
        };
        let mut hash = Md5::new();
        hash.update(Md5::digest(password.as_bytes()));
        hash.update(challenge);
        let response = Value::Bytes(hash.finalize().to_vec());
        self.call(Item::Int((*challenger).into()), "respond", vec![response, mind]).await
    }

    /// Attaches as a stock worker does; `None` when the gateway closes instead.
    pub async fn attach(&mut self, name: &str) -> Option<u64> {
        let response = self.log_in(name, PASSWORD, Value::Ours(1)).await;
        loop {
            match self.hear().await? {
                Heard::Answer { request, value: Value::Theirs(avatar) } if request == response => {
                    return Some(avatar);
                }
                heard => self.obey(heard).await,
            }
        }
    }

    /// Answers what every worker is asked.
    pub async fn obey(&mut self, heard: Heard) {
        let Heard::Call { request, method, args, .. } = heard else { return };
        let value = match method.as_str() {
            "getWorkerInfo" => Value::dict([
                ("version", Value::from("4.3.0")),
                ("system", "posix".into()),
                ("basedir", "/w".into()),
            ]),
            "setBuilderList" => {
                let builders = args[0].elements().unwrap().to_vec();
                let name = |builder: &Value| builder.elements().unwrap()[0].as_text().unwrap();
                let numbered = builders.iter().enumerate();
                Value::dict(numbered.map(|(number, builder)| (name(builder), Value::Ours(number as u64 + 2))))
            }
            _ => Value::None,
        };
        self.answer(request, &value).await;
    }
}

fn heard(item: Item) -> Heard {
    let Item::List(parts) = item else { return Heard::Other };
    match parts.as_slice() {
        [Item::Bytes(name), Item::Int(request), Item::Int(object), Item::Bytes(method), _, args, _]
            if name == b"message" =>
        {
            let Value::Tuple(args) = jelly::decode(args.clone()).unwrap() else { panic!("{args:?}") };
            let method = String::from_utf8(method.clone()).unwrap();
            Heard::Call { request: *request, object: *object, method, args }
        }
        [Item::Bytes(name), Item::Int(request), value] if name == b"answer" => {
            Heard::Answer { request: *request, value: jelly::decode(value.clone()).unwrap() }
        }
        [Item::Bytes(name), Item::Int(request), value] if name == b"error" => {
            Heard::Error { request: *request, value: jelly::decode(value.clone()).unwrap() }
        }
        _ => Heard::Other,
    }
}
