//! What the log says about a configuration that is good, but not all of it in force or not safe.

use std::net::IpAddr;

use muster_config::snapshot::Snapshot;
use muster_core::{
    Role, Roles,
    strports::{Domain, ListenAddress},
};

/// One text for each, as far as it concerns a master with these roles.
pub fn about(snapshot: &Snapshot, roles: Roles) -> Vec<String> {
    let mut warnings = snapshot.warnings.clone();
    if roles.has(Role::Web) {
        warnings.extend(about_web(snapshot));
    }
    if snapshot.protocols.contains_key("null") {
        warnings.push("c['protocols']['null'] is not served: there are no local workers yet".to_owned());
    }
    warnings
}

fn about_web(snapshot: &Snapshot) -> Vec<String> {
    let Some(port) = &snapshot.www.port else { return Vec::new() };
    let mut warnings = Vec::new();
    if is_reachable_from_elsewhere(port) {
        warnings.push(format!(
            "everybody who reaches the web port ({port}) can start and stop builds: there is no log-in yet. To close \
             it, listen on this machine only, c['www']['port'] = 'tcp:8010:interface=127.0.0.1', behind a proxy that \
             asks who comes"
        ));
    }
    let given = |name: &str| snapshot.www.raw.get(name).is_some_and(|value| !value.is_null());
    if ["auth", "authz"].into_iter().any(given) {
        warnings.push("c['www']['auth'] and ['authz'] are not supported yet and have NO effect".to_owned());
    }
    warnings
}

/// Names of interfaces may mean anything, so they count; so does what systemd or a proxy listens on.
fn is_reachable_from_elsewhere(port: &str) -> bool {
    match port.parse() {
        Ok(ListenAddress::Tcp { interface: None, .. } | ListenAddress::Proxied(_)) => true,
        Ok(ListenAddress::Tcp { interface: Some(interface), .. }) => {
            interface != "localhost" && !interface.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
        Ok(ListenAddress::Systemd { domain, .. }) => domain == Domain::Tcp,
        Ok(ListenAddress::Unix { .. }) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_needs_no_warning() {
        for port in [
            "8010",
            "tcp:8010",
            r"tcp:8010:interface=\:\:",
            "tcp:80:interface=ci.example.org",
            "systemd:INET:0",
            "haproxy:unix:/s",
        ] {
            assert!(is_reachable_from_elsewhere(port), "{port}");
        }
        for port in [
            "tcp:8010:interface=127.0.0.1",
            r"tcp6:8010:interface=\:\:1",
            "unix:/run/muster.sock",
            "systemd:UNIX:0",
        ] {
            assert!(!is_reachable_from_elsewhere(port), "{port}");
        }
    }
}
