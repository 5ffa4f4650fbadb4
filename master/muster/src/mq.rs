//! `c['mq']`, with the files that it names: what a start needs, and what can't work.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use muster_bus::{EVERYTHING, WampOptions};
use muster_config::snapshot::{EmbeddedRouter, WampAuthMethod, WampConfig};
use muster_core::render::Renderable;
use muster_router_compat::Match;
use muster_router_compat::auth::{Credentials, Secret};
use muster_router_compat::net::address::RouterUrl;
use muster_router_compat::net::tls::{ClientTls, Identity};
use muster_router_compat::router::{Action, Proof, Realm, RouterConfig};

use crate::router_file::{Listen, RouterFile};

/// Longest first line of a file with a secret.
const MAX_SECRET_BYTES: u64 = 4096;

/// A bus over a router.
pub struct Mq {
    /// Which router, and as whom.
    pub options: WampOptions,
    /// The router, when it runs inside this master.
    pub embedded: Option<RouterFile>,
}

impl Mq {
    /// Reads secrets, certificates and the router's file, and sees whether they fit together.
    pub fn read(config: &WampConfig, basedir: &Path) -> Result<Mq> {
        let options = options(config, basedir)?;
        let embedded = config
            .embedded
            .as_ref()
            .map(|embedded| embedded_router(embedded, &options, basedir))
            .transpose()?;
        Ok(Mq { options, embedded })
    }
}

fn options(config: &WampConfig, basedir: &Path) -> Result<WampOptions> {
    let Renderable::Literal(serde_json::Value::String(url)) = &config.router_url else {
        bail!("c['mq']['router_url'] must be a plain text such as \"ws://localhost:8080/ws\"");
    };
    let url: RouterUrl = url.parse().context("c['mq']['router_url']")?;
    let file = |name: &Option<String>| name.as_ref().map(|name| basedir.join(name));
    let identity = match (file(&config.tls_certificate), file(&config.tls_key)) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        _ => None,
    };
    let tls = ClientTls { ca: file(&config.tls_ca), identity };
    if matches!(url, RouterUrl::Tcp { tls: true, .. }) {
        tls.load().context("c['mq']: TLS")?;
    }
    let (realm, orders_role) = (config.realm.clone(), config.orders_role.clone());
    Ok(WampOptions { url, realm, credentials: credentials(config, basedir)?, tls, orders_role })
}

fn credentials(config: &WampConfig, basedir: &Path) -> Result<Credentials> {
    let proof = || -> Result<(String, Secret)> {
        let authid = config.authid.clone().context("c['mq']['authid'] is missing")?;
        let secret = match (&config.secret, &config.secret_file) {
            (Some(secret), _) => secret.clone(),
            (None, Some(file)) => read_secret(&basedir.join(file))?,
            (None, None) => bail!("c['mq']['secret'] is missing"),
        };
        Ok((authid, Secret::new(secret)))
    };
    Ok(match config.auth_method {
        WampAuthMethod::Anonymous => Credentials::Anonymous,
        WampAuthMethod::Ticket => {
            let (authid, ticket) = proof()?;
            Credentials::Ticket { authid, ticket }
        }
        WampAuthMethod::WampCra => {
            let (authid, secret) = proof()?;
            Credentials::WampCra { authid, secret }
        }
    })
}

fn read_secret(path: &Path) -> Result<String> {
    let told = || format!("c['mq']['secret_file']: can't read {}", path.display());
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_SECRET_BYTES).read_to_string(&mut text))
        .with_context(told)?;
    let first = text.lines().next().filter(|line| !line.is_empty());
    first.map(str::to_owned).ok_or_else(|| anyhow!("{}: its first line is empty", told()))
}

fn embedded_router(embedded: &EmbeddedRouter, options: &WampOptions, basedir: &Path) -> Result<RouterFile> {
    let Some(name) = &embedded.file else { return same_as_client(options) };
    let file = RouterFile::read(&basedir.join(name)).context("c['mq']['embedded']")?;
    lets_in(&file.router, options).with_context(|| format!("c['mq']['embedded']: {name}"))?;
    Ok(file)
}

/// Whether the router inside a master has room for that master itself.
fn lets_in(router: &RouterConfig, options: &WampOptions) -> Result<()> {
    let realm = &options.realm;
    let Some(found) = router.realms.get(realm) else {
        bail!("it has no realm '{realm}', which c['mq']['realm'] names");
    };
    let Some(role) = role_of(found, &options.credentials) else {
        bail!(
            "it does not let this master in: nothing in realm '{realm}' fits c['mq']'s auth_method '{}'{}",
            options.credentials.method(),
            options.credentials.authid().map(|authid| format!(" and authid '{authid}'")).unwrap_or_default()
        );
    };
    let rights = &found.roles[role];
    if !rights.allows(Action::Publish, &format!("{EVERYTHING}masters.1.started")) {
        bail!("the role '{role}' of this master may not publish under '{EVERYTHING}'");
    }
    if !rights.allows_pattern(Match::Prefix, EVERYTHING) {
        bail!("the role '{role}' of this master may not subscribe to the prefix '{EVERYTHING}'");
    }
    Ok(())
}

