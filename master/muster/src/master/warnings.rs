//! What the log says about a configuration that is good, but not all of it in force or not safe.

use muster_config::snapshot::Snapshot;

/// One text for each.
pub fn about(snapshot: &Snapshot) -> Vec<String> {
    let mut warnings = snapshot.warnings.clone();
    warnings.extend(about_web(snapshot));
    for protocol in snapshot.protocols.keys().filter(|name| *name != "session") {
        warnings.push(format!(
            "c['protocols']['{protocol}'] is not served yet: stock workers can't connect. Use `muster worker` and \
             c['protocols'] = {{'session': {{'port': 9990}}}}"
        ));
    }
    warnings
}

fn about_web(snapshot: &Snapshot) -> Vec<String> {
    let Some(port) = &snapshot.www.port else { return Vec::new() };
    let given = |name: &str| snapshot.www.raw.get(name).is_some_and(|value| !value.is_null());
    let mut warnings = vec![format!(
        "everybody who reaches the web port ({port}) can start and stop builds: there is no log-in yet. To close it, \
         listen on this machine only, c['www']['port'] = 'tcp:8010:interface=127.0.0.1', behind a proxy that asks \
         who comes"
    )];
    if ["auth", "authz"].into_iter().any(given) {
        warnings.push("c['www']['auth'] and ['authz'] are not supported yet and have NO effect".to_owned());
    }
    warnings
}
