//! What a router is configured by: a small JSON file, or a few options.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use muster_router_compat::net::{Listener, tls::Identity, tls::ServerTls};
use muster_router_compat::router::{Limits, Realm, RouterConfig};
use serde::Deserialize;

/// Largest file that is read (1 MiB); a larger one is no configuration of a router.
const MAX_BYTES: u64 = 1 << 20;

/// A router: where it listens, and what it allows.
#[derive(Clone, Debug)]
pub struct RouterFile {
    /// Where it listens.
    pub listen: Vec<Listen>,
    /// What it allows.
    pub router: RouterConfig,
}

/// The keys of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    listen: Vec<Listen>,
    realms: BTreeMap<String, Realm>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    origins: Vec<String>,
}

/// A socket.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Listen {
    /// A TCP port.
    Tcp {
        /// `HOST:PORT`; port 0 takes any free one.
        address: String,
        /// With TLS under it.
        #[serde(default)]
        tls: Option<Tls>,
    },
    /// A unix socket.
    Unix {
        /// Its path.
        unix: PathBuf,
    },
}

/// Files for TLS. Names are relative to the directory of the router's file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// A PEM file with the router's certificate.
    pub certificate: PathBuf,
    /// A PEM file with its key.
    pub key: PathBuf,
    /// A PEM file of certificate authorities; with it every peer needs a certificate of one of them.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

impl RouterFile {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<RouterFile> {
        let told = || format!("can't read the router's configuration {}", path.display());
        let size = std::fs::metadata(path).with_context(told)?.len();
        if size > MAX_BYTES {
            bail!("{} is no configuration of a router: it has {size} bytes", path.display());
        }
        let text = std::fs::read_to_string(path).with_context(told)?;
        let Keys { listen, realms, limits, origins } = serde_json::from_str(&text).with_context(told)?;
        let mut file = RouterFile { listen, router: RouterConfig { realms, limits, origins } };
        if file.listen.is_empty() {
            bail!("{}: 'listen' names no socket", path.display());
        }
        let problems: Vec<String> = file.router.problems().iter().map(ToString::to_string).collect();
        if !problems.is_empty() {
            bail!("{}: {}", path.display(), problems.join("; "));
        }
        let base = path.parent().unwrap_or(Path::new("."));
        file.listen.iter_mut().for_each(|listen| listen.resolve(base));
        Ok(file)
    }

    /// Opens all sockets, or none.
    pub async fn open(&self) -> Result<Vec<Listener>> {
        let mut listeners = Vec::new();
        for listen in &self.listen {
            listeners.push(listen.open().await?);
        }
        Ok(listeners)
    }

    /// What is not safe about it.
    pub fn warnings(&self) -> Vec<String> {
        let anonymous = self.router.realms.iter().filter(|(_, realm)| realm.anonymous.is_some());
        let realms: Vec<&str> = anonymous.map(|(name, _)| name.as_str()).collect();
        let exposed = self.listen.iter().filter(|listen| listen.is_reachable_from_elsewhere());
        if realms.is_empty() {
            return Vec::new();
        }
        exposed
            .map(|listen| {
                format!(
                    "everybody who reaches {listen} can join the realm {} without authentication; ask for \
                     WAMP-CRA, or for client certificates",
                    realms.join(", ")
                )
            })
            .collect()
    }
}

impl Listen {
    fn resolve(&mut self, base: &Path) {
        match self {
            Listen::Unix { unix } => *unix = base.join(&unix),
            Listen::Tcp { tls: Some(tls), .. } => {
                tls.certificate = base.join(&tls.certificate);
                tls.key = base.join(&tls.key);
                tls.client_ca = tls.client_ca.take().map(|path| base.join(path));
            }
            Listen::Tcp { tls: None, .. } => {}
        }
    }

    async fn open(&self) -> Result<Listener> {
        let told = || format!("the router can't listen on {self}");
        match self {
            Listen::Unix { unix } => Listener::unix(unix).with_context(told),
            Listen::Tcp { address, tls } => {
                let tls = tls.as_ref().map(|tls| tls.load()).transpose().with_context(told)?;
                Listener::tcp(address, tls).await.with_context(told)
            }
        }
    }

    fn is_reachable_from_elsewhere(&self) -> bool {
        match self {
            Listen::Unix { .. } => false,
            Listen::Tcp { tls: Some(Tls { client_ca: Some(_), .. }), .. } => false,
            Listen::Tcp { address, .. } => {
                let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
                let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
                host != "localhost" && !ip.is_ok_and(|ip| ip.is_loopback())
            }
        }
    }
}

impl Tls {
    fn load(&self) -> Result<std::sync::Arc<rustls::ServerConfig>> {
        let identity = Identity { certificate: self.certificate.clone(), key: self.key.clone() };
        Ok(ServerTls { identity, client_ca: self.client_ca.clone() }.load()?)
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Listen::Unix { unix } => write!(f, "{}", unix.display()),
            Listen::Tcp { address, .. } => f.write_str(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RouterFile> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("router.json");
        std::fs::write(&path, text).unwrap();
        RouterFile::read(&path)
    }

    #[test]
    fn a_whole_file_is_read() {
        let file = read(
            r#"{"listen": [{"address": "0.0.0.0:0"}, {"unix": "r.sock"},
                           {"address": "[::1]:0", "tls": {"certificate": "c.pem", "key": "k.pem"}}],
                "realms": {"buildbot": {
                    "roles": {"master": [{"uri": "org.buildbot.", "match": "prefix", "publish": true, "subscribe": true}],
                              "viewer": [{"uri": "org.buildbot.", "match": "prefix", "subscribe": true}]},
                    "anonymous": "viewer",
                    "principals": {"m1": {"role": "master", "wampcra": {"secret": "s"}},
                                   "m2": {"role": "master", "ticket": "t"}}}},
                "limits": {"subscriptions": 5}}"#,
        )
        .unwrap();
        assert_eq!(file.router.limits.subscriptions, 5);
        assert!(
            matches!(&file.listen[1], Listen::Unix { unix } if unix.ends_with("r.sock") && unix.is_absolute())
        );
        assert_eq!(file.warnings().len(), 1, "{:?}", file.warnings());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            (r#"{"listen": [], "realms": {"r": {"roles": {"a": []}, "anonymous": "a"}}}"#, "names no socket"),
            (r#"{"listen": [{"address": "h:1"}], "realms": {}}"#, "no realm"),
            (r#"{"listen": [{"address": "h:1"}], "realms": {"r": {"roles": {}}}}"#, "nobody could join"),
            (r#"{"listen": [{"port": 1}], "realms": {}}"#, "did not match"),
            (r#"{"listen": [{"address": "h:1"}], "realms": {}, "limts": {}}"#, "unknown field `limts`"),
            (
                r#"{"listen": [{"address": "h:1"}], "realms": {"r": {"roles": {"a": []},
                    "principals": {"m": {"role": "a", "ticket": "t", "tikcet": "t"}}}}}"#,
                "unknown field `tikcet`",
            ),
            ("[", "can't read"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }
}
