//! What can be wrong with a configuration, and with the process that evaluates it.

use std::time::Duration;

use crate::snapshot::SourceRef;
use crate::wire::CallFailure;

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Buildbot's words.
    pub text: String,
    /// Where; the file is empty when nobody knows.
    pub source: SourceRef,
}

impl ConfigError {
    /// Whether another error says the same in other words: of the same argument at the same place.
    pub(crate) fn covers(&self, other: &ConfigError) -> bool {
        if self == other {
            return true;
        }
        let Some(argument) = other.text.split_once(" argument ").and_then(|(_, rest)| first_word(rest))
        else {
            return false;
        };
        let is_named = self.text.split(|c: char| !is_of_word(c)).any(|word| word == argument);
        self.source == other.source && !self.source.file.is_empty() && is_named
    }
}

fn first_word(text: &str) -> Option<&str> {
    text.split(|c: char| !is_of_word(c)).next().filter(|word| !word.is_empty())
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.source.file.is_empty() {
            return f.write_str(&self.text);
        }
        write!(f, "{} ({})", self.text, self.source)
    }
}

/// Everything that is wrong with a configuration, in the order of discovery. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// One error without a place.
    pub fn one(text: impl Into<String>) -> ConfigErrors {
        ConfigErrors(vec![ConfigError { text: text.into(), source: SourceRef::default() }])
    }
}

impl std::fmt::Display for ConfigErrors {
    /// As `checkconfig` prints them: a heading, then each error indented by two spaces.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Configuration Errors:")?;
        for error in &self.0 {
            for line in error.to_string().lines() {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Why the host could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// No interpreter was found.
    #[error(
        "Python was not found: {0} is no program here. Install Python 3.9 or newer, or set MUSTER_PYTHON to its path"
    )]
    PythonMissing(String),
    /// It is there, but too old.
    #[error(
        "{program} is Python {version}, but Muster needs 3.9 or newer to evaluate master.cfg. \
         Install a newer one, or set MUSTER_PYTHON to its path"
    )]
    PythonTooOld {
        /// What was started.
        program: String,
        /// Its version.
        version: String,
    },
    /// It could not be started or talked to.
    #[error("the Python host failed: {reason}{}", tail(.stderr))]
    Broken {
        /// What happened.
        reason: String,
        /// The last lines it printed.
        stderr: String,
    },
    /// A function of the configuration raised an exception.
    #[error(transparent)]
    Call(#[from] CallFailure),
    /// The configuration in force has no such function, or another one at that place: whoever asks began under another
    /// configuration. Asking again is of no use.
    #[error("{0}")]
    NoSuchFunction(String),
    /// The configuration took too long to load.
    #[error(
        "loading {config_file} took longer than {} s, and was ended; MUSTER_LOAD_LIMIT=SECONDS in the environment of Muster \
         sets another limit{}",
        .limit.as_secs_f64(), tail(.stderr)
    )]
    LoadTooLong {
        /// The file.
        config_file: String,
        /// The limit.
        limit: Duration,
        /// The last lines it printed: where it was.
        stderr: String,
    },
    /// A function took too long.
    #[error("{what} took longer than {} s", .limit.as_secs_f64())]
    TimedOut {
        /// What.
        what: String,
        /// The limit.
        limit: Duration,
    },
    /// A function ended the process that called it: it called `os._exit`, or a library crashed. Asking again is of no use.
    #[error("{what} ended the Python host: {reason}")]
    Ended {
        /// What.
        what: String,
        /// How the process ended.
        reason: String,
    },
    /// A function gave what can't be used.
    #[error("{what} gave an answer that can't be used: {reason}")]
    BadAnswer {
        /// What.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Too much is waiting for the host already.
    #[error("the Python host has too much to do")]
    Busy,
    /// Nobody drives the host any more: the master is ending.
    #[error("the Python host is stopped")]
    Stopped,
}

fn tail(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!("\nIts last output was:\n{}", stderr.trim_end()) }
}
