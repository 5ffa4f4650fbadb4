//! Both sides of the pipe know the same kinds, with the same arguments.

use std::{collections::BTreeSet, path::Path, process::Command};

use muster_core::Results;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::replay::{examples, world};
use crate::steps::{REGISTRY, step_problems, testing::step};

/// A class of the Python package, as it describes itself.
#[derive(Deserialize)]
struct Class {
    class: String,
    kind: String,
    arguments: BTreeSet<String>,
    defaults: Map<String, Value>,
}

fn classes() -> Vec<Class> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/python");
    let python = std::env::var_os("MUSTER_PYTHON")
        .map_or_else(|| muster_config::python::find(std::env::var_os("PATH").as_ref()), Into::into);
    let told = Command::new(python).args(["-m", "muster_host.kinds"]).current_dir(package).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    serde_json::from_slice(&told.stdout).unwrap()
}

#[test]
fn python_offers_what_the_engine_runs_with_arguments_that_it_reads() {
    let classes = classes();
    let offered: BTreeSet<&str> = classes.iter().map(|class| class.kind.as_str()).collect();
    let run: BTreeSet<&str> = REGISTRY.iter().map(|(kind, _)| kind).collect();
    assert_eq!(offered, run);
    for Class { class, kind, arguments, defaults } in classes {
        let (_, example) = examples().into_iter().find(|(known, _)| *known == kind).unwrap();
        let mut args = defaults;
        for (name, value) in example.as_object().unwrap() {
            if args.get(name).is_none_or(Value::is_null) {
                args.insert(name.clone(), value.clone());
            }
        }
        let config = step(&kind, Value::Object(args));
        assert_eq!(step_problems(&config), [""; 0], "{class}");
        let known = REGISTRY.get(&kind).unwrap().decode(&config).known;
        assert_eq!(arguments, known.iter().map(|name| (*name).to_owned()).collect(), "{class}");
    }
}

#[test]
fn everything_that_is_wrong_with_a_step_is_found_at_once() {
    let args = json!({
        "command": 3,
        "timeout": "soon",
        "env": {"A": 1},
        "decodeRC": {"$r": "dict", "items": [[0, 9]]},
        "wokdir": "x",
        "interruptSignal": {"$r": "property", "name": "signal"},
    });
    assert_eq!(
        step_problems(&step("ShellCommand", args)),
        [
            "ShellCommand argument command must be a text or a list, not 3",
            "ShellCommand argument decodeRC must be a dictionary of results by exit codes, not {'0': 9}",
            "ShellCommand argument env must be made of texts or lists of texts; key 'A' is neither",
            "ShellCommand argument timeout must be a number or None, not 'soon'",
            "ShellCommand has no argument wokdir",
        ]
    );
    assert_eq!(step_problems(&step("Shell", json!({}))), ["the step Shell is not supported by Muster yet"]);
    let wrong_parts = json!({"commands": [{"command": "a"}, {"command": 1}, {"command": "b", "logname": 2}]});
    assert_eq!(step_problems(&step("ShellSequence", wrong_parts)).len(), 2);
    let function = json!({"command": "x", "extract_fn": "f"});
    let problems = step_problems(&step("SetPropertyFromCommand", function));
    assert_eq!(problems, ["SetPropertyFromCommand argument extract_fn must be a function, not 'f'"]);
}

#[tokio::test]
async fn arguments_of_another_version_are_left_out_in_a_build() {
    let config = step("Assert", json!({"check": 1, "since_the_next_version": 2}));
    assert_eq!(step_problems(&config), ["Assert has no argument since_the_next_version"]);
    assert_eq!(world().await.run(&config).await.results, Results::Success);
}
