//! Opens what a port string asks for, and accepts there.

use std::{
    fs::Permissions,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use muster_core::strports::{Domain, Handed, ListenAddress};
use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixSocket},
};
use tokio_rustls::TlsAcceptor;

use crate::{handed, proxied, tls};

/// Connections that may wait to be accepted, unless the port string says otherwise. The kernel may allow less.
pub const DEFAULT_BACKLOG: u32 = 8_192;

/// A silent TCP connection is probed after this, and every [`PROBE_INTERVAL`]; a dead one is found within a minute.
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// How long TCP may try to deliver what was written.
const UNDELIVERED: Duration = Duration::from_secs(60);

/// A socket that waits for connections.
pub struct Listener {
    socket: Waiting,
    tls: Option<TlsAcceptor>,
    /// Whether a proxy's header comes first.
    is_proxied: bool,
    warning: Option<String>,
}

enum Waiting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Any stream.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A stream of whatever kind.
pub type AnyStream = Box<dyn Stream>;

/// A connection that has just come.
pub struct Incoming {
    stream: AnyStream,
    peer: String,
    tls: Option<TlsAcceptor>,
    is_proxied: bool,
}

/// A connection on which only what the port is for is spoken.
pub struct Opened {
    /// What is spoken there.
    pub stream: AnyStream,
    /// The other end, for people; behind a proxy that tells it, who is there.
    pub peer: String,
}

impl Listener {
    /// The TCP address, which tells the port where any free one was asked for.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Waiting::Tcp(listener) => listener.local_addr().ok(),
            Waiting::Unix(_) => None,
        }
    }

    /// Whether only processes of this machine can connect over the network's protocols. A socket in the file system has
    /// somebody before it who may let others in, and so has one for a proxy.
    pub fn takes_this_machine_only(&self) -> bool {
        !self.is_proxied
            && self.tcp_address().is_some_and(|address| address.ip().to_canonical().is_loopback())
    }

    /// Whether a proxy tells first whose connection it passes on.
    pub fn is_proxied(&self) -> bool {
        self.is_proxied
    }

    /// Whether connections begin with TLS.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// What somebody has to see to although it listens: a certificate that ran out, as of when the socket was opened.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Where it listens, for people.
    pub fn address(&self) -> String {
        match &self.socket {
            Waiting::Tcp(listener) => {
                listener.local_addr().map_or_else(|error| error.to_string(), |at| at.to_string())
            }
            Waiting::Unix(listener) => {
                let path = listener
                    .local_addr()
                    .ok()
                    .and_then(|at| at.as_pathname().map(|path| path.display().to_string()));
                path.unwrap_or_else(|| "a local socket".to_owned())
            }
        }
    }

    /// The next connection. It has said nothing yet. Safe to cancel.
    ///
    /// # Errors
    /// Mostly when the process has no file descriptor left: rest before the next try.
    pub async fn accept(&self) -> io::Result<Incoming> {
        let (stream, peer): (AnyStream, String) = match &self.socket {
            Waiting::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                prepare(&stream)?;
                (Box::new(stream), peer_name(peer))
            }
            Waiting::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                (Box::new(stream), "a local process".to_owned())
            }
        };
        Ok(Incoming { stream, peer, tls: self.tls.clone(), is_proxied: self.is_proxied })
    }
}

impl From<TcpListener> for Listener {
    /// A socket that somebody else has opened.
    fn from(listener: TcpListener) -> Listener {
        Listener { socket: Waiting::Tcp(listener), tls: None, is_proxied: false, warning: None }
    }
}

impl Incoming {
    /// The other end, for people: behind a proxy this is the proxy, until [`Incoming::open`] tells who is behind it.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// The stream, after what a proxy says first, and after TLS where that is spoken. Takes as long as the peer likes: give
    /// it a bound.
    ///
    /// # Errors
    /// When the peer does not speak as it should.
    pub async fn open(mut self) -> io::Result<Opened> {
        if self.is_proxied
            && let Some(behind) = proxied::header(&mut self.stream).await?
        {
            self.peer = peer_name(behind);
        }
        let stream: AnyStream = match self.tls {
            None => self.stream,
            Some(tls) => Box::new(tls.accept(self.stream).await?),
        };
        Ok(Opened { stream, peer: self.peer })
    }
}

/// IPv4 peers of a socket for both families look like IPv4 peers.
fn peer_name(peer: SocketAddr) -> String {
    SocketAddr::new(peer.ip().to_canonical(), peer.port()).to_string()
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    sockopt::set_tcp_user_timeout(stream, UNDELIVERED.as_millis() as u32)?;
    Ok(())
}

