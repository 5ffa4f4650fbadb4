//! A connection that breaks exactly when it hurts.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
};

/// How the connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// What the client sends is lost on its way: the server never sees it.
    Request,
    /// The answer is lost on its way back: the server has done it, and nobody hears of it.
    Answer,
    /// The client sees the connection break at once, and the server gets what was sent on it a while later.
    Late,
    /// The answer is lost, and the server can't be reached until it [comes back](Proxy::come_back).
    Away,
}

/// When it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Commit,
    AnythingSent,
}

/// How late "late" is: the client has long tried again by then.
const LATE: Duration = Duration::from_millis(500);

/// A server that has said nothing for so long has answered.
const QUIET: Duration = Duration::from_millis(300);

/// Stands between clients and a server.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    trap: Arc<Trap>,
}

#[derive(Default)]
struct Trap {
    armed: Mutex<Option<(When, Loss)>>,
    /// Nobody gets through.
    away: watch::Sender<bool>,
    /// Tells when a loss is over, with whatever arrives late.
    over: Notify,
}

impl Trap {
    fn springs(&self, commits: bool) -> Option<Loss> {
        let armed = &mut *self.armed.lock().unwrap();
        armed.take_if(|(when, _)| commits || *when == When::AnythingSent).map(|(_, loss)| loss)
    }
}

impl Proxy {
    /// Forwards to the server on `port`.
    pub async fn start(port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let trap: Arc<Trap> = Arc::default();
        let armed = trap.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let armed = armed.clone();
                if *armed.away.borrow() {
                    continue;
                }
                tokio::spawn(async move {
                    let server = TcpStream::connect(("127.0.0.1", port)).await;
                    if let Ok(server) = server {
                        forward(client, server, armed).await;
                    }
                });
            }
        });
        Proxy { address, trap }
    }

    /// Loses the next commit.
    pub fn lose_commit(&self, loss: Loss) {
        *self.trap.armed.lock().unwrap() = Some((When::Commit, loss));
    }

    /// Loses whatever a client sends next.
    pub fn lose_next(&self, loss: Loss) {
        *self.trap.armed.lock().unwrap() = Some((When::AnythingSent, loss));
    }

    /// After [`Loss::Away`]: from now on the server can be reached.
    pub fn come_back(&self) {
        self.trap.away.send_replace(false);
    }

    /// Waits until it was lost, and nothing of it can arrive any more.
    pub async fn has_lost(&self) {
        tokio::time::timeout(Duration::from_secs(20), self.trap.over.notified())
            .await
            .expect("nothing was lost");
    }
}

/// How a connection of a client commits: by the word, or by the name or number under which it once prepared it.
#[derive(Default)]
struct Commits {
    /// What PostgreSQL's client sends to execute it.
    named: Option<Vec<u8>>,
    /// What MariaDB has called statements that commit.
    numbered: Vec<[u8; 4]>,
    /// MariaDB's next answer tells such a number.
    is_numbered_next: bool,
}

impl Commits {
    /// Whether what a client sends commits.
    fn are_in(&mut self, sent: &[u8]) -> bool {
        match command(sent) {
            Some((Command::Prepare, text)) => {
                self.is_numbered_next = has(text, b"COMMIT");
                false
            }
            Some((Command::Execute, number)) => self.numbered.iter().any(|known| number.starts_with(known)),
            None => self.named_in(sent),
        }
    }

    /// PostgreSQL's clients prepare it: `NAME 0 COMMIT 0` first, then `0 NAME 0` each time that they execute it.
    fn named_in(&mut self, sent: &[u8]) -> bool {
        if self.named.as_ref().is_some_and(|execute| has(sent, execute)) {
            return true;
        }
        let Some(word) = sent.windows(6).position(|window| window == b"COMMIT") else { return false };
        let Some(name) = sent[..word].strip_suffix(b"\0") else { return true };
        let begin = name.iter().rposition(|byte| !(b' '..=b'~').contains(byte)).map_or(0, |place| place + 1);
        self.named = Some([b"\0", &name[begin..], b"\0"].concat());
        false
    }

    fn hear_answer(&mut self, answer: &[u8]) {
        if std::mem::take(&mut self.is_numbered_next)
            && let [_, _, _, 1, 0, number @ ..] = answer
            && let Some(number) = number.first_chunk()
        {
            self.numbered.push(*number);
        }
    }
}

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// What a client of MariaDB asks for.
enum Command {
    Prepare,
    Execute,
}

/// A packet: three bytes of length, the number 0, the command, and what belongs to it.
fn command(sent: &[u8]) -> Option<(Command, &[u8])> {
    let [a, b, c, 0, command, rest @ ..] = sent else { return None };
    if u32::from_le_bytes([*a, *b, *c, 0]) as usize != rest.len() + 1 {
        return None;
    }
    match command {
        0x16 => Some((Command::Prepare, rest)),
        0x17 => Some((Command::Execute, rest)),
        _ => None,
    }
}

async fn forward(mut client: TcpStream, mut server: TcpStream, trap: Arc<Trap>) {
    let (mut from_client, mut from_server) = (vec![0; 65536], vec![0; 65536]);
    let mut commits = Commits::default();
    let mut away = trap.away.subscribe();
    loop {
        tokio::select! {
            () = is_away(&mut away) => return,
            read = client.read(&mut from_client) => {
                let Ok(count @ 1..) = read else { return };
                let sent = &from_client[..count];
                if let Some(loss) = trap.springs(commits.are_in(sent)) {
                    if loss == Loss::Away {
                        trap.away.send_replace(true);
                    }
                    lose(loss, sent, client, server).await;
                    trap.over.notify_one();
                    return;
                }
                if server.write_all(sent).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(count @ 1..) = read else { return };
                commits.hear_answer(&from_server[..count]);
                if client.write_all(&from_server[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn is_away(away: &mut watch::Receiver<bool>) {
    // The trap holds the sender.
    let _ = away.wait_for(|away| *away).await;
}

async fn lose(loss: Loss, sent: &[u8], client: TcpStream, mut server: TcpStream) {
    let client = (loss != Loss::Late).then_some(client);
    match loss {
        Loss::Request => return,
        Loss::Answer | Loss::Away => {}
        Loss::Late => tokio::time::sleep(LATE).await,
    }
    // Where the server has ended the connection meanwhile, nothing arrives.
    let _ = server.write_all(sent).await;
    // It may answer in several parts; when nothing more comes, it is done. All ends here, with both connections.
    let mut answer = vec![0; 65536];
    while let Ok(Ok(1..)) = tokio::time::timeout(QUIET, server.read(&mut answer)).await {}
    drop(client);
}
