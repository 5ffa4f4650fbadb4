//! What stands on the wire: golden bytes, evolution, and bytes from nowhere.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fmt::Debug;

use muster_core::{BuildId, CommandId, Epoch};
use muster_session::command::{
    Argument, CommandLine, DownloadFile, EnvValue, LogFile, Output, Shell, Stream, UploadFile,
};
use muster_session::wire::{self, FrameError, FromMaster, FromWorker, MAX_BLOCK, MAX_FRAME};
use muster_session::{Command, Order, Settings, StartCommand, UpdateBody};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

/// One frame a line: a name and its bytes in hexadecimal. Version 1 of the protocol; lines are added, never changed.
const GOLDEN: &str = include_str!("golden/frames-v1.txt");

fn command() -> CommandId {
    CommandId { build: BuildId(7), step: 2, ordinal: 1 }
}

fn order(number: u64, order: Order) -> FromMaster {
    FromMaster::Order { command: command(), epoch: Epoch(3), number, order }
}

fn start(command: Command) -> Order {
    Order::Start(Box::new(StartCommand { builddir: "b".into(), command }))
}

fn from_master() -> Vec<(&'static str, FromMaster)> {
    let shell = Shell {
        command: CommandLine::Argv(vec![
            "make".into(),
            Argument::Obfuscated { real: "pw".into(), shown: "XXX".into() },
        ]),
        env: BTreeMap::from([
            ("A".into(), EnvValue::Set("1".into())),
            ("P".into(), EnvValue::Joined(vec!["x".into(), "${P}".into()])),
            ("Z".into(), EnvValue::Remove),
        ]),
        logfiles: BTreeMap::from([("t".into(), LogFile { filename: "t.log".into(), follow: true })]),
        max_lines: Some(5),
        ..Shell::default()
    };
    let download =
        DownloadFile { workdir: "build".into(), destination: "f".into(), max_size: None, mode: Some(0o644) };
    let upload = UploadFile {
        workdir: "build".into(),
        source: "f".into(),
        max_size: Some(9),
        block_size: 16384,
        keep_stamp: true,
    };
    vec![
        ("start-shell", order(1, start(Command::Shell(shell)))),
        ("start-upload", order(1, start(Command::UploadFile(upload)))),
        ("start-download", order(1, start(Command::DownloadFile(download)))),
        ("start-mkdir", order(1, start(Command::Mkdir { dirs: vec!["d".into()] }))),
        ("interrupt", order(2, Order::Interrupt { why: "stop".into() })),
        ("chunk", order(3, Order::Chunk { bytes: vec![0, 255], eof: true })),
        ("resume", FromMaster::Resume { command: command(), epoch: Epoch(4), updates: 12 }),
        ("ack-updates", FromMaster::AckUpdates { command: command(), number: 300 }),
        ("forget", FromMaster::Forget { command: command() }),
        ("heartbeat-of-master", FromMaster::Heartbeat),
        ("settings", FromMaster::Settings(Settings::default())),
        ("shutdown", FromMaster::Shutdown),
        ("goodbye-of-master", FromMaster::Goodbye { reason: "draining".into(), elsewhere: Vec::new() }),
        (
            "redirect",
            FromMaster::Goodbye { reason: "draining".into(), elsewhere: vec!["ws://b:9990".into()] },
        ),
    ]
}

