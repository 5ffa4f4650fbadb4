//! Who may come in, and how that is found out: `c['www']['auth']` and what belongs to it.

use std::collections::BTreeMap;

use muster_core::render::{Callable, Renderable};
use serde::{Deserialize, Serialize};

/// `c['www']['auth']`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuthConfig {
    /// What user interfaces are told: Buildbot's class, or the name of the provider.
    pub name: String,
    /// How people log in.
    pub method: LogInMethod,
    /// The mail address is the user name, as Buildbot's `UserInfoProviderBase` has it.
    pub email_is_username: bool,
}

/// How people log in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LogInMethod {
    /// Not at all.
    Nobody,
    /// By a password that the configuration has.
    Passwords {
        /// User name -> what is kept of the password: `pbkdf2-sha256$iterations$salt$key`, both in base64.
        users: BTreeMap<String, String>,
    },
    /// By a password of a file.
    Htpasswd {
        /// Its path, relative to the master's directory.
        file: String,
    },
    /// By a password that a function of the configuration knows.
    Function {
        /// Called with the name and the password, as bytes.
        check: Callable,
    },
    /// By a header that a proxy sets.
    RemoteUser {
        /// Its name.
        header: String,
        /// What it has to match at its start; the groups that have names are what is known of the user.
        pattern: String,
        /// Addresses and networks from which it is believed, besides this machine's own.
        trusted_proxies: Vec<String>,
    },
    /// At a provider that speaks OAuth2.
    Oauth(Box<OauthConfig>),
}

/// A provider of log-ins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OauthConfig {
    /// Which.
    pub provider: OauthProvider,
    /// The symbol that Buildbot's interface shows.
    pub fa_icon: String,
    /// Whether Buildbot's interface leads there at once.
    pub autologin: bool,
    /// As whom this site is registered.
    pub client_id: Renderable,
    /// The secret that goes with it.
    pub client_secret: Renderable,
    /// Where people are sent.
    pub auth_uri: String,
    /// Where a code becomes a token.
    pub token_uri: String,
    /// Where the provider tells who somebody is.
    pub resource: String,
    /// What is asked for.
    pub scope: Option<String>,
    /// Of GitHub: 3 or 4.
    #[serde(default)]
    pub api_version: u8,
    /// Of GitHub: whether teams are groups, too.
    #[serde(default)]
    pub teams: bool,
}

/// The providers that Buildbot knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OauthProvider {
    /// Google.
    Google,
    /// GitHub, and its enterprise servers.
    Github,
    /// GitLab.
    Gitlab,
    /// Bitbucket's cloud.
    Bitbucket,
}

/// One of `c['www']['avatar_methods']`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AvatarMethod {
    /// Gravatar, by the mail address.
    Gravatar,
}
