//! Port strings of a configuration, before anything is opened.

use muster_config::snapshot::{ChangeSourceKind, Snapshot};
use muster_core::strports::ListenAddress;

/// The ports that a start would refuse whatever its roles are, found without opening anything.
pub fn problems(snapshot: &Snapshot) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |setting: &str, port: &str| {
        if let Err(error) = port.parse::<ListenAddress>() {
            found.push(format!("{setting}: {error}"));
        }
    };
    if let Some(port) = &snapshot.www.port {
        check("c['www']['port']", port);
    }
    for (name, config) in &snapshot.protocols {
        for port in config.ports() {
            check(&format!("c['protocols']['{name}']['port']"), port);
        }
    }
    for source in &snapshot.change_sources {
        if let ChangeSourceKind::Pb(config) = &source.kind
            && let Some(port) = &config.port
        {
            check(&format!("the port of change source '{}'", source.name), port);
        }
    }
    let without = |name: &&str| snapshot.protocols.get(*name).is_some_and(|config| config.port.is_none());
    let missing = ["pb", "msgpack_experimental_v7"].into_iter().filter(without);
    found.extend(missing.map(|name| no_port(&format!("c['protocols']['{name}']['port']"))));
    found
}

/// What is said where a port is missing.
pub fn no_port(setting: &str) -> String {
    format!("{setting} is missing; write a port such as 9989")
}
