//! Who asks, and what they may do.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{extract::FromRequestParts, http::request::Parts};
use muster_config::snapshot::Snapshot;
use muster_core::policy::{Action, Actor, Authz, Denied, Permit, Policy, Target};

use crate::AppState;

/// Who asks. Made once for each request.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) actor: Actor,
    pub(crate) policy: Arc<Policy>,
}

impl Visitor {
    /// Somebody who has not logged in.
    pub(crate) fn nobody(state: &AppState) -> Visitor {
        Visitor { actor: Actor::Nobody, policy: state.policies.of(&state.config()) }
    }

    /// Whether they may do it.
    pub(crate) fn may(&self, action: Action, target: &Target) -> Result<Permit, Denied> {
        self.policy.may(&self.actor, action, target)
    }
}

impl FromRequestParts<AppState> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Visitor, Infallible> {
        let known = parts.extensions.get::<Visitor>().cloned();
        Ok(known.unwrap_or_else(|| Visitor::nobody(state)))
    }
}

/// The policy of the configuration in force; a new configuration has another.
#[derive(Clone, Default)]
pub(crate) struct Policies(Arc<Mutex<Option<(Arc<Snapshot>, Arc<Policy>)>>>);

impl Policies {
    pub(crate) fn of(&self, snapshot: &Arc<Snapshot>) -> Arc<Policy> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, policy)) if Arc::ptr_eq(of, snapshot) => policy.clone(),
            _ => {
                let policy = Arc::new(policy(snapshot));
                *known = Some((snapshot.clone(), policy.clone()));
                policy
            }
        }
    }
}

fn policy(snapshot: &Snapshot) -> Policy {
    let Some(authz) = &snapshot.www.authz else { return Policy::default() };
    Policy::new(authz).unwrap_or_else(|error| {
        // Loading refuses such patterns; a newer version may know more of them.
        tracing::error!(%error, "c['www']['authz'] can't be used, so everything is refused");
        Policy::new(&Authz::refusing()).expect("its rule has a plain pattern")
    })
}
