//! What shell steps come to.

use std::{collections::BTreeMap, sync::Arc};

use muster_core::{Results, render::Renderable};
use muster_session::{
    UpdateBody,
    command::{EnvValue, Output, Stream},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::steps::testing::{Life, Reply, Script, World, exception, says, step};

/// A worker whose commands all do this.
fn always(updates: Vec<UpdateBody>) -> Script {
    Arc::new(move |_, _| Reply::Ends(updates.clone()))
}

fn on(stream: Stream, text: &str) -> Output {
    Output { stream, text: text.to_owned() }
}

#[tokio::test]
async fn all_arguments_reach_the_worker() {
    let world = World::new(always(says("hello\n", 0))).await;
    let args = json!({
        "command": ["make", ["-j", 4], {"$r": "property", "name": "branch"}],
        "env": {"A": "1", "PATH": ["/opt/bin", "${PATH}"], "B": null},
        "want_stderr": false, "timeout": 7, "maxTime": 100.5, "max_lines": 1000, "sigtermTime": 3,
        "interruptSignal": "TERM", "usePTY": true, "initialStdin": "in", "logEnviron": false,
        "logfiles": {"build log": "build.log", "trace": {"filename": "trace.txt", "follow": true}},
    });
    let ended = world.run(&step("ShellCommand", args)).await;
    assert_eq!(ended.results, Results::Success);
    assert_eq!(ended.summary.as_deref(), Some("'make -j ...'"));
    assert_eq!(ended.log("stdio"), "ohello\n");
    assert_eq!(world.worker.lines(), ["make -j 4 main"]);
    let shell = world.worker.shells().remove(0);
    let env = [("A", EnvValue::Set("1".into())), ("B", EnvValue::Remove)];
    let mut expected: BTreeMap<String, EnvValue> = env.map(|(name, value)| (name.to_owned(), value)).into();
    expected.insert("PATH".into(), EnvValue::Joined(vec!["/opt/bin".into(), "${PATH}".into()]));
    expected.insert("FROM_BUILDER".into(), EnvValue::Set("1".into()));
    assert_eq!(shell.env, expected);
    assert_eq!((shell.timeout, shell.max_time, shell.max_lines), (Some(7.0), Some(100.5), Some(1000)));
    assert_eq!((shell.sigterm_time, shell.interrupt_signal.as_str()), (Some(3.0), "TERM"));
    assert_eq!((shell.use_pty, shell.log_environ, shell.want_stderr), (true, false, false));
    assert_eq!((shell.initial_stdin.as_deref(), shell.workdir.as_str()), (Some("in"), "build"));
    assert!(shell.logfiles["trace"].follow && !shell.logfiles["build log"].follow);
}

#[tokio::test]
async fn what_is_left_out_has_buildbots_defaults() {
    let world = World::new(always(says("", 0))).await;
    world.run(&step("ShellCommand", json!({"command": "true"}))).await;
    let shell = world.worker.shells().remove(0);
    assert_eq!(
        (shell.timeout, shell.max_time, shell.interrupt_signal.as_str()),
        (Some(1200.0), None, "KILL")
    );
    let world = World::new(always(says("", 0))).await;
    world.run(&step("ShellCommand", json!({"command": "true", "timeout": null}))).await;
    assert_eq!(world.worker.shells()[0].timeout, None);
}

#[tokio::test]
async fn exit_codes_are_read_as_the_step_says() {
    for (rc, results) in [(0, Results::Success), (3, Results::Warnings), (5, Results::Failure)] {
        let world = World::new(always(says("", rc))).await;
        let args = json!({"command": "x", "decodeRC": {"$r": "dict", "items": [[0, 0], [3, 1]]}});
        assert_eq!(world.run(&step("ShellCommand", args)).await.results, results, "exit code {rc}");
    }
}

#[tokio::test]
async fn wrong_arguments_are_named() {
    for (args, name) in [
        (json!({"command": 3}), "command"),
        (json!({"command": "x", "timeout": "soon"}), "timeout"),
        (json!({"command": "x", "env": {"A": 1}}), "env"),
        (json!({"command": "x", "logfiles": ["a"]}), "logfiles"),
        (json!({"command": "x", "usePTY": "maybe"}), "usePTY"),
        (json!({"command": "x", "decodeRC": {"0": 9}}), "decodeRC"),
    ] {
        let world = World::new(always(says("", 0))).await;
        let ended = world.run(&step("ShellCommand", args)).await;
        assert!(exception(&ended).contains(&format!("ShellCommand argument {name}")), "{ended:?}");
        assert!(world.worker.orders().is_empty());
    }
}

#[tokio::test]
async fn followed_files_have_logs_at_once_or_with_their_first_line() {
    let told = || {
        let mut updates = says("out\n", 0);
        updates.insert(0, UpdateBody::Output(vec![on(Stream::Log("a".into()), "from a\n")]));
        always(updates)
    };
    let args = json!({"command": "x", "logfiles": {"a": "a.log", "b": "b.log"}});
    let ended = World::new(told()).await.run(&step("ShellCommand", args)).await;
    let names: Vec<&str> = ended.logs.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(
        (names.as_slice(), ended.log("a"), ended.log("b")),
        (["stdio", "a", "b"].as_slice(), "ofrom a\n", "")
    );
    let args = json!({"command": "x", "logfiles": {"a": "a.log", "b": "b.log"}, "lazylogfiles": true});
    let ended = World::new(told()).await.run(&step("ShellCommand", args)).await;
    let names: Vec<&str> = ended.logs.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!((names.as_slice(), ended.log("a")), (["stdio", "a"].as_slice(), "ofrom a\n"));
}

#[tokio::test]
async fn a_stopped_step_is_cancelled() {
    let world = World::new(Arc::new(|_, _| Reply::Runs(says("begun\n", 0)[..1].to_vec()))).await;
    let config = step("ShellCommand", json!({"command": "sleep 1000"}));
    let stopping = async {
        world.worker.is_running().await;
        world.stop("because");
    };
    let (ended, ()) = tokio::join!(world.run(&config), stopping);
    assert_eq!(ended.results, Results::Cancelled);
    assert_eq!(ended.log("stdio"), "obegun\n");
}

#[tokio::test]
async fn a_step_that_was_stopped_before_orders_nothing() {
    for (kind, args) in [
        ("ShellCommand", json!({"command": "x"})),
        ("Git", json!({"repourl": "/repo"})),
        ("FileUpload", json!({"workersrc": "a", "masterdest": "b"})),
    ] {
        let world = World::new(always(says("", 0))).await;
        world.stop("because");
        assert_eq!(world.run(&step(kind, args)).await.results, Results::Cancelled, "{kind}");
        assert!(world.worker.orders().is_empty(), "{kind}");
    }
}

#[tokio::test]
async fn a_running_command_goes_on_with_another_master() {
    let lines = |text: &str| UpdateBody::Output(vec![on(Stream::Stdout, text)]);
    let first = vec![lines("one\nwarning: a\n"), lines("tw")];
    let script: Script = Arc::new(move |_, _| Reply::Runs(first.clone()));
    let mut world = World::new(script).await;
    let config = step("WarningCountingShellCommand", json!({"command": "make"}));
    let leaving = CancellationToken::new();
    let (life, ()) = tokio::join!(world.live(&config, None, &leaving), async {
        world.worker.stored(2).await;
        leaving.cancel();
    });
    assert!(matches!(life, Life::Over), "{life:?}");
    world.hand_over().await;
    let (ended, ()) = tokio::join!(world.run(&config), async {
        world.worker.is_running().await;
        world.worker.finish(vec![lines("o\nwarning: b\nend"), UpdateBody::Rc(0)]);
    });
    assert_eq!(ended.results, Results::Warnings);
    assert_eq!(ended.log("stdio"), "oone\nowarning: a\notwo\nowarning: b\noend\n");
    assert_eq!(ended.log("warnings (2)"), "warning: a\nwarning: b\n");
    assert_eq!(world.worker.lines(), ["make"]);
}

#[tokio::test]
async fn warnings_are_counted_over_the_build() {
    let text = "cc a.c\na.c:1: warning: x\nb.c:2: warning: y\n";
    let mut world = World::new(always(says(text, 0))).await;
    world.set_property("warnings-count", json!(5));
    let config = step("WarningCountingShellCommand", json!({"command": "make", "maxWarnCount": 1}));
    let ended = world.run(&config).await;
    assert_eq!((ended.results, ended.property("warnings-count")), (Results::Failure, &json!(7)));
    assert_eq!(ended.log("warnings (2)"), "a.c:1: warning: x\nb.c:2: warning: y\n");
    let none = step("Test", json!({"command": "make", "warningPattern": null}));
    let ended = World::new(always(says(text, 0))).await.run(&none).await;
    assert_eq!((ended.results, ended.property("warnings-count")), (Results::Success, &json!(0)));
    let wrong = step("Test", json!({"command": "make", "warningPattern": "(x"}));
    let ended = World::new(always(says(text, 0))).await.run(&wrong).await;
    assert!(exception(&ended).contains("warningPattern"), "{ended:?}");
}

#[tokio::test]
async fn properties_come_from_commands() {
    let config = step("SetPropertyFromCommand", json!({"command": "git describe", "property": "version"}));
    let ended = World::new(always(says(" v1 \n", 0))).await.run(&config).await;
    assert_eq!((ended.results, ended.property("version")), (Results::Success, &json!("v1")));
    assert_eq!(ended.log("property changes"), "version: 'v1'\n");
    assert_eq!(ended.summary.as_deref(), Some("property 'version' set"));
    let ended = World::new(always(says("v1\n", 1))).await.run(&config).await;
    assert_eq!((ended.results, ended.properties.len()), (Results::Failure, 0));
    let whole = json!({"command": "x", "property": "p", "strip": false});
    let ended = World::new(always(says(" v1 \n", 0))).await.run(&step("SetPropertyFromCommand", whole)).await;
    assert_eq!(ended.property("p"), &json!(" v1 \n"));
}

#[tokio::test]
async fn the_size_of_a_tree_is_a_property() {
    let config = step("TreeSize", json!({"command": ["du", "-s", "-k", "."]}));
    let ended = World::new(always(says("1234\t.\n", 0))).await.run(&config).await;
    assert_eq!((ended.results, ended.property("tree-size-KiB")), (Results::Success, &json!(1234)));
    assert_eq!(ended.summary.as_deref(), Some("treesize 1234 KiB"));
    let ended = World::new(always(says("odd\n", 0))).await.run(&config).await;
    assert_eq!(ended.results, Results::Warnings);
}

#[tokio::test]
async fn a_sequence_goes_on_as_its_flags_say() {
    let script: Script = Arc::new(|start, _| {
        let muster_session::Command::Shell(shell) = &start.command else { panic!() };
        let fails = format!("{:?}", shell.command).contains("bad");
        Reply::Ends(says("x\n", i64::from(fails)))
    });
    let run = async |commands: serde_json::Value| {
        let world = World::new(script.clone()).await;
        let ended = world.run(&step("ShellSequence", json!({"commands": commands}))).await;
        (ended.results, world.worker.lines().join(","), ended.logs.len())
    };
    let harmless = run(json!([{"command": "bad"}, {"command": "good", "logname": "two"}])).await;
    assert_eq!(harmless, (Results::Success, "bad,good".to_owned(), 2));
    let flunks =
        run(json!([{"command": "bad", "flunkOnFailure": true}, {"command": ""}, {"command": "good"}])).await;
    assert_eq!(flunks, (Results::Failure, "bad,good".to_owned(), 1));
    let halts =
        run(json!([{"command": "bad", "haltOnFailure": true, "warnOnFailure": true}, {"command": "good"}]))
            .await;
    assert_eq!(halts, (Results::Warnings, "bad".to_owned(), 1));
    assert_eq!(run(json!(["no ShellArg"])).await.0, Results::Exception);
    assert_eq!(run(json!([{"command": "x", "haltOnFailure": 1}])).await.0, Results::Exception);
}

#[tokio::test]
async fn a_step_that_ends_before_its_command_shows_it() {
    for (kind, args, summary) in [
        ("ShellCommand", json!({"command": ["echo", "a", "b"], "env": 7}), Some("'echo a ...'")),
        ("ShellCommand", json!({"command": "echo a b", "env": 7}), Some("'echo a ...'")),
        ("SetPropertyFromCommand", json!({"command": ["echo", "a"], "timeout": "x"}), Some("'echo a'")),
        ("ShellCommand", json!({"command": 7}), None),
        ("ShellSequence", json!({"commands": ["x"], "env": 7}), None),
    ] {
        let world = World::new(always(vec![])).await;
        let shown = format!("{kind} {args}");
        let ended = world.run(&step(kind, args)).await;
        assert_eq!((ended.results, ended.summary.as_deref()), (Results::Exception, summary), "{shown}");
        assert!(world.worker.orders().is_empty(), "{shown}");
    }
}

#[test]
fn what_stands_before_something_to_be_rendered_can_be_shown() {
    let before = |command| crate::steps::shell::words_before(&Renderable::try_from(command).unwrap());
    let property = json!({"$r": "property", "name": "x"});
    assert_eq!(before(json!(["echo", property, "y"])), json!(["echo", "..."]));
    assert_eq!(before(json!([property, "y"])), json!(null));
    assert_eq!(before(property), json!(null));
}

#[tokio::test]
async fn an_empty_workdir_is_none_for_programs_alone() {
    for (kind, args, workdir) in [
        ("ShellCommand", json!({"command": "true"}), "build"),
        ("Test", json!({"command": "true"}), "build"),
        ("StringDownload", json!({"s": "x", "workerdest": "y"}), ""),
    ] {
        let world = World::new(always(says("", 0))).await;
        let config = muster_config::snapshot::StepConfig { workdir: "".into(), ..step(kind, args) };
        world.run(&config).await;
        let order = world.worker.orders().remove(0);
        let seen = match &order {
            muster_session::Command::Shell(shell) => &shell.workdir,
            muster_session::Command::DownloadFile(download) => &download.workdir,
            other => panic!("{other:?}"),
        };
        assert_eq!(seen, workdir, "{kind}");
    }
}
