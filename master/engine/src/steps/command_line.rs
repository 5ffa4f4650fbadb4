//! What a shell step runs: text for a shell, or a list with lists inside; and how to read its exit code.

use std::collections::BTreeMap;

use muster_core::{
    Results, integers,
    render::{py_repr, py_str},
};
use muster_session::command::{Argument, CommandLine, EnvValue, LogFile};
use serde_json::Value;

use super::arguments::{self, Misfit};
use crate::effects::{StepContext, summary};

/// The first item of a list of three that hides its second one from logs: `["obfuscated", real, shown]`.
const OBFUSCATED: &str = "obfuscated";

/// A command as it was configured.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CommandText {
    pub(super) line: CommandLine,
    words: Vec<String>,
}

impl CommandText {
    /// A program with its arguments.
    pub(super) fn of_words(words: Vec<String>) -> CommandText {
        let arguments = words.iter().cloned().map(Argument::Plain).collect();
        CommandText { line: CommandLine::Argv(arguments), words }
    }

    /// Makes it what the summary of the step says.
    pub(super) fn announced(self, context: &mut StepContext<'_>) -> CommandText {
        if let Some(summary) = self.summary() {
            context.set_summary(summary);
        }
        self
    }

    /// Reads a rendered command; an error says what it must be.
    pub(super) fn parse(command: &Value) -> Result<CommandText, String> {
        match command {
            Value::String(text) if integers::digits(text).is_none() => {
                let words = text.split_whitespace().map(str::to_owned).collect();
                Ok(CommandText { line: CommandLine::Script(text.clone().into()), words })
            }
            Value::Array(items) => {
                let mut arguments = Vec::new();
                flatten(items, &mut arguments);
                let words = arguments.iter().map(|argument| argument.shown().to_owned()).collect();
                Ok(CommandText { line: CommandLine::Argv(arguments), words })
            }
            other => Err(format!("a text or a list, not {}", py_repr(other))),
        }
    }

    /// How summaries show it.
    pub(super) fn summary(&self) -> Option<String> {
        summary::quoted_command(&self.words)
    }
}

fn flatten(items: &[Value], arguments: &mut Vec<Argument>) {
    for item in items {
        match item {
            Value::Array(inner) => match inner.as_slice() {
                [Value::String(tag), real, shown] if tag == OBFUSCATED => {
                    arguments.push(Argument::Obfuscated { real: py_str(real), shown: py_str(shown) });
                }
                inner => flatten(inner, arguments),
            },
            plain => arguments.push(Argument::Plain(py_str(plain))),
        }
    }
}

/// What exit codes mean; those that aren't named are failures.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ExitCodes(BTreeMap<Option<i64>, Results>);

impl arguments::Argument for CommandText {
    fn read(value: Value) -> Result<CommandText, Misfit> {
        CommandText::parse(&value).map_err(|wanted| Misfit::must_be(&wanted))
    }
}

impl Default for ExitCodes {
    fn default() -> ExitCodes {
        ExitCodes([(Some(0), Results::Success)].into())
    }
}

impl ExitCodes {
    /// Reads `decodeRC`: results by exit codes. An error says what it must be.
    fn parse(value: &Value) -> Result<ExitCodes, String> {
        let Value::Object(entries) = value else {
            return if value.is_null() { Ok(ExitCodes::default()) } else { Err(wanted(value)) };
        };
        let mut codes = BTreeMap::new();
        for (code, results) in entries {
            let code = match code.as_str() {
                "None" => None,
                number => Some(number.parse().map_err(|_| wanted(value))?),
            };
            let results = results.as_i64().and_then(Results::from_code).ok_or_else(|| wanted(value))?;
            codes.insert(code, results);
        }
        Ok(ExitCodes(codes))
    }

    /// The meaning of an exit code.
    pub(super) fn results(&self, rc: Option<i64>) -> Results {
        self.0.get(&rc).copied().unwrap_or(Results::Failure)
    }
}

impl arguments::Argument for ExitCodes {
    fn read(value: Value) -> Result<ExitCodes, Misfit> {
        ExitCodes::parse(&value).map_err(|wanted| Misfit::must_be(&wanted))
    }
}

fn wanted(value: &Value) -> String {
    format!("a dictionary of results by exit codes, not {}", py_repr(value))
}

/// Variables by their names; `None` is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Env(pub(super) BTreeMap<String, EnvValue>);

impl arguments::Argument for Env {
    fn read(value: Value) -> Result<Env, Misfit> {
        let mut env = BTreeMap::new();
        read_env(&value, &mut env).map_err(|wanted| Misfit::must_be(&wanted))?;
        Ok(Env(env))
    }
}

