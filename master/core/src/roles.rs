//! What a master does: any of four roles, all of them unless it is told otherwise.

use std::{fmt, str::FromStr};

/// One part of a master's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Pages, REST, events, hooks. It needs the database and the bus alone.
    Web,
    /// Schedulers and change sources, those that no other master has.
    Scheduler,
    /// Distributes requests and runs builds, on the workers whose sessions it holds.
    Engine,
    /// Holds the connections of stock workers.
    Gateway,
}

impl Role {
    /// All of them, in the order in which they are written.
    pub const ALL: [Role; 4] = [Role::Web, Role::Scheduler, Role::Engine, Role::Gateway];

    /// As people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Web => "web",
            Role::Scheduler => "scheduler",
            Role::Engine => "engine",
            Role::Gateway => "gateway",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Role::Web => 1,
            Role::Scheduler => 2,
            Role::Engine => 4,
            Role::Gateway => 8,
        }
    }
}

/// The roles of one master; at least one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Roles(u8);

impl Roles {
    /// Everything: a master that stands alone.
    pub const ALL: Roles =
        Roles(Role::Web.bit() | Role::Scheduler.bit() | Role::Engine.bit() | Role::Gateway.bit());

    /// Whether this is one of them.
    pub const fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    /// Each of them, in their order.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }
}

impl Default for Roles {
    fn default() -> Roles {
        Roles::ALL
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Role::name).collect();
        formatter.write_str(&names.join(","))
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Roles({self})")
    }
}

/// Why a text names no roles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RolesError {
    /// Nothing is named.
    #[error("no role is named; write one or more of web, scheduler, engine, gateway, separated by commas")]
    Empty,
    /// There is no such role.
    #[error("there is no role '{0}'; the roles are web, scheduler, engine and gateway, separated by commas")]
    Unknown(String),
}

impl FromStr for Roles {
    type Err = RolesError;

    /// Reads `web,scheduler`; spaces and repetitions do no harm.
    fn from_str(text: &str) -> Result<Roles, RolesError> {
        let mut roles = 0;
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let role = Role::ALL.into_iter().find(|role| role.name() == name);
            roles |= role.ok_or_else(|| RolesError::Unknown(name.to_owned()))?.bit();
        }
        if roles == 0 { Err(RolesError::Empty) } else { Ok(Roles(roles)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_as_they_are_written() {
        let roles: Roles = " engine, web,engine,".parse().unwrap();
        assert_eq!(roles.to_string(), "web,engine");
        assert!(roles.has(Role::Engine) && !roles.has(Role::Gateway));
        assert_eq!(Roles::ALL.to_string().parse(), Ok(Roles::ALL));
    }

    #[test]
    fn what_names_no_role_says_which_there_are() {
        assert_eq!("".parse::<Roles>(), Err(RolesError::Empty));
        assert_eq!(" , ".parse::<Roles>(), Err(RolesError::Empty));
        let error = "web,wbe".parse::<Roles>().unwrap_err().to_string();
        assert!(error.contains("'wbe'") && error.contains("scheduler"), "{error}");
    }
}
