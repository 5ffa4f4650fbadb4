//! How the journal keeps a command. Its row says where it is, and is written again with each update, so it is small. What grows
//! is in further parts, which are added: collected text, names of files, what an observer has learnt. When there are as many
//! parts as there may be, everything is written anew as one, and those after it replace the former ones one by one.

use std::collections::BTreeMap;

use muster_session::BootId;
use muster_store::runs::{FIRST_PART, JournalRow, LAST_PART};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    command::{CommandResult, CommandState},
    end::{StepEnd, outcome},
    journal::{Recorded, version_of},
    logs::Tails,
    observer::LineObserver,
};

/// Parts of a command beside its row. Writing everything anew costs a part of that whole with each update, so the more the
/// better; the column has room for so many.
const MAX_PARTS: u8 = LAST_PART - FIRST_PART;

/// Where a command is.
#[derive(Serialize, Deserialize)]
struct Cursor {
    boot: BootId,
    attempt: u32,
    seen: u64,
    ended: bool,
    tails: Tails,
    /// Without what is in parts.
    result: CommandResult,
    lazy_logs: BTreeMap<String, String>,
    /// How often everything was written anew.
    generation: u32,
    /// How many parts of this generation there are.
    parts: u8,
}

/// What was added to a command. The first of a generation holds everything until then.
#[derive(Serialize, Deserialize)]
struct Part {
    generation: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    stdout: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    stderr: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    /// In the first part the observer's state, in the others its news; null when there is nothing.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    observer: Value,
}

impl Part {
    fn is_empty(&self) -> bool {
        let Part { generation: _, stdout, stderr, files, content, observer } = self;
        stdout.is_empty() && stderr.is_empty() && files.is_empty() && content.is_none() && observer.is_null()
    }
}

/// The rows of one command.
pub(crate) struct CommandRows {
    row: JournalRow,
    generation: u32,
    parts: u8,
    /// How much of each is in parts.
    written: Written,
}

#[derive(Default)]
struct Written {
    stdout: usize,
    stderr: usize,
    files: usize,
    content: bool,
}

impl Written {
    fn of(result: &CommandResult) -> Written {
        let CommandResult { stdout, stderr, files, content, .. } = result;
        Written { stdout: stdout.len(), stderr: stderr.len(), files: files.len(), content: content.is_some() }
    }
}

/// A command as its rows tell it.
pub(crate) struct Restored {
    pub(crate) rows: CommandRows,
    pub(crate) state: CommandState,
    observed: Vec<Observed>,
}

/// What an observer is told to go on.
enum Observed {
    State(Value),
    News(Value),
}

impl CommandRows {
    /// A command that is not there yet.
    pub(crate) fn new(row: JournalRow) -> CommandRows {
        CommandRows { row, generation: 0, parts: 0, written: Written::default() }
    }

    /// Its first row, for what names the command.
    pub(crate) fn row(&self) -> &JournalRow {
        &self.row
    }

    /// The command as it is to be begun anew: of what was collected nothing counts any more.
    pub(crate) fn begin_anew(&mut self) {
        (self.generation, self.parts, self.written) = (self.generation + 1, 0, Written::default());
    }

    /// The rows that change when a command has come to this state.
    ///
    /// # Errors
    /// When the state can't be written down: the step becomes an exception.
    pub(crate) fn changed(
        &mut self,
        state: &CommandState,
        observer: Option<&mut dyn LineObserver>,
    ) -> Result<Vec<JournalRow>, StepEnd> {
        if version_of(&self.row.kind) == 1 {
            let observer = observer.map_or(Value::Null, |observer| observer.state());
            let state = CommandState { observer, ..state.clone() };
            return Ok(vec![self.with(FIRST_PART, &state)?]);
        }
        let mut rows = Vec::with_capacity(2);
        let part = self.next_part(&state.result, observer);
        if !part.is_empty() {
            self.parts += 1;
            rows.push(self.with(self.parts, &part)?);
        }
        rows.push(self.with(FIRST_PART, &self.cursor(state))?);
        Ok(rows)
    }

    fn next_part(&mut self, result: &CommandResult, observer: Option<&mut dyn LineObserver>) -> Part {
        let anew = self.parts == MAX_PARTS;
        if anew {
            self.begin_anew();
        }
        let is_first = self.parts == 0;
        let observer = match observer {
            Some(observer) => match observer.news() {
                Value::Null if !anew => Value::Null,
                _ if is_first => observer.state(),
                news => news,
            },
            None => Value::Null,
        };
        let before = std::mem::replace(&mut self.written, Written::of(result));
        Part {
            generation: self.generation,
            stdout: result.stdout[before.stdout..].to_owned(),
            stderr: result.stderr[before.stderr..].to_owned(),
            files: result.files[before.files..].to_vec(),
            content: result.content.clone().filter(|_| !before.content),
            observer,
        }
    }

    fn cursor(&self, state: &CommandState) -> Cursor {
        let CommandState { boot, attempt, seen, ended, tails, result, lazy_logs, observer: _ } = state;
        let CommandResult { rc, failure_reason, stat, times, error, interrupted, .. } = result;
        Cursor {
            boot: boot.clone(),
            attempt: *attempt,
            seen: *seen,
            ended: *ended,
            tails: tails.clone(),
            result: CommandResult {
                rc: *rc,
                failure_reason: failure_reason.clone(),
                stat: *stat,
                times: *times,
                error: error.clone(),
                interrupted: *interrupted,
                ..CommandResult::default()
            },
            lazy_logs: lazy_logs.clone(),
            generation: self.generation,
            parts: self.parts,
        }
    }

