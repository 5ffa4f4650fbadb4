//! What the log says about a configuration that is good, but not all of it in force or not safe.

use std::net::IpAddr;

use muster_config::snapshot::Snapshot;
use muster_core::{
    Role, Roles,
    policy::{Action, Actor, Policy, Target},
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
    if is_reachable_from_elsewhere(port) && takes_orders_of_anybody(snapshot) {
        warnings.push(format!(
            "everybody who reaches the web port ({port}) can start and stop builds: no rule of c['www']['authz'] keeps out who \
             has not logged in. Set c['www']['auth'] and a rule such as util.AnyControlEndpointMatcher(role='admins'), or \
             listen on this machine only, c['www']['port'] = 'tcp:8010:interface=127.0.0.1'"
        ));
    }
    warnings
}

/// Whether no rule keeps those out of orders who have not logged in.
fn takes_orders_of_anybody(snapshot: &Snapshot) -> bool {
    let policy = snapshot.www.authz.as_ref().map(Policy::new);
    // Rules that can't be used let nobody in.
    let policy = policy.transpose().map(Option::unwrap_or_default);
    policy.is_ok_and(|policy| policy.may(&Actor::Nobody, Action::PauseWorker, &Target::default()).is_ok())
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
    fn a_rule_for_all_orders_ends_the_warning() {
        use muster_core::policy::{Authz, Endpoints, Rule};

        let mut snapshot = Snapshot::empty();
        snapshot.www.port = Some("8010".to_owned());
        assert_eq!(about_web(&snapshot).len(), 1);
        let rule =
            |endpoints| Rule { endpoints, builder: None, role: "admins".to_owned(), default_deny: true };
        for (endpoints, warnings) in
            [(Endpoints::StopBuild, 1), (Endpoints::AnyControl, 0), (Endpoints::Any, 0)]
        {
            snapshot.www.authz = Some(Authz { rules: vec![rule(endpoints)], ..Authz::default() });
            assert_eq!(about_web(&snapshot).len(), warnings, "{endpoints:?}");
        }
    }

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
