//! The journal of one running step: which effects it had, and what came of them.
//!
//! A step that is run again from its beginning asks for the same effects. One that has a row gets the recorded outcome; one
//! without a row is live. How an effect finds its row is a matter of who asks: see [`Matching`].

use std::collections::{BTreeMap, BTreeSet};

use muster_store::runs::{FIRST_PART, JournalRow};

use super::{
    effect::{Effect, Key, LOG, Unkeyed},
    end::StepEnd,
};

/// The newest replay version of a step whose kind has changed its effects so often; this binary knows all older ones, too, and
/// goes on with a step under the version that the step began with.
///
/// 1: the key of an effect is a hash of its arguments; a command's row holds its whole state.
/// 2: the key is the whole [`Effect`]; a command's row holds where it is, and further parts hold what it has collected.
fn newest_version(changes: u32) -> u32 {
    2 + changes + u32::from(muster_core::skew::is_newer())
}

/// What stands between the kind of an effect and the replay version of its step, if that is not 1.
const VERSION_MARK: char = '@';

/// How an effect finds the row of an earlier execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// By its place: the step is one line of code, and what it asks for next has to be what it asked for then.
    ByOrder,
    /// By what it is: the first row of an equal effect that nobody has asked for again yet. So several branches of a step may go
    /// on at the same time, in whatever order.
    ByOccurrence,
}

/// The effects of one step.
pub(crate) struct Journal {
    step: u32,
    /// The replay version that the step began under; it stays with it.
    version: u32,
    newest: u32,
    /// The ordinal of the next effect that is matched by its place.
    next: u32,
    /// Effects before this one are no matter of occurrence.
    base: u32,
    recorded: BTreeMap<u32, Recorded>,
    /// The ordinals that this execution has asked for.
    asked: BTreeSet<u32>,
    /// The master dies before this effect.
    #[cfg(test)]
    pub(crate) death: Option<u32>,
    /// All that was asked for.
    #[cfg(test)]
    pub(crate) effects: Vec<Effect>,
}

/// An effect of an earlier execution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recorded {
    pub(crate) row: JournalRow,
    /// Its further rows, in their order.
    pub(crate) parts: Vec<JournalRow>,
}

/// One effect, as the journal knows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entry {
    /// It happened, or is under way.
    Recorded(Recorded),
    /// It has not happened: the row to be completed with its outcome.
    Live(JournalRow),
}

/// Why the journal does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JournalError {
    /// A replayed step asked for something else than it did before: its recorded outcomes are not the answers.
    #[error("the step asks for {asked} where it did {recorded} before (effect {ordinal})")]
    Mismatch { ordinal: u32, recorded: String, asked: String },
    /// A version that this binary doesn't know.
    #[error(
        "the step was begun by a newer Muster: its journal has replay version {recorded}, this one knows {newest}"
    )]
    Version { recorded: u32, newest: u32 },
    /// The effect has no key.
    #[error(transparent)]
    Unkeyed(#[from] Unkeyed),
}

impl From<JournalError> for StepEnd {
    fn from(error: JournalError) -> StepEnd {
        match error {
            JournalError::Unkeyed(unkeyed) => unkeyed.into(),
            error => StepEnd::Retry(format!("can't be replayed: {error}")),
        }
    }
}

