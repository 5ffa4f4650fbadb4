//! The lines that people read about steps and builds (`compat/behaviour-2-builds.md` 2.5 and 2.6).

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

/// A finished step: its words, the result unless it is success, and why the worker ended it.
pub(crate) fn finished(text: Option<String>, suffix: &Value, results: Results, note: Option<&str>) -> String {
    let mut parts = vec![text.unwrap_or_else(|| "finished".to_owned())];
    parts.extend(words(suffix));
    let mut line = parts.join(" ");
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
pub(crate) fn build(results: Results, stop_reason: Option<&str>, steps: &[String]) -> String {
    let mut parts = vec![
        match results {
            Results::Success | Results::Skipped => "build successful",
            Results::Failure => "failed",
            other => other.name(),
        }
        .to_owned(),
    ];
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
        assert_eq!(
            finished(quoted, &Value::Null, Results::Failure, Some("timed out")),
            "'sleep 30' (failure) (timed out)"
        );
        assert_eq!(quoted_command(&["a".into(), "b".into(), "c".into()]).unwrap(), "'a b ...'");
        assert_eq!(current(&json!(["compiling", "all"]), &json!("fast")), "compiling all fast");
        assert_eq!(current(&Value::Null, &Value::Null), "running");
        let step = "'sleep 40' (cancelled)".to_owned();
        assert_eq!(
            build(Results::Cancelled, Some("because"), &[step]),
            "cancelled (because) 'sleep 40' (cancelled)"
        );
        assert_eq!(build(Results::Success, None, &[]), "build successful");
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
