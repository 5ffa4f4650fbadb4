//! The worker's end of Perspective Broker, as much of it as a simulated worker needs.

use std::io;
use std::net::SocketAddr;

use md5::{Digest, Md5};
use muster_gateway::banana::{self, Decoder, Item};
use muster_gateway::{jelly, value::Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of one message from the master.
const LIMIT: usize = 4 << 20;
/// Bytes that are read at once.
const BUFFER: usize = 4096;

/// A connection to a master.
pub struct Peer {
    socket: TcpStream,
    decoder: Decoder,
    requests: i128,
    /// What is written with the next [`Peer::flush`].
    out: Vec<u8>,
}

/// What the master says.
pub enum Heard {
    /// It calls a method of an object of this side.
    Call { request: i128, object: i128, method: String, args: Vec<Value> },
    /// It answers a call.
    Answer { request: i128, value: Value },
    /// It refuses a call.
    Error { request: i128 },
}

/// The object that a call goes to.
pub enum Target {
    Root,
    Object(u64),
}

fn word(text: &str) -> Item {
    Item::Bytes(text.as_bytes().to_vec())
}

impl Peer {
    pub async fn connect(address: SocketAddr) -> io::Result<Peer> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let mut peer = Peer { socket, decoder: Decoder::new(LIMIT), requests: 0, out: Vec::new() };
        peer.put(&word("pb"));
        peer.put(&Item::List(vec![word("version"), Item::Int(6)]));
        peer.flush().await?;
        Ok(peer)
    }

    fn put(&mut self, item: &Item) {
        banana::encode(item, true, &mut self.out).unwrap();
    }

    /// Calls a method; answers the request's number.
    pub fn call(&mut self, target: Target, method: &str, args: Vec<Value>) -> i128 {
        self.requests += 1;
        let target = match target {
            Target::Root => word("root"),
            Target::Object(object) => Item::Int(object.into()),
        };
        let (args, kwargs) = (jelly::encode(&Value::Tuple(args)), jelly::encode(&Value::Dict(Vec::new())));
        let request = Item::Int(self.requests);
        self.put(&Item::List(vec![
            word("message"),
            request,
            target,
            word(method),
            Item::Int(1),
            args,
            kwargs,
        ]));
        self.requests
    }

    /// Answers a call.
    pub fn answer(&mut self, request: i128, value: &Value) {
        self.put(&Item::List(vec![word("answer"), Item::Int(request), jelly::encode(value)]));
    }

    /// Writes what was said so far.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.socket.write_all(&self.out).await?;
        self.out.clear();
        self.out.shrink_to(BUFFER);
        Ok(())
    }

    /// The next message, after everything said so far was written.
    pub async fn hear(&mut self) -> io::Result<Heard> {
        self.flush().await?;
        loop {
            while let Some(item) = self.decoder.next().map_err(io::Error::other)? {
                if let Some(heard) = heard(item) {
                    return Ok(heard);
                }
            }
            let mut buffer = [0; BUFFER];
            match self.socket.read(&mut buffer).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.decoder.push(&buffer[..count]),
            }
        }
    }

    /// Logs in with the challenge; answers the number of the request that the master answers when all is ready.
    pub async fn log_in(&mut self, name: &str, password: &str) -> io::Result<i128> {
        self.call(Target::Root, "login", vec![Value::Bytes(name.as_bytes().to_vec())]);
        let Heard::Answer { value: Value::Tuple(parts), .. } = self.hear().await? else {
            return Err(io::Error::other("no challenge"));
        };
        let [Value::Bytes(challenge), Value::Theirs(challenger)] = parts.as_slice() else {
            return Err(io::Error::other("no challenge"));
        };
        let mut hash = Md5::new();
        hash.update(Md5::digest(password.as_bytes()));
        hash.update(challenge);
        let response = Value::Bytes(hash.finalize().to_vec());
        Ok(self.call(Target::Object(*challenger), "respond", vec![response, Value::Ours(1)]))
    }
}

fn heard(item: Item) -> Option<Heard> {
    let Item::List(parts) = item else { return None };
    match parts.as_slice() {
        [Item::Bytes(name), Item::Int(request), Item::Int(object), Item::Bytes(method), _, args, _]
            if name == b"message" =>
        {
            let args = jelly::decode(args.clone()).ok()?.elements()?.to_vec();
            let method = String::from_utf8_lossy(method).into_owned();
            Some(Heard::Call { request: *request, object: *object, method, args })
        }
        [Item::Bytes(name), Item::Int(request), value] if name == b"answer" => {
            Some(Heard::Answer { request: *request, value: jelly::decode(value.clone()).ok()? })
        }
        [Item::Bytes(name), Item::Int(request), _] if name == b"error" => {
            Some(Heard::Error { request: *request })
        }
        _ => None,
    }
}