/// Why a socket can't be opened, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {reason}")]
pub struct ListenError {
    address: String,
    reason: String,
}

/// Opens the socket that a port string asks for. Relative paths begin at `base`.
///
/// # Errors
/// [`ListenError`] says which port, why, and what to do.
pub async fn listen(address: &ListenAddress, base: &Path) -> Result<Listener, ListenError> {
    match address {
        ListenAddress::Proxied(inner) => {
            Ok(Listener { is_proxied: true, ..listen_directly(inner, base).await? })
        }
        direct => listen_directly(direct, base).await,
    }
}

async fn listen_directly(address: &ListenAddress, base: &Path) -> Result<Listener, ListenError> {
    let failed = |reason: String| ListenError { address: address.to_string(), reason };
    let (opened, tls) = match address {
        ListenAddress::Tcp { port, interface, backlog, tls } => {
            let tls = tls.as_ref().map(|files| tls::server(files, base)).transpose().map_err(failed)?;
            (tcp(*port, interface.as_deref(), *backlog).await.map(Waiting::Tcp), tls)
        }
        ListenAddress::Unix { path, mode, backlog } => {
            (unix(&base.join(path), *mode, *backlog).await.map(Waiting::Unix), None)
        }
        ListenAddress::Systemd { domain, socket } => (taken(*domain, socket), None),
        ListenAddress::Proxied(_) => return Err(failed("one header is enough".to_owned())),
    };
    let socket = opened.map_err(|error| failed(explain(&error, address)))?;
    let (tls, warning) = match tls {
        Some(server) => (Some(TlsAcceptor::from(Arc::new(server.config))), server.warning),
        None => (None, None),
    };
    Ok(Listener { socket, tls, is_proxied: false, warning })
}

async fn tcp(port: u16, interface: Option<&str>, backlog: Option<u32>) -> io::Result<TcpListener> {
    let backlog = backlog.unwrap_or(DEFAULT_BACKLOG);
    let Some(interface) = interface else {
        let both = bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), backlog);
        return match both {
            Err(error) if !is_taken(&error) => {
                // A machine without IPv6.
                bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), backlog)
            }
            opened => opened,
        };
    };
    let address = match interface.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port),
        Err(_) => {
            let mut found = tokio::net::lookup_host((interface, port)).await?;
            found
                .next()
                .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address"))?
        }
    };
    bind(address, backlog)
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

fn bind(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        // Some machines keep both families apart unless they are told.
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    // A restart must not wait until the old connections are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(backlog)
}

async fn unix(path: &Path, mode: Option<u32>, backlog: Option<u32>) -> io::Result<UnixListener> {
    remove_dead_socket(path).await?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    if let Some(mode) = mode {
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(backlog.unwrap_or(DEFAULT_BACKLOG))
}

fn taken(domain: Domain, which: &Handed) -> io::Result<Waiting> {
    match handed::socket(domain, which)? {
        handed::Socket::Tcp(socket) => TcpListener::from_std(socket).map(Waiting::Tcp),
        handed::Socket::Unix(socket) => UnixListener::from_std(socket).map(Waiting::Unix),
    }
}

/// A socket that nobody listens on is left over from a process that was killed.
async fn remove_dead_socket(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match tokio::net::UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(PathBuf::from(path))
        }
        _ => Ok(()),
    }
}

