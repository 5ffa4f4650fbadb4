//! A small stock worker over PB, for tests and for the benchmark of the gateway.

use std::net::SocketAddr;

use md5::{Digest, Md5};
use muster_gateway::banana::{self, Decoder, Item};
use muster_gateway::jelly;
use muster_gateway::value::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Of every worker.
pub const PASSWORD: &str = "secret";

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
