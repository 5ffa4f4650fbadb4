//! Builds that ask schedulers for other builds. An engine knows no schedulers: whoever puts the parts of a master together says
//! how a buildset is made.

use futures_util::future::BoxFuture;
use muster_data::{NewBuildset, Trigger};

/// Why no buildset was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotMade {
    /// Something is away that comes back: the database, the Python host. The text says what.
    Yet(String),
    /// It would not help to ask again. The text says why.
    Ever(String),
}

/// What schedulers do for builds that trigger others.
pub trait Triggers: Send + Sync {
    /// Why a scheduler can't be triggered, if that is so.
    ///
    /// # Errors
    /// For people.
    fn check(&self, scheduler: &str) -> Result<(), String>;

    /// The buildset that a scheduler makes of what a build asks for. Nothing is written.
    fn compose<'a>(
        &'a self,
        scheduler: &'a str,
        trigger: Trigger,
    ) -> BoxFuture<'a, Result<NewBuildset, NotMade>>;
}

/// No schedulers at all.
#[cfg(test)]
pub(crate) struct NoTriggers;

#[cfg(test)]
impl Triggers for NoTriggers {
    fn check(&self, scheduler: &str) -> Result<(), String> {
        Err(format!("unknown triggered scheduler: '{scheduler}'"))
    }

    fn compose<'a>(&'a self, scheduler: &'a str, _: Trigger) -> BoxFuture<'a, Result<NewBuildset, NotMade>> {
        Box::pin(async move { Err(NotMade::Ever(format!("unknown triggered scheduler: '{scheduler}'"))) })
    }
}
