//! Who asks, and what they may do.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use muster_config::snapshot::{LogInMethod, Snapshot};
use muster_core::policy::{Action, Actor, Authz, Denied, Permit, Policy, Target, User};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::session::{Session, UserInfo};

/// Longest sleep in seconds before the clock is looked at again: clocks may be set.
const LOOK_AGAIN: u64 = 60;

/// Who asks. Made once for each request.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) actor: Actor,
    pub(crate) policy: Arc<Policy>,
    /// Seconds since 1970 at which the session ends.
    pub(crate) ends: i64,
    info: Option<Arc<UserInfo>>,
    warning: Option<Arc<str>>,
}

impl Visitor {
    /// Who has this session, while the configuration lets people log in at all.
    pub(crate) fn of(config: &Arc<Snapshot>, policies: &Policies, session: Option<Session>) -> Visitor {
        let policy = policies.of(config);
        let Some(session) =
            session.filter(|session| takes_sessions(config) && session.info.get("anonymous").is_none())
        else {
            return Visitor { actor: Actor::Nobody, policy, ends: i64::MAX, info: None, warning: None };
        };
        let actor = Actor::User(user(&session.info));
        Visitor { actor, policy, ends: session.ends, info: Some(Arc::new(session.info)), warning: None }
    }

    /// Somebody who has not logged in.
    pub(crate) fn nobody(config: &Arc<Snapshot>, policies: &Policies) -> Visitor {
        Visitor::of(config, policies, None)
    }

    /// Whoever reaches the port of a master's operators.
    pub(crate) fn operator(config: &Arc<Snapshot>, policies: &Policies) -> Visitor {
        Visitor { actor: Actor::Operator, ..Visitor::nobody(config, policies) }
    }

    pub(crate) fn warned(self, warning: Option<String>) -> Visitor {
        Visitor { warning: warning.map(Into::into), ..self }
    }

    /// Whether they may do it.
    pub(crate) fn may(&self, action: Action, target: &Target) -> Result<Permit, Denied> {
        self.policy.may(&self.actor, action, target)
    }

    /// Until the session ends, or a new configuration lets nobody like this listen.
    pub(crate) async fn until_denied(
        &self,
        mut snapshot: watch::Receiver<Arc<Snapshot>>,
        policies: &Policies,
    ) {
        let mut policy = self.policy.clone();
        loop {
            let left = u64::try_from(self.ends.saturating_sub(muster_data::now().0)).unwrap_or(0);
            let listens = policy.may(&self.actor, Action::Get, &Target::default()).is_ok();
            if left == 0 || !listens {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(left.min(LOOK_AGAIN))) => {}
                changed = snapshot.changed() => {
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                    policy = policies.of(&snapshot.borrow_and_update().clone());
                }
            }
        }
    }

    /// As user interfaces are told.
    pub(crate) fn told(&self) -> Value {
        match &self.info {
            Some(info) => Value::Object(UserInfo::clone(info)),
            None => json!({"anonymous": true}),
        }
    }

    /// Why a proxy's word was not taken.
    pub(crate) fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }
}

/// Without a way to log in nobody is anybody, whatever cookie they bring from an earlier configuration.
fn takes_sessions(config: &Snapshot) -> bool {
    config.www.auth.as_ref().is_some_and(|auth| auth.method != LogInMethod::Nobody)
}

fn user(info: &UserInfo) -> User {
    let text = |name: &str| info.get(name).and_then(Value::as_str).map(str::to_owned);
    let groups = info.get("groups").and_then(Value::as_array).into_iter().flatten();
    User {
        username: text("username"),
        full_name: text("full_name"),
        email: text("email"),
        groups: groups.filter_map(|group| group.as_str().map(str::to_owned)).collect(),
    }
}

/// How people log in, as user interfaces are told.
pub(crate) fn description(config: &Snapshot) -> Value {
    match &config.www.auth {
        None => json!({"name": "NoAuth"}),
        Some(auth) => match &auth.method {
            LogInMethod::Oauth(oauth) => json!({
                "name": auth.name, "oauth2": true, "fa_icon": oauth.fa_icon, "autologin": oauth.autologin,
            }),
            _ => json!({ "name": auth.name }),
        },
    }
}

/// The policy of the configuration in force; a new configuration has another.
#[derive(Clone, Default)]
pub(crate) struct Policies(Arc<Mutex<Option<Known>>>);

/// The policy of a snapshot.
type Known = (Arc<Snapshot>, Arc<Policy>);

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
