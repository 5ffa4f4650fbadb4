//! What a program is given: arguments, environment, terminal, input, followed files.

use std::collections::BTreeMap;

use muster_session::command::{Argument, Command, CommandLine, EnvValue, LogFile, Shell, Stream};

use crate::harness::{Rig, argv, lives, script, shell, until};

#[tokio::test(flavor = "multi_thread")]
async fn secrets_run_but_are_not_shown() {
    let mut rig = Rig::start().await;
    let secret = Argument::Obfuscated { real: "s3cret".into(), shown: "XXX".into() };
    let words = shell(CommandLine::Argv(vec!["echo".into(), secret]));
    let updates = rig.run(Command::Shell(words)).await;
    assert_eq!(updates.stdout(), "s3cret\n");
    assert!(updates.header().starts_with("echo XXX\n"));
    assert!(!updates.header().contains("s3cret"));
    let text = Argument::Obfuscated { real: "echo s3cret".into(), shown: "echo XXX".into() };
    let updates = rig.run(Command::Shell(shell(CommandLine::Script(text)))).await;
    assert_eq!(updates.stdout(), "s3cret\n");
    assert!(!updates.header().contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_exactly_what_the_header_says() {
    let mut rig = Rig::start().await;
    let env = BTreeMap::from([
        ("FOO".to_owned(), EnvValue::Set("x${HOME}".into())),
        ("odd.name-1".to_owned(), EnvValue::Set("kept".into())),
        ("LANG".to_owned(), EnvValue::Remove),
    ]);
    let shell = Shell { env, log_environ: true, ..argv(&["env"]) };
    let updates = rig.run(Command::Shell(shell)).await;
    let shown = updates.header();
    let (_, block) = shown.split_once(" environment:\n").unwrap();
    let (block, _) = block.split_once(" using PTY").unwrap();
    let block: Vec<&str> = block.lines().map(|line| line.trim_start()).collect();
    let stdout = updates.stdout();
    let mut printed: Vec<&str> = stdout.lines().collect();
    printed.sort_unstable();
    let mut sorted = block.clone();
    sorted.sort_unstable();
    assert_eq!(printed, sorted);
    assert!(printed.contains(&format!("PWD={}", rig.build().display()).as_str()));
    assert!(printed.contains(&"odd.name-1=kept"));
    assert!(!printed.iter().any(|line| line.starts_with("LANG=")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_real_and_controls_the_session() {
    let mut rig = Rig::start().await;
    let text =
        "tty; test -t 0 && test -t 1 && test -t 2 && echo all; echo e >&2; echo direct >/dev/tty; exit 3";
    let updates = rig.run(Command::Shell(Shell { use_pty: true, ..script(text) })).await;
    let stdout = updates.stdout();
    assert!(stdout.starts_with("/dev/pts/"), "{stdout}");
    assert!(stdout.ends_with("\nall\ne\ndirect\n"), "{stdout}");
    assert_eq!((updates.rc(), updates.stderr().as_str()), (Some(3), ""));
    assert!(updates.header().contains(" using PTY: True\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_on_a_terminal_is_killed_as_a_group() {
    let mut rig = Rig::start().await;
    let shell = Shell { use_pty: true, ..script("sleep 1000 & echo $!; sleep 1000") };
    let id = rig.session.begin(Command::Shell(shell));
    let pid = rig.session.collect(id, |updates| updates.stdout().ends_with('\n')).await.stdout();
    assert!(lives(&pid));
    rig.session.link.interrupt(id, "stop").unwrap();
    assert_eq!(rig.session.finish(id).await.rc(), Some(-1));
    until("the background process's end", || !lives(&pid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn input_is_written_whole_and_closed() {
    let mut rig = Rig::start().await;
    let stdin = "inéput\n".repeat(40_000);
    let shell = Shell { initial_stdin: Some(stdin.clone()), use_pty: true, ..script("cat") };
    let updates = rig.run(Command::Shell(shell)).await;
    assert_eq!(updates.stdout(), stdin);
    let header = updates.header();
    assert!(header.starts_with("WARNING: disabling usePTY for this commandcat\n in dir"), "{header}");
    assert!(header.contains(&format!("\n writing {} bytes to stdin\n using PTY: False\n", stdin.len())));
    // Nobody reads it, and nobody minds.
    let shell = Shell { initial_stdin: Some(stdin), ..script("true") };
    assert_eq!(rig.run(Command::Shell(shell)).await.rc(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn unwanted_streams_are_not_sent() {
    let mut rig = Rig::start().await;
    let shell = Shell { want_stdout: false, want_stderr: false, ..script("echo o; echo e >&2") };
    let updates = rig.run(Command::Shell(shell)).await;
    assert_eq!((updates.stdout(), updates.stderr(), updates.rc()), (String::new(), String::new(), Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn followed_files_are_sent_while_the_program_runs() {
    let mut rig = Rig::start().await;
    rig.sh("echo old > lf2.log").await;
    let logfiles = BTreeMap::from([
        ("lf".to_owned(), LogFile { filename: "lf.log".into(), follow: false }),
        ("lf2".to_owned(), LogFile { filename: "lf2.log".into(), follow: true }),
    ]);
    // The program goes on only when its first line was seen.
    let text = "echo l1 > lf.log; while ! test -e go; do sleep 0.02; done; echo l3 >> lf.log; \
                printf part >> lf.log; echo new >> lf2.log";
    let id = rig.session.begin(Command::Shell(Shell { logfiles, ..script(text) }));
    let log = |name: &str| Stream::Log(name.into());
    let first = rig.session.collect(id, |updates| updates.text(log("lf")) == "l1\n").await;
    let watching = " watching logfiles {'lf': 'lf.log', 'lf2': {'filename': 'lf2.log', 'follow': True}}\n";
    assert!(first.header().contains(watching), "{}", first.header());
    std::fs::write(rig.build().join("go"), "").unwrap();
    let rest = rig.session.finish(id).await;
    assert_eq!(rest.text(log("lf")), "l3\npart\n");
    assert_eq!(rest.text(log("lf2")), "new\n");
}
