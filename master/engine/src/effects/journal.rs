//! The journal of one running step: which effects it had, in order, and what came of them.
//!
//! A step that is run again from its beginning asks for the same effects in the same order. One that has a row gets
//! the recorded outcome; the first one without a row is live.

use std::collections::BTreeMap;

use muster_store::runs::JournalRow;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The newest replay version of a kind of step that this binary knows; it knows all older ones, too. Raise it for a kind
/// whose effects are others than before, or come in another order: a master of the version before then gives up such a
/// step instead of going on wrongly.
fn newest_version(_kind: &str) -> u32 {
    1 + u32::from(muster_core::skew::is_newer())
}

/// What stands between the kind of an effect and the replay version of its step, if that is not 1.
const VERSION_MARK: char = '@';

/// The effects of one step.
pub(crate) struct Journal {
    step: u32,
    /// The replay version that the step began under; it stays with it.
    version: u32,
    newest: u32,
    next: u32,
    recorded: BTreeMap<u32, JournalRow>,
    /// The master dies before this effect.
    #[cfg(test)]
    pub(crate) death: Option<u32>,
}

/// One effect, as the journal knows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// It happened, or is under way: its row.
    Recorded(JournalRow),
    /// It has not happened: the row to be completed with its outcome.
    Live(JournalRow),
}

/// A replayed step asked for something else than it did before: its recorded outcomes are not the answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Mismatch {
    /// Another effect.
    #[error("the step asks for {asked} where it did {recorded} before (effect {ordinal})")]
    Effect { ordinal: u32, recorded: String, asked: String },
    /// A version that this binary doesn't know.
    #[error(
        "the step was begun by a newer Muster: its journal has replay version {recorded}, this one knows {newest}"
    )]
    Version { recorded: u32, newest: u32 },
}

impl Journal {
    /// The journal of a step, with the rows of an earlier execution.
    pub(crate) fn new(kind: &str, step: u32, rows: Vec<JournalRow>) -> Journal {
        let newest = newest_version(kind);
        Journal {
            step,
            version: rows.first().map_or(newest, |row| version_of(&row.kind)),
            newest,
            next: 0,
            recorded: rows.into_iter().map(|row| (row.ordinal, row)).collect(),
            #[cfg(test)]
            death: None,
        }
    }

    /// The step's next effect.
    pub(crate) fn effect(&mut self, kind: &str, args: &impl Serialize) -> Result<Effect, Mismatch> {
        let ordinal = self.next;
        #[cfg(test)]
        if self.death == Some(ordinal) {
            return Err(Mismatch::Effect {
                ordinal,
                recorded: kind.to_owned(),
                asked: "a death of the master".to_owned(),
            });
        }
        if self.version > self.newest {
            return Err(Mismatch::Version { recorded: self.version, newest: self.newest });
        }
        self.next += 1;
        let kind = &marked(kind, self.version);
        let args_hash = fingerprint(args);
        let Some(row) = self.recorded.get(&ordinal) else {
            let row = JournalRow {
                step: self.step,
                ordinal,
                kind: kind.clone(),
                args_hash,
                outcome: String::new(),
            };
            return Ok(Effect::Live(row));
        };
        if row.kind == *kind && row.args_hash == args_hash {
            return Ok(Effect::Recorded(row.clone()));
        }
        let asked = if row.kind == *kind { format!("{kind} with other arguments") } else { kind.clone() };
        Err(Mismatch::Effect { ordinal, recorded: row.kind.clone(), asked })
    }
}

#[cfg(test)]
impl Journal {
    /// Whether the death came.
    pub(crate) fn is_dead(&self) -> bool {
        self.death == Some(self.next)
    }
}

fn marked(kind: &str, version: u32) -> String {
    match version {
        1 => kind.to_owned(),
        _ => format!("{kind}{VERSION_MARK}{version}"),
    }
}

/// Whether a row is about this kind of effect, under whatever version.
pub(crate) fn is_of(row: &JournalRow, kind: &str) -> bool {
    row.kind.split(VERSION_MARK).next() == Some(kind)
}

fn version_of(kind: &str) -> u32 {
    kind.split_once(VERSION_MARK).map_or(1, |(_, version)| version.parse().unwrap_or(u32::MAX))
}

/// The hash of an effect's arguments. Maps are ordered in everything that is passed here, so it is stable.
fn fingerprint(args: &impl Serialize) -> String {
    let text = serde_json::to_vec(args).unwrap_or_default();
    Sha256::digest(&text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(journal: &mut Journal, kind: &str, args: &str) -> JournalRow {
        match journal.effect(kind, &args).unwrap() {
            Effect::Live(mut row) => {
                row.outcome = "1".to_owned();
                row
            }
            Effect::Recorded(row) => panic!("{row:?} is not live"),
        }
    }

    #[test]
    fn recorded_effects_come_back_in_order_and_the_next_one_is_live() {
        let mut first = Journal::new("ShellCommand", 3, Vec::new());
        let rows = vec![done(&mut first, "command", "a"), done(&mut first, "log", "b")];
        let mut again = Journal::new("ShellCommand", 3, rows.clone());
        assert_eq!(again.effect("command", &"a").unwrap(), Effect::Recorded(rows[0].clone()));
        assert_eq!(again.effect("log", &"b").unwrap(), Effect::Recorded(rows[1].clone()));
        assert!(matches!(again.effect("log", &"c").unwrap(), Effect::Live(row) if row.ordinal == 2));
    }

    #[test]
    fn another_kind_or_other_arguments_are_a_mismatch() {
        let mut first = Journal::new("ShellCommand", 1, Vec::new());
        let rows = vec![done(&mut first, "command", "a")];
        assert!(Journal::new("ShellCommand", 1, rows.clone()).effect("command", &"z").is_err());
        assert!(Journal::new("ShellCommand", 1, rows).effect("log", &"a").is_err());
    }

    #[test]
    fn a_journal_of_an_unknown_version_is_refused_before_anything_is_done() {
        let mut row = done(&mut Journal::new("ShellCommand", 1, Vec::new()), "command", "a");
        row.kind = format!("{}@{}", row.kind, newest_version("ShellCommand") + 1);
        let refused = Journal::new("ShellCommand", 1, vec![row]).effect("command", &"a");
        assert!(matches!(refused, Err(Mismatch::Version { .. })), "{refused:?}");
    }
}
