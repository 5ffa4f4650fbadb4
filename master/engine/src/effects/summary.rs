//! The lines that people read about steps and builds (`docs/compat/behaviour-2-builds.md` 2.5 and 2.6).

use muster_core::{Results, StepFlags};
use serde_json::Value;

/// Words of a description: text, or a list of texts.
pub(crate) fn words(description: &Value) -> Vec<String> {
    match description {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(words).collect(),
        Value::Null => Vec::new(),
        other => vec![other.to_string()],
    }
}

/// A running step: its description, or `running`.
pub(crate) fn current(description: &Value, suffix: &Value) -> String {
    let mut text = words(description);
    if text.is_empty() {
        return "running".to_owned();
    }
    text.extend(words(suffix));
    text.join(" ")
}

/// What a step's summary says whatever is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum OwnSummary {
    /// The configuration and the result speak.
    #[default]
    None,
    /// This text alone.
    Text(String),
    /// The first text, and in the build's summary the second, if any.
    Two(String, Option<String>),
    /// Nothing: the build's summary doesn't name the step.
    Silent,
}

/// What a step's kind has to say about its end.
pub(crate) struct Texts {
    /// Over everything that is configured.
    pub(crate) outcome: Option<String>,
    /// Where no `descriptionDone` is configured.
    pub(crate) default: Option<String>,
}

impl Texts {
    /// The words of a finished step; `None` when nobody has any.
    pub(crate) fn choose(self, done: &Value, description: &Value, suffix: &Value) -> Option<String> {
        let (done, description) = (words(done), words(description));
        let mut text = match (self.outcome, self.default) {
            (Some(outcome), _) => vec![outcome],
            (None, _) if !done.is_empty() => done,
            // A command speaks for itself: no suffix.
            (None, Some(default)) => return Some(default),
            (None, None) => description,
        };
        let suffix = words(suffix);
        if text.is_empty() && !suffix.is_empty() {
            text.push("finished".to_owned());
        }
        text.extend(suffix);
        (!text.is_empty()).then(|| text.join(" "))
    }
}

/// A finished step: its words, the result unless it is success, and why the worker ended it.
pub(crate) fn finished(text: Option<String>, results: Results, note: Option<&str>) -> String {
    let mut line = text.unwrap_or_else(|| "finished".to_owned());
    if results != Results::Success {
        line.push_str(&format!(" ({results})"));
    }
    if let Some(note) = note {
        line.push_str(&format!(" ({note})"));
    }
    line
}

/// A command in a summary: up to two words in quotes, then an ellipsis.
pub(crate) fn quoted_command(words: &[String]) -> Option<String> {
    match words {
        [] => None,
        [one] => Some(format!("'{one}'")),
        [one, two] => Some(format!("'{one} {two}'")),
        [one, two, ..] => Some(format!("'{one} {two} ...'")),
    }
}

/// Whether a step's line is part of its build's: by the given policy (`true`, `false`, a list of codes), or by its
/// flags.
pub(crate) fn counts_for_build(policy: &Value, flags: StepFlags, results: Results) -> bool {
    match policy {
        Value::Bool(all) => *all,
        Value::Array(codes) => codes.iter().any(|code| code.as_i64() == Some(results.code())),
        _ => match results {
            Results::Exception | Results::Retry | Results::Cancelled => true,
            Results::Failure => flags.flunk_on_failure || flags.halt_on_failure || flags.warn_on_failure,
            Results::Warnings => flags.warn_on_warnings || flags.flunk_on_warnings,
            Results::Success | Results::Skipped => false,
        },
    }
}

/// A finished build.
pub(crate) fn build(
    results: Results,
    connection_lost: bool,
    stop_reason: Option<&str>,
    steps: &[String],
) -> String {
    let mut parts = vec![
        match results {
            Results::Success | Results::Skipped => "build successful",
            Results::Failure => "failed",
            other => other.name(),
        }
        .to_owned(),
    ];
    if connection_lost {
        parts.push("lost connection".to_owned());
    }
    parts.extend(stop_reason.filter(|reason| !reason.is_empty()).map(|reason| format!("({reason})")));
    parts.extend_from_slice(steps);
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_are_buildbots() {
        let quoted = quoted_command(&["sleep".into(), "30".into()]);
        assert_eq!(finished(quoted, Results::Failure, Some("timed out")), "'sleep 30' (failure) (timed out)");
        assert_eq!(quoted_command(&["a".into(), "b".into(), "c".into()]).unwrap(), "'a b ...'");
        assert_eq!(current(&json!(["compiling", "all"]), &json!("fast")), "compiling all fast");
        assert_eq!(current(&Value::Null, &Value::Null), "running");
        let step = "'sleep 40' (cancelled)".to_owned();
        assert_eq!(
            build(Results::Cancelled, false, Some("because"), &[step]),
            "cancelled (because) 'sleep 40' (cancelled)"
        );
        let step = "'sleep 40' (retry)".to_owned();
        assert_eq!(build(Results::Retry, true, None, &[step]), "retry lost connection 'sleep 40' (retry)");
        assert_eq!(build(Results::Success, false, None, &[]), "build successful");
    }

    #[test]
    fn the_kind_of_a_step_speaks_where_nothing_is_configured() {
        let choose = |outcome: Option<&str>, default: Option<&str>, done: Value, description: Value| {
            let texts = Texts { outcome: outcome.map(str::to_owned), default: default.map(str::to_owned) };
            texts.choose(&done, &description, &json!("x"))
        };
        let null = Value::Null;
        assert_eq!(choose(Some("o"), Some("'c'"), json!("done"), null.clone()).unwrap(), "o x");
        assert_eq!(choose(None, Some("'c'"), json!(["all", "done"]), null.clone()).unwrap(), "all done x");
        assert_eq!(choose(None, Some("'c'"), null.clone(), json!("doing")).unwrap(), "'c'");
        assert_eq!(choose(None, None, null.clone(), json!("doing")).unwrap(), "doing x");
        assert_eq!(choose(None, None, null.clone(), null.clone()).unwrap(), "finished x");
        let nothing = Texts { outcome: None, default: None };
        assert_eq!(nothing.choose(&null, &null, &null), None);
    }

    #[test]
    fn a_failure_counts_unless_it_was_made_harmless() {
        let flags = StepFlags::default();
        assert!(counts_for_build(&Value::Null, flags, Results::Failure));
        assert!(!counts_for_build(&Value::Null, flags, Results::Warnings));
        assert!(!counts_for_build(&json!(false), flags, Results::Exception));
        assert!(counts_for_build(&json!([0]), flags, Results::Success));
    }
}
