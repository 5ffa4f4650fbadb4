//! The ground of the store's tests: a Buildbot on any database, rows, a proxy that breaks connections.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub mod buildbot;
pub mod data;
pub mod proxy;

use std::path::Path;

use muster_store::DbUrl;
pub use muster_tests::{MariaDb, Postgres};

/// A server whose databases the store can open.
pub trait Server {
    /// The address of a database.
    fn db_url(&self, database: &str) -> DbUrl;
}

impl Server for Postgres {
    fn db_url(&self, database: &str) -> DbUrl {
        DbUrl::parse(&self.url(database), Path::new("/")).unwrap()
    }
}

impl Server for MariaDb {
    fn db_url(&self, database: &str) -> DbUrl {
        DbUrl::parse(&self.url(database), Path::new("/")).unwrap()
    }
}
