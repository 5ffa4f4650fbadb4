//! The environment of a command.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use muster_session::command::EnvValue;

use super::text::substitute;

/// Separates the entries of search paths.
const PATH_SEPARATOR: &str = ":";

/// The worker's own variables with the master's changes put over them. `PWD` is always the working directory.
pub(crate) fn compose(
    own: &BTreeMap<OsString, OsString>,
    changes: &BTreeMap<String, EnvValue>,
    workdir: &Path,
) -> BTreeMap<OsString, OsString> {
    let mut environment = own.clone();
    for (name, change) in changes {
        let mut value = match change {
            EnvValue::Remove => {
                environment.remove(&OsString::from(name));
                continue;
            }
            EnvValue::Set(value) => value.clone(),
            EnvValue::Joined(values) => values.join(PATH_SEPARATOR),
        };
        if name == "PYTHONPATH" {
            // Extended rather than replaced: the worker's own Python programs need it too.
            value.push_str(":${PYTHONPATH}");
        }
        let value = substitute(&value, |reference| own.get(&OsString::from(reference)).cloned());
        environment.insert(name.into(), value);
    }
    environment.insert("PWD".into(), workdir.into());
    environment
}

/// Why an environment can't be given to a process, if it can't.
pub(crate) fn refuse(changes: &BTreeMap<String, EnvValue>) -> Option<String> {
    for (name, change) in changes {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Some(format!(
                "'env' names a variable {name:?}: names must not be empty or hold '=' or NUL"
            ));
        }
        let has_nul = match change {
            EnvValue::Set(value) => value.contains('\0'),
            EnvValue::Joined(values) => values.iter().any(|value| value.contains('\0')),
            EnvValue::Remove => false,
        };
        if has_nul {
            return Some(format!("'env' values must not hold NUL bytes; key '{name}' is incorrect"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(value: &str) -> EnvValue {
        EnvValue::Set(value.into())
    }

    #[test]
    fn changes_follow_the_rules_of_the_stock_worker() {
        let own = BTreeMap::from([
            ("PATH".into(), "/usr/bin:/bin".into()),
            ("HOME".into(), "/root".into()),
            ("PYTHONPATH".into(), "/lib".into()),
        ]);
        let changes = BTreeMap::from([
            ("FOO".into(), set("x${PATH}")),
            ("BAR".into(), set("${NOPE}y${FOO}")),
            ("LST".into(), EnvValue::Joined(vec!["a".into(), "b".into()])),
            ("HOME".into(), EnvValue::Remove),
            ("PYTHONPATH".into(), set("pp")),
            ("PWD".into(), set("elsewhere")),
        ]);
        let composed = compose(&own, &changes, Path::new("/w"));
        let expected = [
            ("BAR", "y"),
            ("FOO", "x/usr/bin:/bin"),
            ("LST", "a:b"),
            ("PATH", "/usr/bin:/bin"),
            ("PWD", "/w"),
            ("PYTHONPATH", "pp:/lib"),
        ];
        let expected: BTreeMap<OsString, OsString> =
            expected.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        assert_eq!(composed, expected);
    }

    #[test]
    fn names_and_values_that_no_process_can_have_are_refused() {
        assert!(refuse(&BTreeMap::from([("A=B".into(), set("x"))])).is_some());
        assert!(refuse(&BTreeMap::from([("A".into(), set("x\0"))])).is_some());
        assert!(refuse(&BTreeMap::from([("A".into(), set("x"))])).is_none());
    }
}
