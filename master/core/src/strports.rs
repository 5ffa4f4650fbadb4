//! Where to listen, as Twisted's port strings say it (`docs/compat/behaviour-1-config.md` 1.7): `8010`,
//! `tcp:8010:interface=127.0.0.1`, `tcp6:8010:interface=\:\:1`, `ssl:8010:privateKey=key.pem:certKey=cert.pem`,
//! `unix:/run/muster.sock:mode=660`.
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
        "tls" | "haproxy" | "systemd" | "stdio" => Err(format!(
            "{kind} is not supported; listen with tcp, ssl or unix, behind a proxy where that is needed"
        )),
        _ => Err("write a number, or tcp:PORT, tcp6:PORT, ssl:PORT:privateKey=FILE:certKey=FILE, unix:PATH"
            .to_owned()),
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
            ("systemd:domain=INET:index=0", "not supported"),
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
