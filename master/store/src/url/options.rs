//! What the parameters of a URL choose: TLS and the pool.

use std::{path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;

/// Why a URL can't be used, and what to write instead.
pub(super) type Refusal = String;

/// Whether the connection is encrypted, and what is checked of the server: libpq's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    Disable,
    /// When the server offers it.
    Prefer,
    /// Always, with whatever certificate.
    Require,
    /// With a certificate that a known authority signed.
    VerifyCa,
    /// The same, for the host's own name.
    VerifyFull,
}

/// Encryption of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// How strict.
    pub mode: TlsMode,
    /// Certificates of authorities (PEM); `None`: the system's.
    pub root: Option<PathBuf>,
    /// Our own certificate and its key (PEM).
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Sizes and times of the connections. The defaults suit a cluster of masters behind one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Connections at most (`pool_size`, 10), of a master including the one of its lease: ten masters stay within PostgreSQL's default of 100.
    pub size: usize,
    /// How long a transaction waits for a free connection before it fails (`pool_timeout`, 30 s).
    pub wait: Duration,
    /// How long connecting may take (`connect_timeout`, 10 s).
    pub connect_timeout: Duration,
    /// A connection that was idle for longer is replaced (`max_idle`, 300 s): fire walls forget idle connections.
    pub max_idle: Duration,
    /// Idle seconds before the first keepalive probe (`keepalives_idle`, 30 s).
    pub keepalive_idle: Duration,
    /// Seconds between probes (`keepalives_interval`, 10 s).
    pub keepalive_interval: Duration,
    /// Probes without an answer that end a connection (`keepalives_count`, 3).
    pub keepalive_count: u32,
    /// How long transactions are tried again while the server is away (`reconnect_timeout`, 60 s); then they fail.
    pub reconnect_timeout: Duration,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool {
            size: 10,
            wait: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            max_idle: Duration::from_secs(300),
            keepalive_idle: Duration::from_secs(30),
            keepalive_interval: Duration::from_secs(10),
            keepalive_count: 3,
            reconnect_timeout: Duration::from_secs(60),
        }
    }
}

pub(super) fn decode(text: &str) -> Result<String, Refusal> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(|text| text.into_owned())
        .map_err(|_| format!("{text:?} is not UTF-8 when its % codes are decoded"))
}
