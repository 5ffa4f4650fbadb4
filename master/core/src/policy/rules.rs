//! The rules of a configuration, and what they decide.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    actor::{Actor, User},
    permit::{Action, Denied, Permit},
    text::{StringsMatcher, Text},
};
use crate::pattern::PatternError;

/// `c['www']['authz']` as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authz {
    /// `allowRules`, in their order.
    pub rules: Vec<Rule>,
    /// `roleMatchers`.
    pub roles: Vec<RoleSource>,
    /// `stringsMatcher`.
    pub strings: StringsMatcher,
}

impl Authz {
    /// Lets nobody do anything.
    pub fn refusing() -> Authz {
        let nobodys = Rule {
            endpoints: Endpoints::Any,
            builder: None,
            role: "nobody has it".to_owned(),
            default_deny: true,
        };
        Authz { rules: vec![nobodys], ..Authz::default() }
    }
}

/// One of `allowRules`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What it is about.
    pub endpoints: Endpoints,
    /// A pattern for builders' names; `None` is every builder.
    #[serde(default)]
    pub builder: Option<String>,
    /// A pattern for the roles that are let through.
    pub role: String,
    /// Whether those without the role are refused, instead of being left to the next rule.
    pub default_deny: bool,
}

/// The endpoint matchers of Buildbot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoints {
    /// Everything.
    Any,
    /// Every action that is not `get`.
    AnyControl,
    /// `stop` of a build.
    StopBuild,
    /// `force` of a force scheduler.
    ForceBuild,
    /// `rebuild` of a build.
    RebuildBuild,
    /// `enable` of a scheduler.
    EnableScheduler,
    /// Buildbot's `ViewBuildsEndpointMatcher` and `BranchEndpointMatcher`, which match nothing there either.
    Nothing,
}

/// The role matchers of Buildbot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum RoleSource {
    /// Groups that begin with the prefix, without it.
    Groups {
        /// What they begin with.
        prefix: String,
    },
    /// Roles by mail address.
    Emails {
        /// Mail address -> roles.
        roles: BTreeMap<String, Vec<String>>,
    },
    /// Roles by what stands behind the last `@` of the mail address.
    Domains {
        /// Domain -> roles.
        roles: BTreeMap<String, Vec<String>>,
    },
    /// A role for those whose mail address is the owner of the build.
    Owner {
        /// Which.
        role: String,
    },
    /// Roles for some users.
    Usernames {
        /// Who.
        usernames: Vec<String>,
        /// Which.
        roles: Vec<String>,
    },
}

/// What an action is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// What kind of thing.
    pub kind: TargetKind,
    /// The names of the builders that it concerns; empty where it is not there, or has none.
    pub builders: Vec<String>,
    /// The property `owner` of its buildset.
    pub owner: Option<String>,
}

/// Kinds of things, as far as rules tell them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetKind {
    /// Any other.
    #[default]
    Other,
    /// A build.
    Build,
    /// A force scheduler.
    ForceScheduler,
    /// A scheduler.
    Scheduler,
}

impl Target {
    /// Something of `kind`.
    pub fn of(kind: TargetKind) -> Target {
        Target { kind, ..Target::default() }
    }

    /// A build of a builder; the owner is the property of its buildset.
    pub fn build(builder: String, owner: Option<String>) -> Target {
        Target { kind: TargetKind::Build, builders: vec![builder], owner }
    }
}

/// Rules that are ready to be used.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    rules: Vec<Ready>,
    roles: Vec<RoleSource>,
}

#[derive(Clone, Debug)]
struct Ready {
    rule: Rule,
    builder: Option<Text>,
    role: Text,
}

impl Policy {
    /// The policy of a configuration.
    ///
    /// # Errors
    /// When one of its patterns can't be used.
    pub fn new(authz: &Authz) -> Result<Policy, PatternError> {
        let rules = authz.rules.iter().map(|rule| {
            let builder = rule.builder.as_deref().map(|builder| Text::new(authz.strings, builder));
            Ok(Ready {
                builder: builder.transpose()?,
                role: Text::new(authz.strings, &rule.role)?,
                rule: rule.clone(),
            })
        });
        Ok(Policy { rules: rules.collect::<Result<_, _>>()?, roles: authz.roles.clone() })
    }

