//! Sockets that were opened before this process was started: systemd's, by `LISTEN_FDS`, `LISTEN_FDNAMES` and `LISTEN_PID`.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::{Mutex, OnceLock, PoisonError};

use listenfd::ListenFd;
use muster_core::strports::{Domain, Handed};

/// More of them are left alone: a unit names each of its sockets by hand.
const MAX_SOCKETS: usize = 64;

/// One of them.
pub(crate) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// All of them, each until somebody has taken it.
struct Sockets {
    by_index: Vec<Option<Socket>>,
    names: HashMap<String, usize>,
}

static SOCKETS: OnceLock<Mutex<Sockets>> = OnceLock::new();

/// Takes over the sockets that this process was started with. To be called before it has other threads and starts other
/// processes, which shall not inherit them.
pub fn take_handed_sockets() {
    SOCKETS.get_or_init(|| Mutex::new(Sockets::from_environment()));
}

impl Sockets {
    fn from_environment() -> Sockets {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut given = ListenFd::from_env();
        let count = given.len().min(MAX_SOCKETS);
        let by_index = (0..count).map(|index| take(&mut given, index)).collect();
        // As with Twisted, a name that several have means the last of them.
        let names =
            names.split(':').take(count).enumerate().map(|(index, name)| (name.to_owned(), index)).collect();
        Sockets { by_index, names }
    }

    fn take(&mut self, domain: Domain, which: &Handed) -> io::Result<Socket> {
        let failed = |reason: String| Err(io::Error::other(reason));
        if self.by_index.is_empty() {
            return failed(
                "systemd gave this process no sockets; start it by a service with a .socket unit, as \
                 `muster master DIR`"
                    .to_owned(),
            );
        }
        let index = match which {
            Handed::Index(index) => *index,
            Handed::Name(name) => match self.names.get(name) {
                Some(index) => *index,
                None => {
                    let mut known: Vec<&str> = self.names.keys().map(String::as_str).collect();
                    known.sort_unstable();
                    return failed(format!("systemd gave none of that name; it gave {}", known.join(", ")));
                }
            },
        };
        let count = self.by_index.len();
        let Some(place) = self.by_index.get_mut(index) else {
            return failed(format!("systemd gave {count} sockets only, of which the first is 0"));
        };
        match (place.take(), domain) {
            (Some(socket @ Socket::Tcp(_)), Domain::Tcp) | (Some(socket @ Socket::Unix(_)), Domain::Unix) => {
                Ok(socket)
            }
            (Some(other), _) => {
                let domain = match &other {
                    Socket::Tcp(_) => "INET or INET6",
                    Socket::Unix(_) => "UNIX",
                };
                *place = Some(other);
                failed(format!("that socket is of another domain; write domain={domain}"))
            }
            (None, _) => failed(
                "it is taken by another port of this configuration, or no socket that streams connect to"
                    .to_owned(),
            ),
        }
    }
}

/// One that is neither isn't anything here.
fn take(given: &mut ListenFd, index: usize) -> Option<Socket> {
    if let Ok(Some(tcp)) = given.take_tcp_listener(index) {
        return Some(Socket::Tcp(tcp));
    }
    given.take_unix_listener(index).ok().flatten().map(Socket::Unix)
}

/// Takes one; nobody else gets it again.
pub(crate) fn socket(domain: Domain, which: &Handed) -> io::Result<Socket> {
    let sockets = SOCKETS.get_or_init(|| Mutex::new(Sockets::from_environment()));
    let taken = sockets.lock().unwrap_or_else(PoisonError::into_inner).take(domain, which)?;
    match &taken {
        Socket::Tcp(socket) => socket.set_nonblocking(true)?,
        Socket::Unix(socket) => socket.set_nonblocking(true)?,
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_taken_once_and_a_wrong_one_says_why() {
        let home = tempfile::tempdir().unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let unix = UnixListener::bind(home.path().join("sock")).unwrap();
        let names = [("web".to_owned(), 0), ("local".to_owned(), 1)];
        let mut sockets = Sockets {
            by_index: vec![Some(Socket::Tcp(tcp)), Some(Socket::Unix(unix))],
            names: names.into_iter().collect(),
        };
        let mut refused = |domain, which: Handed| sockets.take(domain, &which).err().unwrap().to_string();
        let name = |name: &str| Handed::Name(name.to_owned());
        assert!(refused(Domain::Unix, Handed::Index(0)).contains("write domain=INET or INET6"));
        assert!(refused(Domain::Tcp, name("local")).contains("write domain=UNIX"));
        assert!(refused(Domain::Tcp, Handed::Index(2)).contains("2 sockets only"));
        assert!(refused(Domain::Tcp, name("other")).contains("it gave local, web"));
        assert!(matches!(sockets.take(Domain::Tcp, &name("web")), Ok(Socket::Tcp(_))));
        assert!(matches!(sockets.take(Domain::Unix, &Handed::Index(1)), Ok(Socket::Unix(_))));
        let again = sockets.take(Domain::Tcp, &Handed::Index(0)).err().unwrap().to_string();
        assert!(again.contains("taken by another port"), "{again}");
        let mut none = Sockets { by_index: Vec::new(), names: HashMap::new() };
        let refused = none.take(Domain::Tcp, &Handed::Index(0)).err().unwrap().to_string();
        assert!(refused.contains("muster master DIR"), "{refused}");
    }
}
