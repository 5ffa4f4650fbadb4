//! What a step may do to the world, as data: an [`Effect`] is what the journal keys, what the pipe to the Python host carries,
//! and what the test double of a step matches. An [`Outcome`] is what came of one.

use muster_core::{
    BuildsetId, LogKind, Property, RequestId, Results, Timestamp,
    render::{Callable, Renderable, Request},
};
use muster_data::{AddedBuildset, Trigger};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    command::{CommandRequest, CommandResult},
    end::StepEnd,
    logs::LogRef,
};

/// One effect of a step. In JSON it is an object whose `effect` names the variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// Runs a command on the worker to its end; a file may move along. Comes to [`Outcome::Command`].
    Command(Box<CommandRequest>),
    /// Adds a log to the step. The name may be taken in this step: then the slug counts up. Comes to [`Outcome::Log`].
    AddLog {
        /// The name that people see.
        name: String,
        /// What its lines are.
        kind: LogKind,
    },
    /// Appends whole lines to a log. A last line without a newline gets one.
    Append {
        /// The log.
        log: LogRef,
        /// How the lines are marked in a log of stdio.
        stream: LineKind,
        /// The lines.
        text: String,
    },
    /// Ends a log before its step ends.
    FinishLog {
        /// The log.
        log: LogRef,
    },
    /// Sets a property of the build. It reaches the database when the step ends.
    SetProperty {
        /// Its name.
        name: String,
        /// Its value.
        value: Value,
        /// Who sets it.
        source: String,
    },
    /// Adds a link to the step. Doing it twice is the same as once.
    AddUrl {
        /// The text of the link.
        name: String,
        /// Where it leads.
        url: String,
    },
    /// Sets the line that people see while the step runs.
    SetState {
        /// The line.
        text: String,
    },
    /// Sets what the step's summary says when it has ended.
    SetSummary {
        /// The text.
        text: String,
        /// It also stands where the step is configured with a `descriptionDone`.
        over_configured: bool,
    },
    /// Asks for what a rendering needs: a secret, or the answer of a function. Comes to [`Outcome::Answer`].
    Ask {
        /// What is asked for.
        request: Request,
    },
    /// Asks a function about the step: `doStepIf` (without results), `hideStepIf` (with them). Comes to [`Outcome::Value`].
    AskAboutStep {
        /// The function.
        callable: Callable,
        /// How the step has ended.
        results: Option<Results>,
    },
    /// Calls a function of the configuration with plain arguments. Comes to [`Outcome::Value`].
    Call {
        /// The function.
        callable: Callable,
        /// Its arguments.
        args: Vec<Value>,
    },
    /// Renders a value against the build. What it needs is asked for by effects of their own. Comes to [`Outcome::Value`].
    Render {
        /// The value.
        value: Renderable,
    },
    /// Asks a scheduler for builds. Comes to [`Outcome::Triggered`].
    Trigger {
        /// The scheduler's name.
        scheduler: String,
        /// What is asked for.
        trigger: Box<Trigger>,
    },
    /// Waits until more than `known` of these buildsets are complete. Comes to [`Outcome::Buildsets`].
    AwaitBuildsets {
        /// Which.
        sets: Vec<BuildsetId>,
        /// How many are known to be complete.
        known: usize,
    },
    /// Cancels requests; what is over already stays as it is.
    CancelRequests {
        /// Which.
        requests: Vec<RequestId>,
    },
    /// An act of the master itself (an HTTP call, a file of the master's): done once, unless the master dies between the act
    /// and the commit of its outcome. Whoever performs it brings the act along. Comes to [`Outcome::Value`].
    Once {
        /// What kind of act; at most 30 letters.
        act: String,
        /// Its arguments.
        args: Value,
    },
    /// Asks for the present second. Comes to [`Outcome::Time`].
    Time,
    /// Waits. A replay waits no longer than what is left.
    Sleep {
        /// How long.
        seconds: f64,
    },
    /// Performs several effects at the same time. Comes to [`Outcome::Joined`] when all have ended, or, where some have ended
    /// their step, to the first such end.
    Join {
        /// Which.
        effects: Vec<Effect>,
    },
}

