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

async fn forward(mut client: TcpStream, mut server: TcpStream, armed: Arc<Mutex<Option<Loss>>>) {
    let (mut from_client, mut from_server) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(count @ 1..) = read else { return };
                let commits = from_client[..count].windows(6).any(|window| window == b"COMMIT");
                let loss = if commits { armed.lock().unwrap().take() } else { None };
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
