//! A connection that breaks exactly when it hurts.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Where the next COMMIT gets lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// On its way: the server never sees it.
    Request,
    /// On the way back: the server has committed, and nobody hears of it.
    Answer,
}

/// Stands between clients and a server.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    loss: Arc<Mutex<Option<Loss>>>,
}

impl Proxy {
    /// Forwards to the server on `port`.
    pub async fn start(port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let loss: Arc<Mutex<Option<Loss>>> = Arc::default();
        let armed = loss.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let armed = armed.clone();
                tokio::spawn(async move {
                    let server = TcpStream::connect(("127.0.0.1", port)).await;
                    if let Ok(server) = server {
                        forward(client, server, armed).await;
                    }
                });
            }
        });
        Proxy { address, loss }
    }

    /// Loses the next commit.
    pub fn lose(&self, loss: Loss) {
        *self.loss.lock().unwrap() = Some(loss);
    }

    /// Whether it was lost meanwhile.
    pub fn has_lost(&self) -> bool {
        self.loss.lock().unwrap().is_none()
    }
}

/// How a connection of a client commits: by the word, or by the name under which it once prepared it.
#[derive(Default)]
struct Commits {
    prepared: Option<Vec<u8>>,
}

impl Commits {
    /// Whether what a client sends commits. PostgreSQL's clients prepare it: `NAME 0 COMMIT 0` first, then `0 NAME 0` each
    /// time that they execute it.
    fn are_in(&mut self, sent: &[u8]) -> bool {
        let has = |wanted: &[u8]| sent.windows(wanted.len()).any(|window| window == wanted);
        if self.prepared.as_ref().is_some_and(|execute| has(execute)) {
            return true;
        }
        let Some(word) = sent.windows(6).position(|window| window == b"COMMIT") else { return false };
        let Some(name) = sent[..word].strip_suffix(b"\0") else { return true };
        let begin = name.iter().rposition(|byte| !(b' '..=b'~').contains(byte)).map_or(0, |place| place + 1);
        self.prepared = Some([b"\0", &name[begin..], b"\0"].concat());
        false
    }
}

async fn forward(mut client: TcpStream, mut server: TcpStream, armed: Arc<Mutex<Option<Loss>>>) {
    let (mut from_client, mut from_server) = (vec![0; 65536], vec![0; 65536]);
    let mut commits = Commits::default();
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(count @ 1..) = read else { return };
                let loss = if commits.are_in(&from_client[..count]) { armed.lock().unwrap().take() } else { None };
                if loss == Some(Loss::Request) {
                    return;
                }
                if server.write_all(&from_client[..count]).await.is_err() {
                    return;
                }
                if loss == Some(Loss::Answer) {
                    // The answer says that it is done; it ends here, with both connections.
                    let _ = server.read(&mut from_server).await;
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(count @ 1..) = read else { return };
                if client.write_all(&from_server[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
