//! Each kind of step, replayed at every ordinal.

use std::{fs, sync::Arc};

use muster_core::Results;
use muster_data::NewSourceStamp;
use muster_session::{
    Command, UpdateBody,
    command::{CommandLine, Output, Shell, Stream},
};
use serde_json::{Value, json};

use crate::steps::{
    REGISTRY,
    testing::{Ended, Reply, Script, World, replay, says, step},
};

/// A worker on which everything goes well.
fn good_worker() -> Script {
    Arc::new(|start, bytes| {
        Reply::Ends(match &start.command {
            Command::Shell(shell) => shell_says(shell),
            Command::Stat { file, .. } if file.ends_with(".buildbot-patched") => vec![UpdateBody::Rc(2)],
            Command::Stat { file, .. } => {
                let mut stat = [0; 10];
                stat[0] = if file.ends_with("dir") { 0o040_755 } else { 0o100_644 };
                vec![UpdateBody::Stat(stat), UpdateBody::Rc(0)]
            }
            Command::Listdir { .. } => vec![UpdateBody::Files(vec![".git".into()]), UpdateBody::Rc(0)],
            Command::Glob { .. } => {
                vec![UpdateBody::Files(vec!["/w/one".into(), "/w/dir".into()]), UpdateBody::Rc(0)]
            }
            Command::UploadFile(upload) if upload.source == "suppressed" => {
                vec![UpdateBody::Chunk(b"# none\n.* : .*odd.*\n".to_vec()), UpdateBody::Rc(0)]
            }
            Command::UploadFile(_) => vec![
                UpdateBody::Chunk(b"first, ".to_vec()),
                UpdateBody::Chunk(b"second".to_vec()),
                UpdateBody::Times { accessed: 1e9, modified: 1e9 },
                UpdateBody::Rc(0),
            ],
            Command::UploadDirectory(_) => vec![UpdateBody::Chunk(archive()), UpdateBody::Rc(0)],
            Command::DownloadFile(download) => {
                assert!(!bytes.is_empty(), "{download:?}");
                vec![UpdateBody::Rc(0)]
            }
            _ => vec![UpdateBody::Rc(0)],
        })
    })
}

fn shell_says(shell: &Shell) -> Vec<UpdateBody> {
    let line = format!("{:?}", shell.command);
    let CommandLine::Argv(words) = &shell.command else { return says("1 out\nwarning: odd\n", 0) };
    match words.iter().map(|word| word.real()).collect::<Vec<_>>().as_slice() {
        [.., "--version"] => says("git version 2.39.5\n", 0),
        [.., "rev-parse", "HEAD"] => says(&format!("{}\n", "a".repeat(40)), 0),
        [.., "describe", "HEAD"] => says("v1-2-g3\n", 0),
        ["printenv", "HOME"] => says("/home/w\n", 0),
        ["printenv", _] => says("", 1),
        _ if line.contains("cat-file") => says("", 1),
        _ => says("ok\n", 0),
    }
}

fn archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o644);
    archive.append_data(&mut header, "sub/file", b"hi".as_slice()).unwrap();
    archive.into_inner().unwrap()
}

pub(super) async fn world() -> World {
    let source =
        NewSourceStamp { revision: Some("b".repeat(40)), branch: Some("dev".into()), ..Default::default() };
    let world = World::with_source(good_worker(), source).await;
    fs::write(world.path("on-master"), "content").unwrap();
    world
}

async fn replayed(kind: &str, args: Value) -> Ended {
    replay(&step(kind, args), world).await
}

