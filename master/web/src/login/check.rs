//! What of the log-in and the rules can't be used, for the load to say.

use muster_config::snapshot::{LogInMethod, Snapshot};
use muster_core::{pattern::Pattern, policy::Policy};

use super::identify::Network;

/// One text for each fault.
pub fn unusable(snapshot: &Snapshot) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(Err(error)) = snapshot.www.authz.as_ref().map(Policy::new) {
        faults.push(format!("c['www']['authz']: {error}"));
    }
    if let Some(LogInMethod::RemoteUser { pattern, trusted_proxies, .. }) =
        snapshot.www.auth.as_ref().map(|auth| &auth.method)
    {
        if let Err(error) = Pattern::at_start(pattern) {
            faults.push(format!("c['www']['auth']: headerRegex: {error}"));
        }
        let unknown = trusted_proxies.iter().filter(|proxy| Network::parse(proxy).is_none());
        faults.extend(unknown.map(|proxy| {
            format!(
                "c['www']['auth']: trusted_proxies: {proxy:?} is no address and no network such as 10.0.0.0/8"
            )
        }));
    }
    faults
}