/// What came of an effect. In JSON it is an object with `outcome`, which names the variant, and `value`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "value", rename_all = "snake_case")]
pub enum Outcome {
    /// It is done, and there is nothing to say about it.
    Done,
    /// How a command ended.
    Command(Box<CommandResult>),
    /// The log that was added.
    Log(LogRef),
    /// A plain value.
    Value(Value),
    /// What was answered, or why it failed.
    Answer(Result<Renderable, String>),
    /// What was asked of a scheduler.
    Triggered(AddedBuildset),
    /// The buildsets that are complete, and how each ended.
    Buildsets(Vec<(BuildsetId, Results)>),
    /// A moment.
    Time(Timestamp),
    /// The outcomes of several effects, in the order of the effects.
    Joined(Vec<Outcome>),
}

/// The marker of lines in a log of stdio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LineKind {
    /// Standard output.
    #[serde(rename = "o")]
    Stdout,
    /// Standard error.
    #[serde(rename = "e")]
    Stderr,
    /// The master's own words.
    #[serde(rename = "h")]
    Header,
}

impl LineKind {
    /// The letter before each line.
    pub(crate) fn marker(self) -> char {
        match self {
            LineKind::Stdout => 'o',
            LineKind::Stderr => 'e',
            LineKind::Header => 'h',
        }
    }
}

/// What the journal knows an effect by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// What kind of effect it is.
    pub(crate) kind: String,
    /// The hash of the whole of it.
    pub(crate) hash: String,
}

/// An effect can't be written down in full, so a replay could not tell it from another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the effect {kind} can't be journalled: {reason}")]
pub(crate) struct Unkeyed {
    pub(crate) kind: String,
    pub(crate) reason: String,
}

/// The kind of commands in the journal.
pub(crate) const COMMAND: &str = "command";
/// The kind of new logs in the journal.
pub(crate) const LOG: &str = "log";

impl Effect {
    /// An act of the master.
    ///
    /// # Errors
    /// When the arguments can't be written down: the step becomes an exception.
    pub fn once(act: &str, args: &impl Serialize) -> Result<Effect, StepEnd> {
        let args = serde_json::to_value(args).map_err(|error| unkeyed(act, &error))?;
        Ok(Effect::Once { act: act.to_owned(), args })
    }

    /// Its kind, as the journal names it.
    pub(crate) fn kind(&self) -> &str {
        match self {
            Effect::Command(_) => COMMAND,
            Effect::AddLog { .. } => LOG,
            Effect::Append { .. } => "write",
            Effect::FinishLog { .. } => "finish_log",
            Effect::SetProperty { .. } => "property",
            Effect::AddUrl { .. } => "url",
            Effect::SetState { .. } => "state",
            Effect::SetSummary { .. } => "summary",
            Effect::Ask { .. } | Effect::AskAboutStep { .. } | Effect::Call { .. } => "python",
            Effect::Render { .. } => "render",
            Effect::Trigger { .. } => "trigger",
            Effect::AwaitBuildsets { .. } => "await_buildsets",
            Effect::CancelRequests { .. } => "cancel_requests",
            Effect::Once { act, .. } => act,
            // A wait is journalled as the moment when it began.
            Effect::Time | Effect::Sleep { .. } => "time",
            Effect::Join { .. } => "join",
        }
    }

    /// What the journal of a step knows it by.
    ///
    /// # Errors
    /// When a part of it doesn't survive being written down, like a number that is none: two effects that differ must never
    /// have the same key.
    pub(crate) fn key(&self, replay_version: u32) -> Result<Key, Unkeyed> {
        let hash = match replay_version {
            1 => hash(&self.arguments_of_version_1().map_err(|error| self.unkeyed(&error))?),
            _ => hash(&self.canonical()?),
        };
        Ok(Key { kind: self.kind().to_owned(), hash })
    }

    /// Its JSON with sorted keys, without what is this master's own.
    fn canonical(&self) -> Result<Vec<u8>, Unkeyed> {
        let keyed = self.without_own_places();
        let keyed = keyed.as_ref().unwrap_or(self);
        let mut value = serde_json::to_value(keyed).map_err(|error| self.unkeyed(&error))?;
        // JSON has no NaN and no infinity: they become null without a word.
        let read: Effect = serde_json::from_value(value.clone()).map_err(|error| self.unkeyed(&error))?;
        if read != *keyed {
            return Err(self.unkeyed(&"it reads back as another one"));
        }
        value.sort_all_objects();
        serde_json::to_vec(&value).map_err(|error| self.unkeyed(&error))
    }

    /// The same without paths of this master's file system, if it has any: another master that goes on has its own.
    fn without_own_places(&self) -> Option<Effect> {
        let Effect::Command(request) = self else { return None };
        let transfer = request.transfer.without_path()?;
        let request = CommandRequest { transfer, ..(**request).clone() };
        Some(Effect::Command(Box::new(request)))
    }

