use super::*;
use serde_json::Value;

/// What Python 3.11 found of each pattern in each text, by `match` with its groups and by `search`.
const PYTHON: &str = include_str!("python.json");

/// The same of one pattern for each piece of Python's syntax. Without the groups of `(a*)*` and `(a*)+`: in Python the last,
/// empty repetition is the group's, here it is the last that took something.
const SYNTAX: &str = include_str!("python_syntax.json");

#[test]
fn patterns_find_what_python_finds() {
    find_what_was_recorded(PYTHON);
}

#[test]
fn all_of_pythons_syntax_is_understood() {
    find_what_was_recorded(SYNTAX);
}

fn find_what_was_recorded(recorded: &str) {
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    let texts: Vec<&str> =
        recorded["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    for row in recorded["patterns"].as_array().unwrap() {
        let written = row[0].as_str().unwrap();
        let at_start = Pattern::at_start(written).unwrap();
        let search = Pattern::search(written).unwrap();
        for (index, text) in texts.iter().enumerate() {
            let expected = row[1].as_array().unwrap().iter().find(|found| found[0] == index);
            assert_eq!(
                at_start.matches(text).unwrap(),
                expected.is_some(),
                "{written:?} at the start of {text:?}"
            );
            let searched = row[2].as_array().unwrap().iter().any(|found| *found == index);
            assert_eq!(search.matches(text).unwrap(), searched, "{written:?} in {text:?}");
            let Some(groups) = expected.and_then(|found| found.get(1)) else { continue };
            let captures = at_start.captures(text).unwrap();
            let found: Vec<Option<&str>> =
                (1..captures.len()).map(|group| captures.get(group).map(|group| group.as_str())).collect();
            assert_eq!(serde_json::json!(found), *groups, "{written:?} at the start of {text:?}");
        }
    }
}

#[test]
fn what_has_no_counterpart_is_refused() {
    // What Python refuses, and what other languages know.
    let others = [
        r"[a-\d]", "a**", "(?<n>a)", r"\p{L}", r"\h", r"\K", r"\R", "(?|a|b)", "(?R)", r"\g<1>", r"\X",
        r"\G", r"\z", r"\Q.\E", r"\e", r"\cA", // Python knows it, and nobody needs it.
        "(?=a)*",
    ];
    for written in others.into_iter().chain([
        "(",
        ")",
        "[a",
        "a\\",
        r"\q",
        r"\N{DIGIT ONE}",
        "(?L)a",
        "(?Pa)",
        "*a",
        r"\2(a)",
    ]) {
        let error = Pattern::search(written).unwrap_err().to_string();
        assert!(error.contains("can't be used"), "{error}");
    }
}

#[test]
fn a_search_without_end_gives_up() {
    let pattern = Pattern::at_start(r"(a|aa)+\1$").unwrap();
    let error = pattern
        .matches(&"a".repeat(80))
        .err()
        .or_else(|| pattern.matches(&format!("{}b", "a".repeat(80))).err());
    assert!(error.is_some_and(|error| error.to_string().contains("gave up")));
}
