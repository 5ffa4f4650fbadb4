//! Who may come in, as the configuration in force says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::stock::BuilderDir;

/// Everybody who may log in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Roster {
    /// Workers with a password, by name.
    pub workers: HashMap<String, StockWorker>,
    /// Change sources that `sendchange` reaches.
    pub change_sources: Vec<ChangeAccount>,
}

/// One worker.
#[derive(Clone, PartialEq, Eq)]
pub struct StockWorker {
    /// Its password, which the log-in of PB needs in plain text.
    pub password: String,
    /// Every builder that any master of the cluster may run on it: a worker that deletes left-over directories
    /// deletes what is not named here.
    pub builders: Arc<[BuilderDir]>,
    /// How often it is asked for a sign of life.
    pub keepalive: Duration,
}

/// A `PBChangeSource`.
#[derive(Clone, PartialEq, Eq)]
pub struct ChangeAccount {
    /// Its name in the configuration.
    pub source: String,
    /// Who sends changes to it.
    pub user: String,
    /// Their password.
    pub password: String,
    /// Takes only files below it, and takes it off.
    pub prefix: Option<String>,
    /// The port of its own, as configured; `None` for the workers' port.
    pub port: Option<String>,
}

/// What one port lets in. `None` is the workers' own port.
pub type Port = Option<String>;

/// Who has logged in.
#[derive(Clone)]
pub(crate) enum Account {
    Worker(StockWorker),
    Changes(ChangeAccount),
}

impl Account {
    pub(crate) fn password(&self) -> &str {
        match self {
            Account::Worker(worker) => &worker.password,
            Account::Changes(changes) => &changes.password,
        }
    }

    pub(crate) fn has_password(&self, given: &str) -> bool {
        is_same(given.as_bytes(), self.password().as_bytes())
    }
}

/// Takes the same time wherever the first difference is.
pub(crate) fn is_same(given: &[u8], expected: &[u8]) -> bool {
    given.len() == expected.len() && given.iter().zip(expected).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

impl Roster {
    /// The account of a name on a port. Users of `try` and of user managers will be found here too.
    pub(crate) fn account(&self, port: &Port, name: &str) -> Option<Account> {
        let mut changes = self.change_sources.iter();
        if let Some(source) = changes.find(|source| source.port == *port && source.user == name) {
            return Some(Account::Changes(source.clone()));
        }
        self.workers.get(name).filter(|_| port.is_none()).cloned().map(Account::Worker)
    }
}

impl std::fmt::Debug for Roster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Roster({} workers, {} change sources)", self.workers.len(), self.change_sources.len())
    }
}