    /// What journals of replay version 1 hash: the arguments alone, each kind in its own shape.
    fn arguments_of_version_1(&self) -> serde_json::Result<Vec<u8>> {
        match self {
            Effect::Command(request) => serde_json::to_vec(&request.command),
            Effect::AddLog { name, kind } => serde_json::to_vec(&(name, kind)),
            Effect::Append { log, stream, text } => serde_json::to_vec(&(&log.slug, stream.marker(), text)),
            Effect::SetProperty { name, value, source } => {
                serde_json::to_vec(&(name, Property(value.clone(), source.clone())))
            }
            Effect::Ask { request } => serde_json::to_vec(request),
            Effect::AskAboutStep { callable, results } => serde_json::to_vec(&(callable, results)),
            Effect::Call { callable, args } => serde_json::to_vec(&(callable, args)),
            Effect::Trigger { scheduler, trigger } => serde_json::to_vec(&asked(scheduler, trigger)),
            Effect::Once { args, .. } => serde_json::to_vec(args),
            Effect::Time | Effect::Sleep { .. } => serde_json::to_vec(&()),
            // Those came later, or have no row.
            other => serde_json::to_vec(other),
        }
    }

    fn unkeyed(&self, reason: &dyn std::fmt::Display) -> Unkeyed {
        Unkeyed { kind: self.kind().to_owned(), reason: reason.to_string() }
    }
}

impl Outcome {
    /// A plain value.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn value(self) -> Result<Value, StepEnd> {
        match self {
            Outcome::Value(value) => Ok(value),
            other => Err(other.unexpected()),
        }
    }

    /// The end of a step whose effect came to something that it can't come to.
    pub(crate) fn unexpected(&self) -> StepEnd {
        StepEnd::Exception(format!("an effect came to {self:?}, which it can't come to"))
    }
}

impl From<Unkeyed> for StepEnd {
    fn from(unkeyed: Unkeyed) -> StepEnd {
        StepEnd::Exception(unkeyed.to_string())
    }
}

fn unkeyed(act: &str, error: &serde_json::Error) -> StepEnd {
    Unkeyed { kind: act.to_owned(), reason: error.to_string() }.into()
}

fn hash(text: &[u8]) -> String {
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What is asked of a scheduler, as journals of replay version 1 keep it.
fn asked(scheduler: &str, trigger: &Trigger) -> Value {
    let sources = trigger.sources.iter().map(|source| {
        json!([
            source.codebase,
            source.branch,
            source.revision,
            source.repository,
            source.project,
            source.patch.as_ref().map(|patch| &patch.body_base64),
        ])
    });
    let sources: Vec<Value> = sources.collect();
    let relationship = trigger.parent.as_ref().map(|(_, relationship)| relationship);
    json!([scheduler, sources, trigger.properties, relationship, trigger.waited_for])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_read_from_json_by_themselves() {
        let shell = json!({"shell": {"command": {"argv": [{"plain": "make"}]}}});
        for text in [
            json!({"effect": "add_log", "name": "stdio", "kind": "s"}),
            json!({"effect": "append", "log": {"slug": "stdio", "kind": "s"}, "stream": "h", "text": "a\n"}),
            json!({"effect": "set_property", "name": "p", "value": [1, null], "source": "me"}),
            json!({"effect": "command", "command": shell, "transfer": {"download_text": "t"}}),
            json!({"effect": "trigger", "scheduler": "t", "trigger": {"sources": [{"codebase": "", "branch": null}]}}),
            json!({"effect": "join", "effects": [{"effect": "time"}, {"effect": "sleep", "seconds": 0.5}]}),
        ] {
            let effect: Effect = serde_json::from_value(text.clone()).expect("it is an effect");
            let again: Effect = serde_json::from_value(json!(effect)).expect("it is one still");
            assert_eq!(again, effect);
            effect.key(2).unwrap();
        }
        assert!(
            serde_json::from_value::<Effect>(json!({"effect": "add_log", "name": "a", "kind": "s", "x": 1}))
                .is_err()
        );
    }

    #[test]
    fn the_place_of_a_file_on_the_master_is_no_part_of_the_key() {
        let upload = |path: &str| {
            let command = muster_session::Command::Listdir { dir: "d".into() };
            let transfer = super::super::Transfer::Upload { path: path.into(), max_size: None };
            Effect::Command(Box::new(CommandRequest::new(command, None).with_transfer(transfer)))
        };
        assert_eq!(upload("/a").key(2).unwrap(), upload("/b").key(2).unwrap());
    }
}
