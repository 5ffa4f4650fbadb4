//! Commands on files and directories.

use std::os::unix::fs::PermissionsExt;

use muster_session::command::{Command, UpdateBody};

use crate::harness::Rig;

fn rmdir(dirs: &[&str]) -> Command {
    let dirs = dirs.iter().map(|dir| (*dir).to_owned()).collect();
    Command::Rmdir { dirs, timeout: Some(120.0), max_time: None }
}

fn cpdir(from: &str, to: &str) -> Command {
    Command::Cpdir { from: from.into(), to: to.into(), timeout: Some(120.0), max_time: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn quick_commands_answer_with_results_and_error_numbers() {
    let mut rig = Rig::start().await;
    let builder = rig.builder();
    let updates = rig.run(Command::Mkdir { dirs: vec!["build/m1/m2".into(), "m3".into()] }).await;
    assert_eq!((updates.rc(), updates.error(), updates.header()), (Some(0), None, String::new()));
    assert!(updates.has_elapsed());
    std::fs::write(builder.join("build/a.log"), "0123456789").unwrap();
    std::fs::write(builder.join("build/m1/b.log"), "").unwrap();

    let updates = rig.run(Command::Mkdir { dirs: vec!["build/a.log".into()] }).await;
    assert_eq!(updates.rc(), Some(17));
    assert_eq!(updates.header(), format!("mkdir: File exists: {}/build/a.log\n", builder.display()));

    let updates = rig.run(Command::Stat { file: "a.log".into(), workdir: Some("build".into()) }).await;
    assert!(matches!(updates.0[0], UpdateBody::Stat(found) if found[6] == 10));
    assert_eq!(updates.rc(), Some(0));
    let updates = rig.run(Command::Stat { file: "no".into(), workdir: None }).await;
    assert_eq!(updates.rc(), Some(2));
    assert_eq!(updates.header(), format!("stat: No such file or directory: {}/no\n", builder.display()));

    let updates = rig.run(Command::Glob { pattern: "**/*.log".into() }).await;
    let found = |name: &str| builder.join(name).to_string_lossy().into_owned();
    assert_eq!(updates.files(), [found("build/a.log"), found("build/m1/b.log")]);
    let updates = rig.run(Command::Glob { pattern: "zzz*".into() }).await;
    assert_eq!(updates.0[0], UpdateBody::Files(Vec::new()));
    assert_eq!(updates.rc(), Some(0));

    let mut names = rig.run(Command::Listdir { dir: "build".into() }).await.files();
    names.sort();
    assert_eq!(names, ["a.log", "m1"]);
    assert_eq!(rig.run(Command::Listdir { dir: "zzz".into() }).await.rc(), Some(2));

    assert_eq!(rig.run(Command::Rmfile { path: "build/a.log".into() }).await.rc(), Some(0));
    assert_eq!(rig.run(Command::Rmfile { path: "build/a.log".into() }).await.rc(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_are_removed_whatever_their_permissions() {
    let mut rig = Rig::start().await;
    let builder = rig.builder();
    std::fs::create_dir_all(builder.join("m1/deep")).unwrap();
    std::fs::write(builder.join("m1/deep/file"), "").unwrap();
    std::fs::set_permissions(builder.join("m1/deep"), std::fs::Permissions::from_mode(0o000)).unwrap();
    let updates = rig.run(rmdir(&["m1", "zzz"])).await;
    assert_eq!((updates.rc(), updates.error()), (Some(0), None));
    assert!(!builder.join("m1").exists());
    let begin = format!(
        "rm -rf {0}/m1\n in dir {1} (timeout 120 secs)\n watching logfiles {{}}\n argv: [b'rm', b'-rf', b'{0}/m1']\n \
         using PTY: False\n",
        builder.display(),
        builder.parent().unwrap().display()
    );
    assert!(updates.header().starts_with(&begin), "{}", updates.header());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_resists_is_told_and_the_others_are_removed() {
    let mut rig = Rig::start().await;
    std::fs::create_dir_all(rig.builder().join("m1")).unwrap();
    // Nobody may remove what lies in /proc, not even root.
    let updates = rig.run(rmdir(&["/proc/self/task", "m1"])).await;
    assert_eq!(updates.rc(), Some(1));
    assert!(updates.header().contains("\nchmod -Rf u+rwx /proc/self/task\n"), "{}", updates.header());
    assert!(!rig.builder().join("m1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_are_copied_as_cp_does() {
    let mut rig = Rig::start().await;
    let builder = rig.builder();
    std::fs::create_dir_all(builder.join("build/sub")).unwrap();
    std::fs::write(builder.join("build/sub/file"), "x").unwrap();
    let updates = rig.run(cpdir("build", "copy")).await;
    assert_eq!(updates.rc(), Some(0));
    assert!(updates.stdout().contains("/build/sub/file' -> '"), "{}", updates.stdout());
    assert_eq!(std::fs::read(builder.join("copy/sub/file")).unwrap(), b"x");
    rig.run(cpdir("build", "copy")).await;
    assert!(builder.join("copy/build/sub/file").exists());
    let updates = rig.run(cpdir("zzz", "copy2")).await;
    assert_eq!(updates.rc(), Some(1));
    assert!(updates.stderr().contains("No such file or directory"));
}
