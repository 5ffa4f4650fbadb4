//! Where to listen, as Twisted's port strings say it (`docs/compat/behaviour-1-config.md` 1.7): `8010`,
//! `tcp:8010:interface=127.0.0.1`, `tcp6:8010:interface=\:\:1`, `ssl:8010:privateKey=key.pem:certKey=cert.pem`,
//! `unix:/run/muster.sock:mode=660`, `systemd:domain=INET:index=0`, and `haproxy:` before any of them.
//!
//! One thing differs on purpose: a TCP port without an interface takes IPv4 and IPv6, not IPv4 alone.

use std::path::PathBuf;

/// A parsed port string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP port.
    Tcp {
        /// The port; 0 takes any free one.
        port: u16,
        /// Address or name of the interface; `0.0.0.0` is every IPv4 one, `::` and `None` are every one. Without
        /// IPv6 on the machine, `None` is every IPv4 one.
        interface: Option<String>,
        /// How many connections may wait to be accepted, when given.
        backlog: Option<u32>,
        /// Every connection begins with TLS.
        tls: Option<TlsFiles>,
    },
    /// A socket in the file system.
    Unix {
        /// Its path.
        path: PathBuf,
        /// Its permissions, when given.
        mode: Option<u32>,
        /// How many connections may wait to be accepted, when given.
        backlog: Option<u32>,
    },
    /// A socket that was opened before the master was started, as systemd does.
    Systemd {
        /// What it is for.
        domain: Domain,
        /// Which one.
        socket: Handed,
    },
    /// Each connection begins with a header of the PROXY protocol, which tells who is behind the proxy.
    Proxied(Box<ListenAddress>),
}

/// What a socket of systemd is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// TCP, of either family: systemd opens one socket for both unless it is told otherwise.
    Tcp,
    /// A socket in the file system.
    Unix,
}

/// Which of systemd's sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handed {
    /// By its place, from 0.
    Index(usize),
    /// By the `FileDescriptorName=` of its unit, or the unit's name.
    Name(String),
}

/// PEM files of a port that speaks TLS. Relative paths begin at the master's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The private key.
    pub key: PathBuf,
    /// The certificate; more of the chain may follow it.
    pub certificate: PathBuf,
    /// The rest of the chain, when it stands in a file of its own.
    pub chain: Option<PathBuf>,
}

/// A port string that can't be used: which, why, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("port {text:?}: {reason}")]
pub struct StrportsError {
    text: String,
    reason: String,
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ListenAddress::Tcp { port, interface: None, .. } => write!(f, "port {port} of every interface"),
            ListenAddress::Tcp { port, interface: Some(interface), .. } if interface.contains(':') => {
                write!(f, "[{interface}]:{port}")
            }
            ListenAddress::Tcp { port, interface: Some(interface), .. } => write!(f, "{interface}:{port}"),
            ListenAddress::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            ListenAddress::Systemd { socket: Handed::Index(index), .. } => {
                write!(f, "socket {index} of systemd")
            }
            ListenAddress::Systemd { socket: Handed::Name(name), .. } => {
                write!(f, "socket {name:?} of systemd")
            }
            ListenAddress::Proxied(inner) => write!(f, "{inner} behind a proxy"),
        }
    }
}

impl std::str::FromStr for ListenAddress {
    type Err = StrportsError;

    fn from_str(text: &str) -> Result<ListenAddress, StrportsError> {
        parse(text).map_err(|reason| StrportsError { text: text.to_owned(), reason })
    }
}

fn parse(text: &str) -> Result<ListenAddress, String> {
    let Some(inner) = text.strip_prefix("haproxy:") else { return parse_plain(text) };
    if !inner.contains(':') {
        return Err(format!("the type is missing after haproxy; write haproxy:tcp:{}", or_a_port(inner)));
    }
    if inner.starts_with("haproxy:") {
        return Err("haproxy stands there twice; a connection begins with one header".to_owned());
    }
    Ok(ListenAddress::Proxied(Box::new(parse_plain(inner)?)))
}

