//! Who asks for something.

use std::fmt;

/// Who asks for something. Made once for each request, and handed down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Somebody who has not logged in.
    Nobody,
    /// Somebody who has.
    User(User),
    /// Whoever reaches the port of the probes, which is a master's operators'.
    Operator,
    /// Whoever starts `muster` on a machine of the cluster.
    CommandLine,
    /// Another program that proved itself otherwise: a hook, `buildbot sendchange`.
    Peer(String),
    /// A part of Muster.
    System(&'static str),
}

/// What is known of somebody who has logged in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The name of the log-in.
    pub username: Option<String>,
    /// The name for people.
    pub full_name: Option<String>,
    /// The mail address.
    pub email: Option<String>,
    /// Groups, organisations and teams.
    pub groups: Vec<String>,
}

impl User {
    /// Who is written down as the owner of what the user asks for: as in Buildbot the mail address, else the user name, else
    /// the full name.
    pub fn owner(&self) -> Option<&str> {
        let names = [&self.email, &self.username, &self.full_name];
        names.into_iter().flatten().map(String::as_str).find(|name| !name.is_empty())
    }

    /// What people call the user.
    pub fn shown(&self) -> &str {
        let names = [&self.full_name, &self.username, &self.email];
        names.into_iter().flatten().map(String::as_str).find(|name| !name.is_empty()).unwrap_or("somebody")
    }
}

impl Actor {
    /// The user, if it is one.
    pub fn user(&self) -> Option<&User> {
        match self {
            Actor::User(user) => Some(user),
            _ => None,
        }
    }

    /// Who is written down as the owner; nobody for those who have not logged in.
    pub fn owner(&self) -> Option<&str> {
        self.user().and_then(User::owner)
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Nobody => f.write_str("somebody who has not logged in"),
            Actor::User(user) => f.write_str(user.owner().unwrap_or("somebody")),
            Actor::Operator => f.write_str("an operator"),
            Actor::CommandLine => f.write_str("the command line"),
            Actor::Peer(name) => f.write_str(name),
            Actor::System(name) => f.write_str(name),
        }
    }
}