fn role_of<'a>(realm: &'a Realm, credentials: &Credentials) -> Option<&'a String> {
    let principal = credentials.authid().and_then(|authid| realm.principals.get(authid));
    match (credentials, principal.map(|principal| (&principal.proof, &principal.role))) {
        (Credentials::Anonymous, _) => realm.anonymous.as_ref(),
        (Credentials::Ticket { ticket, .. }, Some((Proof::Ticket(wanted), role))) => {
            (wanted == ticket).then_some(role)
        }
        (Credentials::WampCra { secret, .. }, Some((Proof::WampCra { secret: wanted, salting }, role))) => {
            let key = salting.as_ref().map_or_else(|| secret.clone(), |salting| salting.derive(secret));
            (*wanted == key).then_some(role)
        }
        _ => None,
    }
}

/// A router that listens where `router_url` points to, and asks everybody for the master's own credentials.
fn same_as_client(options: &WampOptions) -> Result<RouterFile> {
    let listen = match &options.url {
        RouterUrl::Unix(path) => Listen::Unix { unix: PathBuf::from(path) },
        RouterUrl::Tcp { tls: true, .. } => {
            bail!("c['mq']: an embedded router with wss:// needs its certificate: 'embedded': 'router.json'")
        }
        RouterUrl::Tcp { host, port, .. } => {
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            Listen::Tcp { address: format!("{host}:{port}"), tls: None }
        }
    };
    let router = match &options.credentials {
        Credentials::Anonymous => RouterConfig::open(&options.realm),
        Credentials::Ticket { authid, ticket } => {
            RouterConfig::closed(&options.realm, authid, Proof::Ticket(ticket.clone()))
        }
        Credentials::WampCra { authid, secret } => {
            let proof = Proof::WampCra { secret: secret.clone(), salting: None };
            RouterConfig::closed(&options.realm, authid, proof)
        }
    };
    Ok(RouterFile { listen: vec![listen], router })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is wrong with a configuration beside a router's file.
    fn refused(mq: Value, router: Option<Value>) -> String {
        let dir = tempfile::tempdir().unwrap();
        if let Some(router) = router {
            std::fs::write(dir.path().join("router.json"), router.to_string()).unwrap();
        }
        let mut whole = json!({"router_url": "ws://localhost:8080/ws", "realm": "buildbot"});
        whole.as_object_mut().unwrap().extend(mq.as_object().unwrap().clone());
        let url = whole["router_url"].as_str().unwrap().to_owned();
        whole["router_url"] = serde_json::to_value(Renderable::Literal(url.into())).unwrap();
        let config: WampConfig = serde_json::from_value(whole).unwrap();
        Mq::read(&config, dir.path()).err().map(|error| format!("{error:#}")).unwrap_or_default()
    }

    #[test]
    fn files_and_addresses_that_can_not_work_are_named() {
        for (mq, says) in [
            (json!({}), ""),
            (json!({"router_url": "ws://localhost:99999/ws"}), "the port is no number from 1 to 65535"),
            (json!({"router_url": "wss://localhost/ws", "tls_ca": "missing.pem"}), "missing.pem"),
            (json!({"auth_method": "ticket", "authid": "m1", "secret_file": "missing"}), "can't read"),
            (json!({"embedded": {"file": null}}), ""),
            (
                json!({"embedded": {"file": null}, "router_url": "wss://localhost/ws"}),
                "needs its certificate",
            ),
            (json!({"embedded": {"file": "router.json"}}), "can't read the router's configuration"),
        ] {
            let said = refused(mq.clone(), None);
            assert!(said.contains(says) && said.is_empty() == says.is_empty(), "{mq}: {said}");
        }
    }

    #[test]
    fn a_router_inside_a_master_lets_that_master_in() {
        let router = |realm: &str, publish: bool, subscribe: &str, who: Value| {
            let rule = |uri: &str, publish: bool, subscribe: bool| json!({"uri": uri, "match": "prefix", "publish": publish, "subscribe": subscribe});
            let mut realm_config =
                json!({"roles": {"master": [rule("", publish, false), rule(subscribe, publish, true)]}});
            realm_config.as_object_mut().unwrap().extend(who.as_object().unwrap().clone());
            json!({"listen": [{"address": "127.0.0.1:0"}], "realms": {realm: realm_config}})
        };
        let anonymous = || json!({"anonymous": "master"});
        let ticket = || json!({"principals": {"m1": {"role": "master", "ticket": "t"}}});
        let as_m1 = |secret: &str| json!({"auth_method": "ticket", "authid": "m1", "secret": secret});
        let everything = "org.buildbot.";
        for (mq, file, says) in [
            (json!({}), router("buildbot", true, everything, anonymous()), ""),
            (as_m1("t"), router("buildbot", true, everything, ticket()), ""),
            (as_m1("x"), router("buildbot", true, everything, ticket()), "does not let this master in"),
            (json!({}), router("buildbot", true, everything, ticket()), "does not let this master in"),
            (json!({}), router("other", true, everything, anonymous()), "has no realm 'buildbot'"),
            (json!({}), router("buildbot", false, everything, anonymous()), "may not publish"),
            (
                json!({}),
                router("buildbot", true, "org.buildbot.mq.builds.", anonymous()),
                "may not subscribe",
            ),
        ] {
            let mut mq = mq;
            mq["embedded"] = json!({"file": "router.json"});
            let said = refused(mq.clone(), Some(file));
            assert!(
                said.contains(says) && said.is_empty() == says.is_empty(),
                "{mq}: {said:?} is not {says:?}"
            );
        }
    }
}
