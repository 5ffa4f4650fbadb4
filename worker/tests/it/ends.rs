//! Every way a program can end (`docs/compat/worker-protocol.md`, 3.1).

use std::time::Duration;

use muster_session::command::{Command, Shell, UpdateBody};
use muster_worker::Limits;

use crate::harness::{Rig, Updates, argv, lives, script, sh, soon, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_normal_run_tells_everything_in_order() {
    let mut rig = Rig::start().await;
    let shell = Shell { timeout: Some(60.0), max_time: Some(120.0), ..script("echo out; exit 7") };
    let updates = rig.run(Command::Shell(shell)).await;
    let expected = format!(
        "echo out; exit 7\n in dir {} (timeout 60 secs) (maxTime 120 secs)\n watching logfiles {{}}\n \
         argv: b'echo out; exit 7'\n using PTY: False\nelapsedTime=",
        rig.build().display()
    );
    assert!(updates.header().starts_with(&expected), "{}", updates.header());
    let kinds: Vec<&str> = updates
        .0
        .iter()
        .map(|update| match update {
            UpdateBody::Output(_) => "output",
            UpdateBody::Rc(7) => "rc",
            UpdateBody::Elapsed(_) => "elapsed",
            UpdateBody::Complete { error: None } => "complete",
            other => panic!("{other:?}"),
        })
        .collect();
    let kinds = kinds.join(" ").replace("output output", "output");
    assert_eq!(kinds, "output rc output elapsed complete");
    assert_eq!(updates.stdout(), "out\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_named() {
    let mut rig = Rig::start().await;
    let updates = rig.sh("kill -9 $$").await;
    assert_eq!(updates.rc(), Some(-1));
    assert!(updates.header().contains("\nprocess killed by signal 9\nelapsedTime="), "{}", updates.header());
    assert_eq!(updates.error(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_ended() {
    let mut rig = Rig::start().await;
    let shell = Shell { timeout: Some(0.5), ..script("echo a; sleep 30") };
    let updates = rig.run(Command::Shell(shell)).await;
    assert_eq!(updates.failure_reason(), Some("timeout_without_output"));
    assert_eq!((updates.rc(), updates.error()), (Some(-1), None));
    assert_eq!(updates.stdout(), "a\n");
    let told = "\ncommand timed out: 0.5 seconds without output running b'echo a; sleep 30', attempting to kill\n\
                process killed by signal 9\n";
    assert!(updates.header().contains(told), "{}", updates.header());
}

#[tokio::test(flavor = "multi_thread")]
async fn output_keeps_a_program_alive_until_its_time_is_over() {
    let mut rig = Rig::start().await;
    let looping = "while :; do echo x; sleep 0.05; done";
    let shell = Shell { timeout: Some(1.0), max_time: Some(1.3), ..script(looping) };
    let updates = rig.run(Command::Shell(shell)).await;
    assert_eq!(updates.failure_reason(), Some("timeout"));
    assert_eq!(updates.rc(), Some(-1));
    let told = format!("\ncommand timed out: 1.3 seconds elapsed running b'{looping}', attempting to kill\n");
    assert!(updates.header().contains(&told), "{}", updates.header());
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_lines_are_cut_off() {
    let mut rig = Rig::start().await;
    let shell = Shell { max_lines: Some(4), ..script("seq 1 100000; sleep 30") };
    let updates = rig.run(Command::Shell(shell)).await;
    assert_eq!(updates.failure_reason(), Some("max_lines_failure"));
    assert_eq!(updates.rc(), Some(-1));
    assert_eq!(updates.stdout(), "1\n2\n3\n4\n5\n");
    let told = "\ncommand exceeds max lines: 5/4 written/allowed running b'seq 1 100000; sleep 30', attempting to kill\n";
    assert!(updates.header().contains(told), "{}", updates.header());
    let just_enough = Shell { max_lines: Some(4), ..script("seq 1 4") };
    assert_eq!(rig.run(Command::Shell(just_enough)).await.rc(), Some(0));
}

/// Interrupts a program once it has said that it is ready.
async fn interrupted(rig: &mut Rig, shell: Shell) -> Updates {
    let id = rig.session.begin(Command::Shell(shell));
    rig.session.collect(id, |updates| updates.stdout() == "ready\n").await;
    rig.session.link.interrupt(id, "stop").unwrap();
    rig.session.finish(id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_may_end_itself_on_sigterm() {
    let mut rig = Rig::start().await;
    for (code, rc) in [(5, 5), (0, -1)] {
        let text = format!("trap 'echo got; exit {code}' TERM; echo ready; while :; do sleep 0.02; done");
        let shell = Shell { sigterm_time: Some(10.0), ..script(&text) };
        let updates = interrupted(&mut rig, shell).await;
        assert_eq!(updates.rc(), Some(rc));
        assert_eq!(updates.stdout(), "got\n");
        assert!(!updates.header().contains("killed by signal"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ignores_sigterm_is_killed() {
    let mut rig = Rig::start().await;
    let shell = script("trap '' TERM; echo ready; while :; do sleep 0.02; done");
    let updates = interrupted(&mut rig, Shell { sigterm_time: Some(0.1), ..shell }).await;
    assert_eq!(updates.rc(), Some(-1));
    assert!(updates.header().contains("process killed by signal 9"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_is_an_exit_code_and_a_word() {
    let mut rig = Rig::start().await;
    let updates = rig.run(Command::Shell(argv(&["nonexistent-prog", "x"]))).await;
    assert_eq!((updates.rc(), updates.error()), (Some(1), None));
    assert!(updates.stderr().contains("can't run 'nonexistent-prog': No such file or directory"));
    assert!(updates.header().contains(" argv: [b'nonexistent-prog', b'x']\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_survives_is_given_up_and_its_group_killed() {
    let limits = Limits { kill_patience: Duration::from_millis(200), ..Limits::default() };
    let mut rig = Rig::with(limits).await;
    let shell = script("trap '' TERM; echo $$; while :; do sleep 0.05; done");
    let shell = Shell { interrupt_signal: "TERM".into(), ..shell };
    let id = rig.session.begin(Command::Shell(shell));
    let first = rig.session.collect(id, |updates| updates.stdout().ends_with('\n')).await;
    rig.session.link.interrupt(id, "stop").unwrap();
    let updates = rig.session.finish(id).await;
    assert_eq!(updates.rc(), Some(-1));
    assert_eq!(updates.error(), Some("SIGTERM failed to kill process"));
    assert!(updates.header().ends_with("SIGTERM failed to kill process\nusing fake rc=-1\n"));
    let pid = first.stdout();
    until("the program's end", || !lives(&pid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_arguments_break_the_command_without_an_exit_code() {
    let mut rig = Rig::start().await;
    let cases = [
        (Shell { interrupt_signal: "FOO".into(), ..script("true") }, "'interruptSignal' names no signal"),
        (argv(&[]), "'command' is an empty list"),
        (Shell { timeout: Some(-1.0), ..script("true") }, "'timeout' is no number of seconds"),
    ];
    for (shell, problem) in cases {
        let updates = rig.run(Command::Shell(shell)).await;
        assert_eq!(updates.rc(), None);
        assert!(updates.error().is_some_and(|error| error.contains(problem)), "{updates:?}");
        assert!(updates.has_elapsed());
        assert_eq!(updates.header(), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_start_is_told_on_stderr() {
    let mut rig = Rig::start().await;
    rig.sh("touch file").await;
    let shell = Shell { workdir: "build/file/deeper".into(), ..script("true") };
    let updates = rig.run(Command::Shell(shell)).await;
    assert_eq!(updates.rc(), None);
    assert!(updates.error().is_some());
    assert!(updates.stderr().contains("Not a directory"), "{updates:?}");
    let too_long = "x".repeat(300_000);
    let updates = rig.run(Command::Shell(argv(&["echo", &too_long]))).await;
    assert!(updates.error().is_some_and(|error| error.contains("Argument list too long")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_kills_grandchildren_too() {
    let mut rig = Rig::start().await;
    let id = rig.session.begin(sh("sleep 1000 & (sleep 1000 & echo $!; wait) & echo $!; sleep 1000"));
    let first = rig.session.collect(id, |updates| updates.stdout().lines().count() == 2).await;
    let pids: Vec<String> = first.stdout().lines().map(str::to_owned).collect();
    assert!(pids.iter().all(|pid| lives(pid)));
    rig.session.link.interrupt(id, "user said stop").unwrap();
    let updates = rig.session.finish(id).await;
    assert_eq!((updates.rc(), updates.error()), (Some(-1), None));
    let told = "\ncommand interrupted, attempting to kill\nprocess killed by signal 9\nelapsedTime=";
    assert!(updates.header().starts_with(told), "{}", updates.header());
    assert!(!updates.has_elapsed());
    until("the grandchildren's end", || !pids.iter().any(|pid| lives(pid))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_escaped_process_that_holds_the_output_does_not_hold_the_command() {
    let limits = Limits { kill_patience: Duration::from_millis(200), ..Limits::default() };
    let mut rig = Rig::with(limits).await;
    let id = rig.session.begin(sh("setsid sh -c 'echo $$; exec sleep 1000' & sleep 1000"));
    let first = rig.session.collect(id, |updates| updates.stdout().ends_with('\n')).await;
    rig.session.link.interrupt(id, "stop").unwrap();
    let updates = soon("the end", rig.session.finish(id)).await;
    assert_eq!((updates.rc(), updates.error()), (Some(-1), None));
    assert!(updates.header().contains("process killed by signal 9"));
    std::process::Command::new("kill").arg(first.stdout().trim()).status().unwrap();
}