/// Reads an environment into `env`; later ones win. An error says what it must be.
pub(super) fn read_env(value: &Value, env: &mut BTreeMap<String, EnvValue>) -> Result<(), String> {
    let entries = match value {
        Value::Null => return Ok(()),
        Value::Object(entries) => entries,
        other => return Err(format!("a dictionary, not {}", py_repr(other))),
    };
    for (name, value) in entries {
        let parts = |items: &[Value]| items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        let value = match value {
            Value::Null => Some(EnvValue::Remove),
            Value::String(text) if integers::digits(text).is_none() => Some(EnvValue::Set(text.clone())),
            Value::Array(items) => Option::<Vec<String>>::map(parts(items), EnvValue::Joined),
            _ => None,
        };
        let value =
            value.ok_or_else(|| format!("made of texts or lists of texts; key '{name}' is neither"))?;
        env.insert(name.clone(), value);
    }
    Ok(())
}

/// The files to follow, by the names of their logs, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct LogFiles(pub(super) Vec<(String, LogFile)>);

impl arguments::Argument for LogFiles {
    fn read(value: Value) -> Result<LogFiles, Misfit> {
        read_logfiles(&value).map(LogFiles).map_err(|wanted| Misfit::must_be(&wanted))
    }
}

fn read_logfiles(value: &Value) -> Result<Vec<(String, LogFile)>, String> {
    let entries = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Object(entries) => entries,
        other => return Err(format!("a dictionary, not {}", py_repr(other))),
    };
    let file = |value: &Value| match value {
        Value::String(path) => Some(LogFile { filename: path.clone(), follow: false }),
        Value::Object(fields) => Some(LogFile {
            filename: fields.get("filename")?.as_str()?.to_owned(),
            follow: fields.get("follow").is_some_and(crate::effects::truth),
        }),
        _ => None,
    };
    entries
        .iter()
        .map(|(name, value)| match file(value) {
            Some(file) => Ok((name.clone(), file)),
            None => Err(format!("made of paths or dictionaries with a filename; '{name}' is neither")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_are_flat_and_passwords_stay_hidden() {
        let command = json!(["curl", ["-u", ["obfuscated", "me:secret", "me:***"]], 3, true, 1.5]);
        let command = CommandText::parse(&command).unwrap();
        let CommandLine::Argv(arguments) = &command.line else { panic!("{command:?}") };
        let real: Vec<&str> = arguments.iter().map(Argument::real).collect();
        assert_eq!(real, ["curl", "-u", "me:secret", "3", "True", "1.5"]);
        assert_eq!(arguments[2].shown(), "me:***");
        assert_eq!(command.summary().unwrap(), "'curl -u ...'");
        assert_eq!(CommandText::parse(&json!("make  all")).unwrap().summary().unwrap(), "'make all'");
        assert_eq!(CommandText::parse(&json!(null)).unwrap_err(), "a text or a list, not None");
    }

    #[test]
    fn exit_codes_mean_what_the_dictionary_says() {
        let codes = ExitCodes::parse(&json!({"0": 0, "3": 1, "None": 4})).unwrap();
        assert_eq!(codes.results(Some(3)), Results::Warnings);
        assert_eq!(codes.results(None), Results::Exception);
        assert_eq!(codes.results(Some(1)), Results::Failure);
        assert_eq!(ExitCodes::default().results(Some(0)), Results::Success);
        for wrong in [json!([0]), json!({"x": 0}), json!({"0": 17}), json!({"0": "success"})] {
            assert!(ExitCodes::parse(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn environments_are_merged_by_name() {
        let mut env = BTreeMap::new();
        read_env(&json!({"A": "builder", "B": "builder"}), &mut env).unwrap();
        read_env(&json!({"A": null, "PATH": ["/x", "${PATH}"]}), &mut env).unwrap();
        assert_eq!(env["A"], EnvValue::Remove);
        assert_eq!(env["B"], EnvValue::Set("builder".into()));
        assert_eq!(env["PATH"], EnvValue::Joined(vec!["/x".into(), "${PATH}".into()]));
        let wrong = read_env(&json!({"N": 3}), &mut env).unwrap_err();
        assert!(wrong.contains("'N'"), "{wrong}");
    }

    #[test]
    fn logfiles_are_paths_or_dictionaries() {
        let files =
            read_logfiles(&json!({"b": "b.log", "a": {"filename": "a.log", "follow": true}})).unwrap();
        assert_eq!(files[0], ("b".into(), LogFile { filename: "b.log".into(), follow: false }));
        assert_eq!(files[1], ("a".into(), LogFile { filename: "a.log".into(), follow: true }));
        assert!(read_logfiles(&json!({"a": {"follow": true}})).unwrap_err().contains("'a'"));
    }
}