fn or_a_port(given: &str) -> &str {
    if given.parse::<u16>().is_ok() { given } else { "PORT" }
}

fn parse_plain(text: &str) -> Result<ListenAddress, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return tcp(Fields { positional: vec![text.to_owned()], named: Vec::new() }, None, None);
    }
    let (kind, mut fields) = split(text)?;
    match kind.as_str() {
        "tcp" => tcp(fields, None, None),
        "tcp6" => tcp(fields, Some("::"), None),
        "ssl" => {
            let tls = tls_files(&mut fields)?;
            tcp(fields, None, Some(tls))
        }
        "unix" => unix(fields),
        "systemd" => systemd(fields),
        "tls" | "stdio" => Err(format!(
            "{kind} is not supported; listen with tcp, ssl, unix or systemd, behind a proxy where that is needed"
        )),
        _ => {
            Err("write a number, or tcp:PORT, tcp6:PORT, ssl:PORT:privateKey=FILE:certKey=FILE, unix:PATH, \
                  systemd:domain=INET:index=0, haproxy:tcp:PORT"
                .to_owned())
        }
    }
}

/// The parts after the type.
struct Fields {
    positional: Vec<String>,
    named: Vec<(String, String)>,
}

impl Fields {
    /// Takes the value called `name`, or the one at its place.
    fn take(&mut self, name: &str) -> Option<String> {
        if let Some(value) = self.take_named(name) {
            return Some(value);
        }
        (!self.positional.is_empty()).then(|| self.positional.remove(0))
    }

    /// Takes the value called `name`.
    fn take_named(&mut self, name: &str) -> Option<String> {
        let index = self.named.iter().position(|(known, _)| known == name)?;
        Some(self.named.remove(index).1)
    }

    fn take_number(&mut self, name: &str) -> Result<Option<u32>, String> {
        self.take(name)
            .map(|text| text.parse().map_err(|_| format!("{name} {text:?} is not a number")))
            .transpose()
    }

    fn nothing_left(&self) -> Result<(), String> {
        match (self.named.first(), self.positional.first()) {
            (Some((name, _)), _) => Err(format!("{name} is not known here")),
            (None, Some(part)) => Err(format!("{part:?} is one part too many")),
            (None, None) => Ok(()),
        }
    }
}

/// Cuts at colons; a backslash takes the next character as it is.
fn split(text: &str) -> Result<(String, Fields), String> {
    let mut fields = Fields { positional: Vec::new(), named: Vec::new() };
    let mut name: Option<String> = None;
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next() {
            Some('\\') => value.push(characters.next().ok_or("it ends with a backslash")?),
            Some('=') if name.is_none() => name = Some(std::mem::take(&mut value)),
            end @ (Some(':') | None) => {
                let value = std::mem::take(&mut value);
                match name.take() {
                    Some(name) => fields.named.push((name, value)),
                    None if fields.named.is_empty() => fields.positional.push(value),
                    None => {
                        return Err(
                            "a nameless part follows a named one; a colon inside a value is written \\:"
                                .to_owned(),
                        );
                    }
                }
                if end.is_none() {
                    break;
                }
            }
            Some(character) => value.push(character),
        }
    }
    if fields.positional.is_empty() {
        return Err("it begins with a named part; begin with tcp:, tcp6:, ssl: or unix:".to_owned());
    }
    let kind = fields.positional.remove(0);
    Ok((kind, fields))
}

fn tcp(mut fields: Fields, any: Option<&str>, tls: Option<TlsFiles>) -> Result<ListenAddress, String> {
    let port = fields.take("port").ok_or("the port is missing")?;
    let port = port.parse().map_err(|_| format!("{port:?} is not a port; ports are 0 to 65535"))?;
    let interface = fields.take("interface").filter(|interface| !interface.is_empty());
    let backlog = fields.take_number("backlog")?;
    fields.nothing_left()?;
    Ok(ListenAddress::Tcp { port, interface: interface.or(any.map(str::to_owned)), backlog, tls })
}

