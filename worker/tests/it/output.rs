//! Output is exact: nothing lost, nothing twice, nothing unbounded.

use muster_core::lines::LineSplitter;
use muster_session::command::{Command, Shell};
use muster_worker::Limits;

use crate::harness::{Rig, Updates, script, sh, until};

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_long_lines_arrive_as_the_rules_say() {
    let mut rig = Rig::start().await;
    let mut bytes = Vec::new();
    let mut state = 1_u32;
    for _ in 0..200_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.push((state >> 24) as u8);
    }
    bytes.extend(std::iter::repeat_n(b'x', 20_000));
    bytes.extend_from_slice(b"\nlast line without an end");
    std::fs::create_dir_all(rig.build()).unwrap();
    std::fs::write(rig.build().join("garbage"), &bytes).unwrap();
    let updates = rig.sh("cat garbage; cat garbage >&2").await;
    let mut splitter = LineSplitter::default();
    let expected = splitter.push_bytes(&bytes) + &splitter.finish();
    // Tails that were sent early are put together again by the master's splitter, which these texts go through.
    let mut master = LineSplitter::default();
    assert!(master.push(&updates.stdout()) + &master.finish() == expected);
    let mut master = LineSplitter::default();
    assert!(master.push(&updates.stderr()) + &master.finish() == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_line_is_seen_early() {
    let mut rig = Rig::start().await;
    let id =
        rig.session.begin(sh("printf 'wait for me'; while ! test -e go; do sleep 0.02; done; echo ' done'"));
    rig.session.collect(id, |updates| updates.stdout() == "wait for me").await;
    std::fs::write(rig.build().join("go"), "").unwrap();
    assert_eq!(rig.session.finish(id).await.stdout(), " done\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_lose_and_double_nothing() {
    let mut rig = Rig::start().await;
    let id = rig.session.begin(sh("seq 1 400000"));
    let mut updates = Updates::default();
    let mut last = 0;
    while !updates.is_complete() {
        let (command, number, body) = rig.session.update().await;
        assert_eq!((command, number), (id, last + 1));
        last = number;
        updates.0.push(body);
        if number % 3 == 0 {
            rig.session.link.acknowledge(id, number);
        }
        if number % 10 == 0 {
            rig.session.link.close("to see whether it matters");
        }
    }
    let expected: String = (1..=400_000).map(|n| format!("{n}\n")).collect();
    assert!(updates.stdout() == expected);
    assert_eq!(updates.rc(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_on_while_the_master_is_away() {
    let mut rig = Rig::start().await;
    let id =
        rig.session.begin(sh("echo before; while ! test -e go; do sleep 0.02; done; echo after; touch done"));
    rig.session.collect(id, |updates| updates.stdout() == "before\n").await;
    rig.master.set_away(true);
    rig.session.link.close("away");
    std::fs::write(rig.build().join("go"), "").unwrap();
    let done = rig.build().join("done");
    until("the command's end", || done.exists()).await;
    rig.master.set_away(false);
    let rest = rig.session.finish(id).await;
    assert_eq!((rest.stdout().as_str(), rest.rc()), ("after\n", Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_holds_the_program_back_and_loses_nothing() {
    let limits = Limits { spool_memory: 0, spool_disk: 0, ..Limits::default() };
    // What the worker makes of a limit that is too small.
    let smallest = 2 * muster_session::wire::MAX_FRAME as u64;
    let mut rig = Rig::with(limits).await;
    const BYTES: usize = 20_000_000;
    let text = format!("yes 0123456789 | head -c {BYTES}; touch done");
    // Silent only because nobody reads: that must not count.
    let id = rig.session.begin(Command::Shell(Shell { timeout: Some(0.3), ..script(&text) }));
    let spool = rig.records().join(id.to_string()).join("spool");
    let size = || std::fs::metadata(&spool).map_or(0, |found| found.len());
    until("a full spool", || size() > smallest - 100_000).await;
    // Another command is the clock: longer than the timeout above.
    let clock = rig.session.begin(sh("sleep 0.7"));
    let mut held_back = Vec::new();
    loop {
        let (command, number, body) = rig.session.update().await;
        if command == clock {
            rig.session.link.acknowledge(clock, number);
            if matches!(body, muster_session::UpdateBody::Complete { .. }) {
                break;
            }
        } else {
            held_back.push((number, body));
        }
    }
    assert!(!rig.build().join("done").exists());
    assert!(size() <= smallest);
    let mut updates = Updates::default();
    for (number, body) in held_back {
        rig.session.link.acknowledge(id, number);
        updates.0.push(body);
    }
    updates.0.extend(rig.session.finish(id).await.0);
    assert_eq!(updates.rc(), Some(0));
    let stdout = updates.stdout();
    // `head` cut the last line, which is ended with a newline all the same.
    assert_eq!(stdout.len(), BYTES + 1);
    assert!(stdout.lines().rev().skip(1).all(|line| line == "0123456789"));
}