fn explain(error: &io::Error, address: &ListenAddress) -> String {
    match (error.kind(), address) {
        (io::ErrorKind::AddrInUse, ListenAddress::Tcp { port, .. }) => format!(
            "port {port} is taken by another process; stop it (`ss -ltnp 'sport = :{port}'` names it), \
             or choose another port in the configuration"
        ),
        (io::ErrorKind::AddrInUse, ListenAddress::Unix { .. }) => {
            "another process listens there, or the path is a file; remove it or choose another path"
                .to_owned()
        }
        (io::ErrorKind::PermissionDenied, ListenAddress::Tcp { port, .. }) => {
            format!("this user may not open port {port}; choose one above 1023")
        }
        (io::ErrorKind::PermissionDenied, ListenAddress::Unix { .. }) => {
            "this user may not create it; choose a directory that it may write to".to_owned()
        }
        (io::ErrorKind::AddrNotAvailable, _) => {
            format!("{error}; this machine has no such interface, write one that it has")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn open(text: &str) -> Result<Listener, ListenError> {
        listen(&text.parse().unwrap(), Path::new("/nowhere")).await
    }

    #[tokio::test]
    async fn a_taken_port_says_which_and_what_to_do() {
        let first = open("tcp:0:interface=127.0.0.1").await.unwrap();
        let port = first.tcp_address().unwrap().port();
        let error = open(&format!("tcp:{port}:interface=127.0.0.1")).await.err().unwrap().to_string();
        assert!(
            error.starts_with(&format!("can't listen on 127.0.0.1:{port}: port {port} is taken")),
            "{error}"
        );
        assert!(error.contains("choose another port"), "{error}");
    }

    #[tokio::test]
    async fn a_left_over_unix_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        let address: ListenAddress = "unix:web.sock:mode=600".parse().unwrap();
        let first = listen(&address, base).await.unwrap();
        let error = listen(&address, base).await.err().unwrap().to_string();
        assert!(error.contains("another process listens there"), "{error}");
        drop(first);
        listen(&address, base).await.unwrap();
        let mode = std::fs::metadata(base.join("web.sock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn without_an_interface_both_families_come_in_and_look_like_themselves() {
        for text in ["0", "tcp:0", r"tcp:0:interface=\:\:", "tcp6:0"] {
            let listener = open(text).await.unwrap();
            let address = listener.tcp_address().unwrap();
            let hosts: &[&str] = if address.is_ipv6() { &["127.0.0.1", "::1"] } else { &["127.0.0.1"] };
            for host in hosts {
                let client = TcpStream::connect((*host, address.port())).await.unwrap();
                let peer = listener.accept().await.unwrap().peer().to_owned();
                assert_eq!(peer, client.local_addr().unwrap().to_string(), "{text}");
            }
        }
    }

    #[tokio::test]
    async fn behind_a_proxy_the_peer_is_who_it_names() {
        let listener = open("haproxy:tcp:0:interface=127.0.0.1").await.unwrap();
        assert!(!listener.takes_this_machine_only());
        for (sent, peer) in [
            ("PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\nhello", Ok("192.0.2.7:8080")),
            ("GET / HTTP/1.1\r\n\r\n", Err("send-proxy")),
        ] {
            let mut client = TcpStream::connect(listener.tcp_address().unwrap()).await.unwrap();
            client.write_all(sent.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            let incoming = listener.accept().await.unwrap();
            assert_eq!(incoming.peer(), client.local_addr().unwrap().to_string(), "it has said nothing yet");
            match (incoming.open().await, peer) {
                (Ok(mut opened), Ok(peer)) => {
                    assert_eq!(opened.peer, peer);
                    let mut said = String::new();
                    opened.stream.read_to_string(&mut said).await.unwrap();
                    assert_eq!(said, "hello");
                }
                (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
                (opened, _) => panic!("{sent:?}: {:?}", opened.map(|opened| opened.peer)),
            }
        }
    }

    #[tokio::test]
    async fn tls_is_spoken_and_bad_files_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(base.join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(base.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let open = async |text: &str| listen(&text.parse().unwrap(), base).await;
        let listener = open("ssl:0:privateKey=key.pem:certKey=cert.pem:interface=127.0.0.1").await.unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let tcp = TcpStream::connect(listener.tcp_address().unwrap()).await.unwrap();
        let server = async {
            let mut stream = listener.accept().await.unwrap().open().await.unwrap().stream;
            stream.write_all(b"hello").await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let client = async {
            let mut stream = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
            let mut said = String::new();
            stream.read_to_string(&mut said).await.unwrap();
            said
        };
        let ((), said) = tokio::join!(server, client);
        assert_eq!(said, "hello");

        for (text, problem) in [
            ("ssl:0:privateKey=key.pem:certKey=none.pem", "none.pem"),
            ("ssl:0:privateKey=cert.pem:certKey=cert.pem", "cert.pem"),
        ] {
            let error = open(text).await.err().unwrap().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[tokio::test]
    async fn a_certificate_that_ran_out_is_told_and_listened_with() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(base.join("key.pem"), key.serialize_pem()).unwrap();
        for (from, to, words) in
            [(2020, 2021, "cert.pem ran out "), (2020, 4000, ""), (4000, 4001, "cert.pem is good only in ")]
        {
            let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
            std::fs::write(base.join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
            let address = "ssl:0:privateKey=key.pem:certKey=cert.pem:interface=127.0.0.1".parse().unwrap();
            let listener = listen(&address, base).await.unwrap();
            let warning = listener.warning().unwrap_or_default();
            assert!(if words.is_empty() { warning.is_empty() } else { warning.contains(words) }, "{warning}");
        }
    }
}