/// Takes what is TLS's own; all of it has to be named.
fn tls_files(fields: &mut Fields) -> Result<TlsFiles, String> {
    let key = fields.take_named("privateKey");
    let certificate = fields.take_named("certKey").or_else(|| key.clone());
    let (Some(key), Some(certificate)) = (key, certificate) else {
        return Err("privateKey=FILE and certKey=FILE are missing; both are PEM files".to_owned());
    };
    if fields.take_named("dhParameters").is_some() {
        return Err("dhParameters has no meaning any more: keys are agreed on elliptic curves; take it out"
            .to_owned());
    }
    match fields.take_named("sslmethod").as_deref() {
        None | Some("SSLv23_METHOD" | "TLS_METHOD" | "TLSv1_2_METHOD" | "TLSv1_3_METHOD") => {}
        Some(method) => {
            return Err(format!("{method} is not spoken, only TLS 1.2 and 1.3; take sslmethod out"));
        }
    }
    let chain = fields.take_named("extraCertChain").map(PathBuf::from);
    Ok(TlsFiles { key: key.into(), certificate: certificate.into(), chain })
}

fn unix(mut fields: Fields) -> Result<ListenAddress, String> {
    let path = fields.take("address").filter(|path| !path.is_empty()).ok_or("the path is missing")?;
    let mode = fields.take("mode");
    let mode = mode
        .map(|mode| {
            u32::from_str_radix(&mode, 8).map_err(|_| format!("mode {mode:?} is not an octal number"))
        })
        .transpose()?;
    let backlog = fields.take_number("backlog")?;
    // A lock file tells a live socket from a dead one; connecting to it tells the same without a file.
    fields.take("lockfile");
    fields.nothing_left()?;
    Ok(ListenAddress::Unix { path: PathBuf::from(path), mode, backlog })
}

