//! The invariants, asked of a state.

use muster_core::{
    BuildId, CommandId,
    invariants::{
        self, RequestFacts, Verdict, Violation, acknowledged_is_stored, executed_once, expired_acts_no_more,
        request_is_kept,
    },
};

use super::{Cluster, MASTERS, Outcome, Power, State};

pub(super) fn verdict(model: &Cluster, state: &State) -> Verdict {
    if let Some(broken) = &state.broken {
        return Err(Violation(broken.clone()));
    }
    leases(model, state)?;
    commands(state)?;
    request(state)?;
    session(state)
}

fn leases(model: &Cluster, state: &State) -> Verdict {
    for index in 0..MASTERS {
        let (master, lease) = (&state.masters[index], &state.leases[index]);
        let acts = master.power == Power::Up && master.run.is_some() && model.trusts(master);
        expired_acts_no_more(lease.expired && lease.incarnation == master.incarnation, acts)?;
    }
    Ok(())
}

fn commands(state: &State) -> Verdict {
    let executions = state.worker.commands.iter().enumerate().flat_map(|(build, command)| {
        let id = CommandId { build: BuildId(build as i64), step: 0, ordinal: 0 };
        std::iter::repeat_n(id, command.map_or(0, |command| command.executions.into()))
    });
    executed_once(executions)?;
    for (build, command) in state.builds.iter().zip(&state.worker.commands) {
        let stored = build
            .log
            .iter()
            .try_fold(0, |stored, number| invariants::stores_next(stored, *number).map(|()| *number))?;
        if let Some(command) = command {
            acknowledged_is_stored(command.acknowledged, stored)?;
        }
    }
    Ok(())
}

fn request(state: &State) -> Verdict {
    let ends = || state.builds.iter().flat_map(|build| &build.ends);
    request_is_kept(RequestFacts {
        complete: state.complete,
        claimed: state.claimed,
        running: state.builds.iter().filter(|build| build.ends.is_empty()).count(),
        final_builds: ends().filter(|end| **end == Outcome::Success).count(),
    })
}

/// When no dial is under way, the master that the worker is connected to holds its session: otherwise it would never be
/// given work.
fn session(state: &State) -> Verdict {
    match (state.worker.line, state.session) {
        (Some(master), Some(session)) if state.openings.is_empty() && session.holder != master => {
            Err(Violation(format!(
                "the worker is connected to master {master}, but {} holds its session",
                session.holder
            )))
        }
        _ => Ok(()),
    }
}