    fn with(&self, part: u8, outcome: &impl Serialize) -> Result<JournalRow, StepEnd> {
        let outcome = serde_json::to_string(outcome)
            .map_err(|error| StepEnd::Exception(format!("a command can't be recorded: {error}")))?;
        Ok(JournalRow { part, outcome, ..self.row.clone() })
    }
}

impl Restored {
    /// Reads the rows of an earlier execution.
    ///
    /// # Errors
    /// When they can't be read: the build is wanted again.
    pub(crate) fn read(recorded: Recorded) -> Result<Restored, StepEnd> {
        let Recorded { row, parts } = recorded;
        if version_of(&row.kind) == 1 {
            let state: CommandState = outcome(&row)?;
            let observed = vec![Observed::State(state.observer.clone())];
            return Ok(Restored { rows: CommandRows::new(row), state, observed });
        }
        let Cursor { boot, attempt, seen, ended, tails, mut result, lazy_logs, generation, parts: count } =
            outcome(&row)?;
        let mut observed = Vec::new();
        for part in 1..=count {
            let found = parts.iter().find(|known| known.part == part).map(read_part::<Part>).transpose()?;
            let Some(found) = found.filter(|found| found.generation == generation) else {
                return Err(StepEnd::Retry(format!(
                    "can't be replayed: part {part} of {count} of command {} is missing",
                    row.ordinal
                )));
            };
            result.stdout.push_str(&found.stdout);
            result.stderr.push_str(&found.stderr);
            result.files.extend(found.files);
            result.content = found.content.or(result.content);
            observed.push(match part {
                1 => Observed::State(found.observer),
                _ => Observed::News(found.observer),
            });
        }
        let rows = CommandRows { row, generation, parts: count, written: Written::of(&result) };
        let observer = Value::Null;
        let state = CommandState { boot, attempt, seen, ended, tails, result, lazy_logs, observer };
        Ok(Restored { rows, state, observed })
    }

    /// Lets an observer go on from what it knew.
    pub(crate) fn inform(&mut self, observer: &mut dyn LineObserver) {
        for observed in std::mem::take(&mut self.observed) {
            match observed {
                Observed::State(Value::Null) | Observed::News(Value::Null) => {}
                Observed::State(state) => observer.restore(state),
                Observed::News(news) => observer.add(news),
            }
        }
    }
}

fn read_part<T: DeserializeOwned>(row: &JournalRow) -> Result<T, StepEnd> {
    outcome(row)
}

/// Attempt of a command that has not ended, by its first row, whatever its version.
pub(crate) fn unfinished(row: &JournalRow) -> Option<u32> {
    #[derive(Deserialize)]
    struct Brief {
        attempt: u32,
        ended: bool,
    }
    let Brief { attempt, ended } = serde_json::from_str(&row.outcome).ok()?;
    (!ended).then_some(attempt)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use muster_session::command::Stream;
    use serde_json::json;

    use super::*;

    /// Knows how many lines there were.
    #[derive(Default)]
    struct Counter {
        lines: u64,
        told: u64,
    }

    impl LineObserver for Counter {
        fn line(&mut self, _: &Stream, _: &str) {
            self.lines += 1;
        }

        fn state(&self) -> Value {
            json!(self.lines)
        }

        fn restore(&mut self, state: Value) {
            self.lines = state.as_u64().unwrap();
            self.told = self.lines;
        }

        fn news(&mut self) -> Value {
            let more = self.lines - std::mem::replace(&mut self.told, self.lines);
            if more == 0 { Value::Null } else { json!({ "more": more }) }
        }

        fn add(&mut self, news: Value) {
            self.restore(json!(self.lines + news["more"].as_u64().unwrap()));
        }
    }

    fn row() -> JournalRow {
        let (kind, args_hash, outcome) = ("command@2".to_owned(), "h".to_owned(), String::new());
        JournalRow { step: 1, ordinal: 3, part: FIRST_PART, kind, args_hash, outcome }
    }

    fn read(stored: &BTreeMap<u8, JournalRow>) -> Result<Restored, StepEnd> {
        let parts = stored.values().filter(|row| row.part != FIRST_PART).cloned().collect();
        Restored::read(Recorded { row: stored[&FIRST_PART].clone(), parts })
    }

    /// Whoever goes on with a command at whatever point knows all of it; and an update writes little more than what is new.
    #[test]
    fn a_command_is_whole_after_each_of_its_updates() {
        let (mut rows, mut state) = (CommandRows::new(row()), CommandState::new(BootId("b".into())));
        let (mut stored, mut observer, mut written) = (BTreeMap::new(), Counter::default(), 0);
        for number in 1..=1000_u64 {
            state.seen = number;
            if number % 3 != 0 {
                state.result.stdout.push_str(&format!("{number:0100}\n"));
            }
            if number % 5 == 0 {
                observer.line(&Stream::Stdout, "");
            }
            for row in rows.changed(&state, Some(&mut observer)).unwrap() {
                written += row.outcome.len();
                stored.insert(row.part, row);
            }
            let mut restored = read(&stored).unwrap();
            let mut other = Counter::default();
            restored.inform(&mut other);
            assert_eq!((restored.state, other.lines), (state.clone(), observer.lines), "{number}");
            if number % 7 == 0 {
                rows = restored.rows;
            }
        }
        let whole = state.result.stdout.len();
        assert!(written < 20 * whole, "{written} bytes for {whole}");
        stored.remove(&2);
        assert!(matches!(read(&stored), Err(StepEnd::Retry(_))));
    }
}