fn systemd(mut fields: Fields) -> Result<ListenAddress, String> {
    let domain = match fields.take("domain").as_deref() {
        Some("INET" | "INET6") => Domain::Tcp,
        Some("UNIX") => Domain::Unix,
        Some(other) => return Err(format!("domain {other:?} is not known; it is INET, INET6 or UNIX")),
        None => return Err("domain=INET, INET6 or UNIX is missing".to_owned()),
    };
    let (index, name) = (fields.take("index"), fields.take("name"));
    fields.nothing_left()?;
    let socket = match (index.filter(|index| !index.is_empty()), name.filter(|name| !name.is_empty())) {
        (Some(index), None) => {
            Handed::Index(index.parse().map_err(|_| {
                format!("index {index:?} is not a number; the first of systemd's sockets is 0")
            })?)
        }
        (None, Some(name)) => Handed::Name(name),
        (Some(_), Some(_)) => return Err("index and name both say which socket; leave one out".to_owned()),
        (None, None) => return Err("index=NUMBER or name=NAME is missing".to_owned()),
    };
    Ok(ListenAddress::Systemd { domain, socket })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(port: u16, interface: Option<&str>, backlog: Option<u32>) -> ListenAddress {
        ListenAddress::Tcp { port, interface: interface.map(str::to_owned), backlog, tls: None }
    }

    #[test]
    fn port_strings_are_twisteds() {
        let cases = [
            ("8010", tcp(8010, None, None)),
            ("tcp:8010", tcp(8010, None, None)),
            ("tcp:8010:interface=", tcp(8010, None, None)),
            ("tcp:0", tcp(0, None, None)),
            ("tcp:8010:interface=127.0.0.1", tcp(8010, Some("127.0.0.1"), None)),
            ("tcp:port=8010:backlog=100", tcp(8010, None, Some(100))),
            (r"tcp:8010:interface=\:\:", tcp(8010, Some("::"), None)),
            (r"tcp6:8010:interface=\:\:1", tcp(8010, Some("::1"), None)),
            ("tcp6:port=8010", tcp(8010, Some("::"), None)),
        ];
        for (text, address) in cases {
            assert_eq!(text.parse(), Ok(address), "{text}");
        }
        let unix = ListenAddress::Unix { path: "/run/m.sock".into(), mode: Some(0o660), backlog: None };
        assert_eq!("unix:/run/m.sock:mode=660:lockfile=0".parse(), Ok(unix));
    }

    #[test]
    fn sockets_of_systemd_have_a_number_or_a_name() {
        let handed = |domain, socket| ListenAddress::Systemd { domain, socket };
        let (first, web) = (|| Handed::Index(0), || Handed::Name("web".to_owned()));
        for (text, address) in [
            ("systemd:domain=INET:index=0", handed(Domain::Tcp, first())),
            ("systemd:INET6:0", handed(Domain::Tcp, first())),
            ("systemd:domain=INET6:name=web", handed(Domain::Tcp, web())),
            ("systemd:UNIX:name=web", handed(Domain::Unix, web())),
            ("systemd:name=web:domain=UNIX", handed(Domain::Unix, web())),
        ] {
            assert_eq!(text.parse(), Ok(address), "{text}");
        }
    }

    #[test]
    fn a_proxy_stands_before_any_port() {
        for inner in ["tcp:8010", r"tcp6:8010:interface=\:\:1", "unix:/run/m.sock", "systemd:INET:0"] {
            let wrapped = Box::new(inner.parse().unwrap());
            assert_eq!(format!("haproxy:{inner}").parse(), Ok(ListenAddress::Proxied(wrapped)), "{inner}");
        }
    }

    #[test]
    fn tls_has_its_files() {
        let files = |text: &str| match text.parse() {
            Ok(ListenAddress::Tcp { port: 443, tls: Some(tls), .. }) => tls,
            other => panic!("{text}: {other:?}"),
        };
        let tls = files("ssl:443:privateKey=k.pem:certKey=c.pem:extraCertChain=/x.pem:sslmethod=TLS_METHOD");
        assert_eq!(
            tls,
            TlsFiles { key: "k.pem".into(), certificate: "c.pem".into(), chain: Some("/x.pem".into()) }
        );
        assert_eq!(files("ssl:port=443:privateKey=both.pem").certificate, PathBuf::from("both.pem"));
    }

    #[test]
    fn refusals_say_what_to_write() {
        let cases = [
            ("tcp:8010:interface=::", "a colon inside a value"),
            ("tcp:70000", "0 to 65535"),
            ("tcp:", "is not a port"),
            ("tcp:80:color=red", "color is not known"),
            ("ssl:443:certKey=c.pem", "privateKey=FILE and certKey=FILE are missing"),
            ("ssl:443:privateKey=k.pem:sslmethod=SSLv3_METHOD", "only TLS 1.2 and 1.3"),
            ("ssl:443:privateKey=k.pem:dhParameters=d.pem", "take it out"),
            ("stdio:", "not supported"),
            ("systemd:index=0", "domain=INET, INET6 or UNIX is missing"),
            ("systemd:domain=inet:index=0", "it is INET, INET6 or UNIX"),
            ("systemd:domain=INET", "index=NUMBER or name=NAME is missing"),
            ("systemd:domain=INET:index=", "index=NUMBER or name=NAME is missing"),
            ("systemd:domain=INET:index=-1", "not a number"),
            ("systemd:domain=INET:index=0:name=web", "leave one out"),
            ("systemd:domain=INET:index=0:backlog=5", "backlog is not known"),
            ("haproxy:8010", "write haproxy:tcp:8010"),
            ("haproxy:", "write haproxy:tcp:PORT"),
            ("haproxy:haproxy:tcp:8010", "twice"),
            ("haproxy:tcp:70000", "0 to 65535"),
            ("haproxy:stdio:", "not supported"),
            ("http", "write a number"),
            ("", "write a number"),
            ("tcp:80\\", "ends with a backslash"),
            ("unix:/s:mode=rw", "octal"),
        ];
        for (text, reason) in cases {
            let error = text.parse::<ListenAddress>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