fn from_worker() -> Vec<(&'static str, FromWorker)> {
    let update = |body| FromWorker::Update { command: command(), number: 1, body };
    let output = [
        (Stream::Stdout, "a\n"),
        (Stream::Stderr, "ä"),
        (Stream::Header, "h\n"),
        (Stream::Log("t".into()), "l\n"),
    ]
    .map(|(stream, text)| Output { stream, text: text.into() });
    vec![
        ("output", update(UpdateBody::Output(output.to_vec()))),
        ("rc", update(UpdateBody::Rc(-1))),
        ("elapsed", update(UpdateBody::Elapsed(0.5))),
        ("failure-reason", update(UpdateBody::FailureReason("timeout".into()))),
        ("stat", update(UpdateBody::Stat([33188, 1, 2, 1, 0, 0, 5_000_000_000, 7, 8, 9]))),
        ("files", update(UpdateBody::Files(vec!["/a".into(), "/b".into()]))),
        ("upload-chunk", update(UpdateBody::Chunk(vec![1, 2, 3]))),
        ("times", update(UpdateBody::Times { accessed: 1.5, modified: 2.5 })),
        ("complete", update(UpdateBody::Complete { error: Some("broke".into()) })),
        ("ack-orders", FromWorker::AckOrders { command: command(), number: 2 }),
        ("heartbeat-of-worker", FromWorker::Heartbeat),
        ("request-shutdown", FromWorker::RequestShutdown),
        ("goodbye-of-worker", FromWorker::Goodbye { reason: "bye".into(), over: false }),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn compare<T: Serialize + DeserializeOwned + PartialEq + Debug>(frames: Vec<(&str, T)>) {
    let golden: BTreeMap<&str, &str> = GOLDEN.lines().filter_map(|line| line.split_once(' ')).collect();
    for (name, frame) in frames {
        let bytes = wire::encode(&frame).unwrap();
        assert_eq!(Some(hex(&bytes).as_str()), golden.get(name).copied(), "frame {name} {}", hex(&bytes));
        assert_eq!(wire::decode::<T>(&unhex(golden[name])).unwrap(), frame, "{name}");
    }
}

#[test]
fn frames_are_the_golden_bytes() {
    compare(from_master());
    compare(from_worker());
}

#[test]
fn unknown_fields_are_skipped_and_missing_ones_have_defaults() {
    let later = serde_json::json!({"settings": {"buffer_size": 9, "colour": "red"}});
    let bytes = rmp_serde::to_vec_named(&later).unwrap();
    let expected = FromMaster::Settings(Settings { buffer_size: 9, ..Settings::default() });
    assert_eq!(wire::decode::<FromMaster>(&bytes).unwrap(), expected);
}

#[test]
fn what_does_not_fit_is_refused_on_both_ends() {
    let too_long = FromWorker::Goodbye { reason: "x".repeat(MAX_FRAME), over: false };
    assert!(matches!(wire::encode(&too_long), Err(FrameError::TooLong(_))));
    assert!(matches!(wire::decode::<FromWorker>(&vec![0; MAX_FRAME + 1]), Err(FrameError::TooLong(_))));
    let biggest = order(1, Order::Chunk { bytes: vec![0; MAX_BLOCK], eof: false });
    wire::encode(&biggest).unwrap();

    let mut trailing = wire::encode(&FromWorker::Heartbeat).unwrap();
    trailing.push(0);
    assert_eq!(wire::decode::<FromWorker>(&trailing), Err(FrameError::Trailing(1)));
}

#[test]
fn bottomless_nesting_is_refused() {
    // {"claim": {"info": {"x": [[[[…
    let mut bytes = b"\x81\xa5claim\x81\xa4info\x81\xa1x".to_vec();
    bytes.extend([0x91].repeat(100_000));
    assert!(matches!(wire::decode::<FromWorker>(&bytes), Err(FrameError::Malformed(_))));
}

proptest! {
    #[test]
    fn garbage_is_an_error_and_not_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = wire::decode::<FromMaster>(&bytes);
        let _ = wire::decode::<FromWorker>(&bytes);
    }

    #[test]
    fn damaged_frames_are_no_panic(pick: prop::sample::Index, at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let frames: Vec<Vec<u8>> = GOLDEN.lines().filter_map(|line| line.split_once(' ')).map(|(_, text)| unhex(text)).collect();
        let mut bytes = pick.get(&frames).clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(cut.index(bytes.len()) + 1);
        let _ = wire::decode::<FromMaster>(&bytes);
        let _ = wire::decode::<FromWorker>(&bytes);
    }

    #[test]
    fn output_comes_back_as_it_was(text: String, log: String) {
        let body = UpdateBody::Output(vec![Output { stream: Stream::Log(log), text }]);
        let frame = FromWorker::Update { command: command(), number: u64::MAX, body };
        prop_assert_eq!(wire::decode::<FromWorker>(&wire::encode(&frame).unwrap()).unwrap(), frame);
    }
}