impl Journal {
    /// The journal of a step, with the rows of an earlier execution.
    pub(crate) fn new(changes: u32, step: u32, rows: Vec<JournalRow>) -> Journal {
        let newest = newest_version(changes);
        let version = rows.first().map_or(newest, |row| version_of(&row.kind));
        let mut recorded: BTreeMap<u32, Recorded> = BTreeMap::new();
        let (effects, parts): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.part == FIRST_PART);
        recorded.extend(effects.into_iter().map(|row| (row.ordinal, Recorded { row, parts: Vec::new() })));
        for part in parts {
            if let Some(effect) = recorded.get_mut(&part.ordinal) {
                effect.parts.push(part);
            }
        }
        recorded.values_mut().for_each(|effect| effect.parts.sort_by_key(|part| part.part));
        Journal {
            step,
            version,
            newest,
            next: 0,
            base: 0,
            recorded,
            asked: BTreeSet::new(),
            #[cfg(test)]
            death: None,
            #[cfg(test)]
            effects: Vec::new(),
        }
    }

    /// The replay version of the step.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// What the journal knows of an effect that the step asks for now.
    pub(crate) fn find(&mut self, effect: &Effect, matching: Matching) -> Result<Entry, JournalError> {
        #[cfg(test)]
        self.die_before(effect)?;
        if self.version > self.newest {
            return Err(JournalError::Version { recorded: self.version, newest: self.newest });
        }
        let Key { kind, hash } = effect.key(self.version)?;
        let key = Key { kind: marked(&kind, self.version), hash };
        let ordinal = match matching {
            Matching::ByOrder => self.next,
            Matching::ByOccurrence => self.ordinal_of(&key),
        };
        let found = self.recorded.get(&ordinal);
        if let Some(found) = found.filter(|found| !is_keyed(found, &key)) {
            let recorded = found.row.kind.clone();
            let asked =
                if recorded == key.kind { format!("{} with other arguments", key.kind) } else { key.kind };
            return Err(JournalError::Mismatch { ordinal, recorded, asked });
        }
        self.asked.insert(ordinal);
        if matching == Matching::ByOrder {
            self.next += 1;
        }
        #[cfg(test)]
        self.effects.push(effect.clone());
        Ok(match found {
            Some(found) => Entry::Recorded(found.clone()),
            None => Entry::Live(JournalRow {
                step: self.step,
                ordinal,
                part: FIRST_PART,
                kind: key.kind,
                args_hash: key.hash,
                outcome: String::new(),
            }),
        })
    }

    /// The first row of such an effect that is not asked for again yet; without one, the first free ordinal.
    fn ordinal_of(&self, key: &Key) -> u32 {
        let mut open = self.recorded.range(self.base..).filter(|(ordinal, _)| !self.asked.contains(ordinal));
        let found = open.find(|(_, found)| is_keyed(found, key)).map(|(ordinal, _)| *ordinal);
        let is_free = |ordinal: &u32| !self.asked.contains(ordinal) && !self.recorded.contains_key(ordinal);
        found.or_else(|| (self.base..).find(is_free)).unwrap_or(u32::MAX)
    }

    /// Whether an effect has happened before, or is under way, and is not asked for again yet.
    ///
    /// # Errors
    /// When the effect has no key.
    pub(crate) fn has_row(&self, effect: &Effect) -> Result<bool, JournalError> {
        let Key { kind, hash } = effect.key(self.version)?;
        let key = Key { kind: marked(&kind, self.version), hash };
        let mut open = self.recorded.iter().filter(|(ordinal, _)| !self.asked.contains(ordinal));
        Ok(open.any(|(_, found)| is_keyed(found, &key)))
    }

    /// The first effect of an earlier execution that this one has not asked for yet.
    pub(crate) fn open(&self) -> Option<&JournalRow> {
        let mut open = self.recorded.iter().filter(|(ordinal, _)| !self.asked.contains(ordinal));
        open.next().map(|(_, found)| &found.row)
    }

    /// From now on effects are matched by occurrence, among those from here on; answers what [`end_join`](Self::end_join) wants
    /// to know.
    pub(crate) fn begin_join(&mut self) -> u32 {
        std::mem::replace(&mut self.base, self.next)
    }

    /// From now on effects are matched by their place again, behind all that was asked for.
    pub(crate) fn end_join(&mut self, base: u32) {
        self.base = base;
        self.next = self.asked.last().map_or(self.next, |last| self.next.max(last + 1));
    }

    /// The slugs of the logs that an earlier execution has added.
    pub(crate) fn slugs(&self) -> Vec<String> {
        let logs = self.recorded.values().filter(|found| is_of(&found.row, LOG));
        // Version 1 doesn't tell.
        logs.filter_map(|found| serde_json::from_str(&found.row.outcome).ok()).collect()
    }
}

#[cfg(test)]
impl Journal {
    /// A step that begins now begins under this replay version.
    pub(crate) fn begin_under(&mut self, version: u32) {
        if self.recorded.is_empty() {
            self.version = version;
        }
    }

    fn die_before(&self, effect: &Effect) -> Result<(), JournalError> {
        if !self.is_dead() {
            return Ok(());
        }
        Err(JournalError::Mismatch {
            ordinal: self.next,
            recorded: effect.kind().to_owned(),
            asked: "a death of the master".to_owned(),
        })
    }

    /// Whether the death came.
    pub(crate) fn is_dead(&self) -> bool {
        self.death.is_some_and(|death| self.asked.len() >= death as usize)
    }
}