/// Every kind, with arguments that bring about as many of its effects as one run can have.
pub(super) fn examples() -> Vec<(&'static str, Value)> {
    REGISTRY.iter().map(|(kind, descriptor)| (kind, (descriptor.example)())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_comes_to_the_same_wherever_its_master_dies() {
    let replaying = examples().into_iter().map(|(kind, args)| (kind, tokio::spawn(replayed(kind, args))));
    for (kind, ended) in replaying.collect::<Vec<_>>() {
        let ended = ended.await.unwrap();
        assert!(matches!(ended.results, Results::Success | Results::Warnings), "{kind}: {ended:?}");
    }
}

#[tokio::test]
async fn uploads_are_in_place_after_any_death() {
    let placed = async || {
        let world = world().await;
        assert!(!world.path("up").exists());
        world
    };
    let config = step("FileUpload", json!({"workersrc": "one", "masterdest": "up", "mode": 0o640}));
    replay(&config, placed).await;
    let world = world().await;
    world.run(&config).await;
    assert_eq!(fs::read_to_string(world.path("up")).unwrap(), "first, second");
}

#[tokio::test]
async fn steps_that_fail_are_replayed_as_well() {
    let broken = async || {
        let script: Script = Arc::new(|start, _| match &start.command {
            Command::Shell(shell) if format!("{:?}", shell.command).contains("fetch") => {
                Reply::Ends(says("no\n", 1))
            }
            _ => good_worker()(start, &[1]),
        });
        World::new(script).await
    };
    for args in [
        json!({"repourl": "/r"}),
        json!({"repourl": "/r", "retryFetch": true}),
        json!({"repourl": "/r", "clobberOnFailure": true}),
        json!({"repourl": "/r", "mode": "full", "method": "clean", "auth_credentials": ["me", "pw"]}),
    ] {
        let fails = args.get("clobberOnFailure").is_none();
        let ended = replay(&step("Git", args), broken).await;
        assert_eq!(ended.results == Results::Failure, fails, "{ended:?}");
    }
}

#[tokio::test]
async fn suppressions_are_read_from_the_worker() {
    let args = json!({"command": "make", "suppressionFile": "suppressed"});
    let ended = replayed("WarningCountingShellCommand", args).await;
    assert_eq!((ended.results, ended.property("warnings-count")), (Results::Success, &json!(0)));
}

#[tokio::test]
async fn retries_of_clones_wait_once() {
    let empty = async || {
        let script: Script = Arc::new(|start, _| match &start.command {
            Command::Listdir { .. } => Reply::Ends(vec![UpdateBody::Rc(2)]),
            Command::Shell(shell) if format!("{:?}", shell.command).contains("clone") => {
                let output = Output { stream: Stream::Stderr, text: "no\n".into() };
                Reply::Ends(vec![UpdateBody::Output(vec![output]), UpdateBody::Rc(128)])
            }
            _ => good_worker()(start, &[1]),
        });
        World::new(script).await
    };
    let ended = replay(&step("Git", json!({"repourl": "/r", "retry": [0, 2]})), empty).await;
    assert_eq!(ended.results, Results::Failure);
    assert_eq!(ended.log("stdio").matches("eno\n").count(), 3);
}

#[tokio::test]
async fn the_ways_a_command_can_end_are_replayed() {
    let reason = |reason: &str| vec![UpdateBody::FailureReason(reason.into()), UpdateBody::Rc(-1)];
    let broken = vec![UpdateBody::Complete { error: Some("no such user".into()) }];
    for (updates, results, note) in [
        (reason("timeout"), Results::Failure, Some("timed out")),
        (reason("timeout_without_output"), Results::Failure, Some("timed out")),
        (reason("max_lines_failure"), Results::Failure, Some("max lines")),
        (broken, Results::Exception, None),
        (vec![], Results::Failure, None),
    ] {
        let script: Script = Arc::new(move |_, _| Reply::Ends(updates.clone()));
        // The second command lets the first one be replayed after its end.
        let commands = json!({"commands": [{"command": "a"}, {"command": "b", "flunkOnFailure": true}]});
        let ended = replay(&step("ShellSequence", commands), async || World::new(script.clone()).await).await;
        assert_eq!((ended.results, ended.note), (results, note), "{ended:?}");
    }
}