    /// Whether a decision depends on owners of builds, so that they have to be looked up.
    pub fn asks_for_owners(&self) -> bool {
        self.roles.iter().any(|source| matches!(source, RoleSource::Owner { .. }))
    }

    /// Whether `actor` may do it.
    ///
    /// As in Buildbot, the first rule that matches and decides is the answer, and what no rule matches is allowed. Orders that
    /// end processes are the exception: for them a rule has to say so.
    ///
    /// # Errors
    /// [`Denied`], with the reason.
    pub fn may(&self, actor: &Actor, action: Action, target: &Target) -> Result<Permit, Denied> {
        let nobody = User::default();
        let user = match actor {
            Actor::Nobody => &nobody,
            Actor::User(user) => user,
            // They prove who they are elsewhere.
            Actor::Operator | Actor::CommandLine | Actor::Peer(_) | Actor::System(_) => {
                return Ok(Permit::new(actor, action));
            }
        };
        let mut roles = self.roles_of(user);
        for Ready { rule, builder, role } in &self.rules {
            if !matches(rule.endpoints, builder.as_ref(), &action, target) {
                continue;
            }
            if matches!(rule.endpoints, Endpoints::StopBuild | Endpoints::RebuildBuild) {
                roles.extend(self.roles_of_owner(user, target.owner.as_deref()));
            }
            if roles.iter().any(|own| role.matches(own, false)) {
                return match action.ends_processes() && actor.user().is_none() {
                    true => Err(Denied::EndsProcesses),
                    false => Ok(Permit::new(actor, action)),
                };
            }
            if rule.default_deny {
                return Err(Denied::Role(rule.role.clone()));
            }
        }
        match action.ends_processes() {
            true => Err(Denied::EndsProcesses),
            false => Ok(Permit::new(actor, action)),
        }
    }

    fn roles_of<'a>(&'a self, user: &'a User) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        for source in &self.roles {
            let listed = match source {
                RoleSource::Groups { prefix } => {
                    found.extend(user.groups.iter().filter_map(|group| group.strip_prefix(prefix.as_str())));
                    None
                }
                RoleSource::Emails { roles } => user.email.as_ref().and_then(|email| roles.get(email)),
                RoleSource::Domains { roles } => {
                    user.email.as_ref().and_then(|email| roles.get(email.rsplit('@').next()?))
                }
                RoleSource::Usernames { usernames, roles } => {
                    user.username.as_ref().filter(|name| usernames.contains(name)).map(|_| roles)
                }
                RoleSource::Owner { .. } => None,
            };
            found.extend(listed.into_iter().flatten().map(String::as_str));
        }
        found
    }

    fn roles_of_owner<'a>(&'a self, user: &'a User, owner: Option<&'a str>) -> impl Iterator<Item = &'a str> {
        let is_owner = owner.is_some() && user.email.as_deref() == owner;
        self.roles.iter().filter_map(move |source| match source {
            RoleSource::Owner { role } if is_owner => Some(role.as_str()),
            _ => None,
        })
    }
}

fn matches(endpoints: Endpoints, builder: Option<&Text>, action: &Action, target: &Target) -> bool {
    // A pattern that takes too long may not let through what the rule is there to refuse.
    let fits =
        || builder.is_none_or(|builder| target.builders.iter().any(|name| builder.matches(name, true)));
    match endpoints {
        Endpoints::Any => true,
        Endpoints::AnyControl => *action != Action::Get,
        Endpoints::StopBuild => *action == Action::StopBuild && target.kind == TargetKind::Build && fits(),
        Endpoints::RebuildBuild => {
            *action == Action::RebuildBuild && target.kind == TargetKind::Build && fits()
        }
        Endpoints::ForceBuild => {
            *action == Action::Force && target.kind == TargetKind::ForceScheduler && fits()
        }
        Endpoints::EnableScheduler => {
            *action == Action::EnableScheduler && target.kind == TargetKind::Scheduler
        }
        Endpoints::Nothing => false,
    }
}