fn is_keyed(found: &Recorded, key: &Key) -> bool {
    found.row.kind == key.kind && found.row.args_hash == key.hash
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

/// The replay version of a row.
pub(crate) fn version_of(kind: &str) -> u32 {
    kind.split_once(VERSION_MARK).map_or(1, |(_, version)| version.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use Matching::{ByOccurrence, ByOrder};

    fn act(args: &str) -> Effect {
        Effect::Once { act: "act".into(), args: json!(args) }
    }

    fn journal(rows: &[JournalRow]) -> Journal {
        Journal::new(0, 3, rows.to_vec())
    }

    fn done(journal: &mut Journal, effect: &Effect, matching: Matching) -> JournalRow {
        match journal.find(effect, matching).unwrap() {
            Entry::Live(row) => JournalRow { outcome: "1".to_owned(), ..row },
            Entry::Recorded(found) => panic!("{found:?} is not live"),
        }
    }

    fn recorded(journal: &mut Journal, effect: &Effect, matching: Matching) -> JournalRow {
        match journal.find(effect, matching).unwrap() {
            Entry::Recorded(found) => found.row,
            Entry::Live(row) => panic!("{row:?} is live"),
        }
    }

    #[test]
    fn recorded_effects_come_back_in_order_and_the_next_one_is_live() {
        let mut first = journal(&[]);
        let rows = [done(&mut first, &act("a"), ByOrder), done(&mut first, &Effect::Time, ByOrder)];
        let mut again = journal(&rows);
        assert_eq!(recorded(&mut again, &act("a"), ByOrder), rows[0]);
        assert_eq!(recorded(&mut again, &Effect::Time, ByOrder), rows[1]);
        assert_eq!(done(&mut again, &act("c"), ByOrder).ordinal, 2);
    }

    #[test]
    fn another_kind_or_other_arguments_are_a_mismatch() {
        let rows = [done(&mut journal(&[]), &act("a"), ByOrder)];
        assert!(journal(&rows).find(&act("z"), ByOrder).is_err());
        assert!(journal(&rows).find(&Effect::Time, ByOrder).is_err());
    }

    #[test]
    fn branches_find_their_effects_in_any_order_and_equal_ones_by_occurrence() {
        let mut first = journal(&[]);
        let effects = [act("a"), act("b"), act("a"), Effect::Time];
        let rows = effects.each_ref().map(|effect| done(&mut first, effect, ByOccurrence));
        let mut again = journal(&rows);
        assert_eq!(recorded(&mut again, &Effect::Time, ByOccurrence), rows[3]);
        assert_eq!(recorded(&mut again, &act("a"), ByOccurrence), rows[0]);
        assert!(again.has_row(&act("a")).unwrap());
        assert_eq!(recorded(&mut again, &act("a"), ByOccurrence), rows[2]);
        assert!(!again.has_row(&act("a")).unwrap());
        assert_eq!(again.open(), Some(&rows[1]));
        assert_eq!(done(&mut again, &act("a"), ByOccurrence).ordinal, 4);
        assert_eq!(recorded(&mut again, &act("b"), ByOccurrence), rows[1]);
        assert_eq!(again.open(), None);
    }

    #[test]
    fn after_effects_at_the_same_time_the_order_counts_again() {
        let mut first = journal(&[]);
        let mut rows = vec![done(&mut first, &act("a"), ByOrder)];
        let base = first.begin_join();
        rows.extend([act("b"), act("c")].map(|effect| done(&mut first, &effect, ByOccurrence)));
        first.end_join(base);
        rows.push(done(&mut first, &act("a"), ByOrder));
        assert_eq!(rows.iter().map(|row| row.ordinal).collect::<Vec<_>>(), [0, 1, 2, 3]);
        let mut again = journal(&rows);
        assert_eq!(recorded(&mut again, &act("a"), ByOrder), rows[0]);
        let base = again.begin_join();
        assert_eq!(recorded(&mut again, &act("c"), ByOccurrence), rows[2]);
        assert_eq!(recorded(&mut again, &act("b"), ByOccurrence), rows[1]);
        again.end_join(base);
        assert_eq!(recorded(&mut again, &act("a"), ByOrder), rows[3]);
    }

    #[test]
    fn effects_that_can_not_be_written_down_have_no_key() {
        for seconds in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for effect in
                [Effect::Sleep { seconds }, Effect::Join { effects: vec![Effect::Sleep { seconds }] }]
            {
                let refused = journal(&[]).find(&effect, ByOrder);
                assert!(matches!(refused, Err(JournalError::Unkeyed(_))), "{refused:?}");
            }
        }
    }

    #[test]
    fn the_order_of_keys_is_no_difference() {
        let key = |args| Effect::Once { act: "act".into(), args }.key(2).unwrap();
        assert_eq!(key(json!({"a": 1, "b": {"c": 2, "d": 3}})), key(json!({"b": {"d": 3, "c": 2}, "a": 1})));
        assert_ne!(key(json!({"a": 1})), key(json!({"a": 2})));
    }

    #[test]
    fn a_journal_of_an_unknown_version_is_refused_before_anything_is_done() {
        let mut row = done(&mut journal(&[]), &act("a"), ByOrder);
        row.kind = format!("act@{}", newest_version(0) + 1);
        let refused = journal(&[row]).find(&act("a"), ByOrder);
        assert!(matches!(refused, Err(JournalError::Version { .. })), "{refused:?}");
    }

    #[test]
    fn a_journal_of_an_older_version_goes_on_under_it() {
        let row = JournalRow {
            step: 3,
            ordinal: 0,
            part: FIRST_PART,
            kind: "time".into(),
            args_hash: Effect::Time.key(1).unwrap().hash,
            outcome: "7".into(),
        };
        let mut again = journal(std::slice::from_ref(&row));
        assert_eq!(recorded(&mut again, &Effect::Sleep { seconds: 1.0 }, ByOrder), row);
        assert_eq!(done(&mut again, &act("a"), ByOrder).kind, "act");
    }
}
