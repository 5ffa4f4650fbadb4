//! What a scheduler thinks of a change: not its business, or taken, and how important it is.

use std::collections::BTreeSet;

use muster_config::snapshot::{self, SchedulerConfig};
use muster_core::{Change, pattern::PatternError, render::Callable};

use crate::{
    callables::{AskError, Callables},
    change_filter::ChangeFilter,
};

/// A scheduler's conditions for changes.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    filter: ChangeFilter,
    codebases: BTreeSet<String>,
    file_is_important: Option<Callable>,
    only_important: bool,
}

/// What it thinks of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not its business.
    Pass,
    /// To be built, now or along with others.
    Take { important: bool },
    /// A user's function has failed: it is not built, as in Buildbot; and why.
    Failed(String),
}

impl Gate {
    pub(crate) fn new(
        scheduler: &SchedulerConfig,
        filter: Option<&snapshot::ChangeFilter>,
        file_is_important: Option<&Callable>,
        only_important: bool,
    ) -> Result<Gate, PatternError> {
        Ok(Gate {
            filter: filter.map(ChangeFilter::new).transpose()?.unwrap_or_default(),
            codebases: scheduler.codebases.keys().cloned().collect(),
            file_is_important: file_is_important.cloned(),
            only_important,
        })
    }

    /// Looks at a change. A user's function that fails drops it, as in Buildbot; one that can't be asked now is an error.
    pub(crate) async fn look_at(
        &self,
        who: &str,
        change: &Change,
        callables: &Callables,
    ) -> Result<Verdict, AskError> {
        match self.decide(change, callables).await {
            Err(AskError::Failed(error)) => {
                tracing::error!("scheduler '{who}' drops change {}: {error}", change.id);
                Ok(Verdict::Failed(error))
            }
            other => other,
        }
    }

    async fn decide(&self, change: &Change, callables: &Callables) -> Result<Verdict, AskError> {
        if !callables.passes(&self.filter, change).await? {
            return Ok(Verdict::Pass);
        }
        if !self.codebases.contains(&change.codebase) {
            tracing::debug!(
                change = change.id.0,
                codebase = change.codebase,
                "not a codebase of this scheduler"
            );
            return Ok(Verdict::Pass);
        }
        let important = match &self.file_is_important {
            Some(callable) => callables.is_true_of(callable, change).await?,
            None => true,
        };
        Ok(if important || !self.only_important { Verdict::Take { important } } else { Verdict::Pass })
    }
}
