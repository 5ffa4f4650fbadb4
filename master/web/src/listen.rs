//! Sockets of the web server.

use std::{
    fs::Permissions,
    io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use muster_core::strports::ListenAddress;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket};

/// Connections that may wait to be accepted, unless the port string says otherwise. The kernel may allow less.
pub const DEFAULT_BACKLOG: u32 = 4_096;

/// A socket that waits for connections.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// The TCP address, which tells the port where any free one was asked for.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(_) => None,
        }
    }
}

/// Why a socket can't be opened, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {reason}")]
pub struct ListenError {
    address: String,
    reason: String,
}

/// Opens the socket that a port string asks for. `::` takes IPv4 connections too, as Linux does by default.
///
/// # Errors
/// [`ListenError`] says which port, why, and what to do.
pub async fn listen(address: &ListenAddress) -> Result<Listener, ListenError> {
    let opened = match address {
        ListenAddress::Tcp { port, interface, backlog } => {
            tcp(*port, interface, *backlog).await.map(Listener::Tcp)
        }
        ListenAddress::Unix { path, mode, backlog } => unix(path, *mode, *backlog).await.map(Listener::Unix),
    };
    opened.map_err(|error| ListenError { address: address.to_string(), reason: explain(&error, address) })
}

async fn tcp(port: u16, interface: &str, backlog: Option<u32>) -> io::Result<TcpListener> {
    let address = match interface.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port),
        Err(_) => {
            let mut found = tokio::net::lookup_host((interface, port)).await?;
            found
                .next()
                .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address"))?
        }
    };
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait until the old connections are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(backlog.unwrap_or(DEFAULT_BACKLOG))
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
    use super::*;

    async fn open(text: &str) -> Result<Listener, ListenError> {
        listen(&text.parse().unwrap()).await
    }

    #[tokio::test]
    async fn a_taken_port_says_which_and_what_to_do() {
        let first = open("tcp:0:interface=127.0.0.1").await.unwrap();
        let port = first.tcp_address().unwrap().port();
        let error = open(&format!("tcp:{port}:interface=127.0.0.1")).await.unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("can't listen on 127.0.0.1:{port}: port {port} is taken")),
            "{error}"
        );
        assert!(error.contains("choose another port"), "{error}");
    }

    #[tokio::test]
    async fn a_left_over_unix_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let text = format!("unix:{}/web.sock:mode=600", directory.path().display());
        let first = open(&text).await.unwrap();
        let error = open(&text).await.unwrap_err().to_string();
        assert!(error.contains("another process listens there"), "{error}");
        drop(first);
        open(&text).await.unwrap();
        let mode = std::fs::metadata(directory.path().join("web.sock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn both_families_reach_the_double_colon() {
        let Ok(listener) = open(r"tcp:0:interface=\:\:").await else { return };
        let port = listener.tcp_address().unwrap().port();
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    }
}
