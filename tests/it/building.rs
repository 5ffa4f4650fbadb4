//! What a master is for.

use std::os::unix::fs::PermissionsExt;

use muster_tests::{Master, Results, Site, git::Repository, rest::id};
use serde_json::json;

const CONFIG: &str = r#"
c["change_source"] = [changes.GitPoller(repourl=SITE + "/repository", branches=["main"], pollInterval=1)]
builder(
    "build",
    steps.Git(repourl=SITE + "/repository", mode="full", method="fresh"),
    sh("echo out; echo err >&2; printf 'no newline'"),
    steps.SetPropertyFromCommand(command="git log -1 --format=%s", property="title"),
    sh("cat README > archive; printf 'and more' >> archive", name="archive"),
    steps.FileUpload(workersrc="archive", masterdest=util.Interpolate("uploads/%(prop:buildnumber)s"), mode=0o640),
)
c["schedulers"].append(
    schedulers.SingleBranchScheduler(
        name="main",
        change_filter=util.ChangeFilter(branch="main"),
        treeStableTimer=None,
        builderNames=["build"],
    )
)
"#;

#[test]
fn a_forced_build_does_all_its_steps() {
    let site = Site::new();
    let repository = Repository::create(&site.path("repository"));
    let revision = repository.commit("README", "read this\n", "Say what it is");
    let mut master = Master::new(&site, CONFIG);
    let rest = master.start();
    let _worker = master.start_worker(&site);

    let request = rest.force("build", json!({"reason": "to see it", "branch": "main"}));
    let build = rest.built(request, Results::Success);

    assert_eq!(rest.lines(build, "shell", 'o'), ["out", "no newline"]);
    assert_eq!(rest.lines(build, "shell", 'e'), ["err"]);
    assert_eq!(rest.property(build, "title"), json!("Say what it is"));
    assert_eq!(rest.property(build, "got_revision"), json!(revision));
    assert!(rest.property(build, "reason").as_str().unwrap().contains("to see it"));
    let uploaded = master.path("uploads/1");
    assert_eq!(std::fs::read_to_string(&uploaded).unwrap(), "read this\nand more");
    assert_eq!(std::fs::metadata(&uploaded).unwrap().permissions().mode() & 0o777, 0o640);
    master.database().wait_until_idle();
    assert!(master.stop().success());
}

#[test]
fn a_commit_is_polled_and_built_once() {
    let site = Site::new();
    let repository = Repository::create(&site.path("repository"));
    let mut master = Master::new(&site, CONFIG);
    let rest = master.start();
    let mut worker = master.start_worker(&site);
    // The poller takes what is there at its first look for old.
    muster_tests::until("the poller's first look", || {
        let states = "SELECT count(*) FROM object_state WHERE name = 'lastRev'";
        (master.database().number(states) > 0).then_some(())
    });

    let revision = repository.commit("README", "new\n", "Change it");
    let change = rest.wait_for("the change", "changes", |change| change["revision"] == json!(revision));
    assert_eq!(
        (&change["author"], &change["comments"]),
        (&json!("Ada <ada@example.org>"), &json!("Change it"))
    );
    assert_eq!(change["files"], json!(["README"]));
    let build = rest.wait_for("its build", "builds", |build| build["complete"] == json!(true));
    let build_id = id(&build, "buildid");
    assert_eq!(build["results"], json!(Results::Success as i64), "{:?}", rest.steps(build_id));
    assert_eq!(rest.property(build_id, "got_revision"), json!(revision));
    let built_changes = rest.list(&format!("builds/{build_id}/changes"));
    assert_eq!(built_changes.len(), 1, "{built_changes:?}");

    // The next life of the master goes on where this one stopped: nothing is built twice, nothing is missed.
    worker.stop();
    assert!(master.stop().success());
    let missed = repository.commit("README", "newer\n", "Change it while nobody looks");
    master.start();
    worker.start();
    let second = |build: &serde_json::Value| build["number"] == json!(2) && build["complete"] == json!(true);
    let build = rest.wait_for("the second build", "builds", second);
    assert_eq!(rest.property(id(&build, "buildid"), "got_revision"), json!(missed));
    assert_eq!(rest.list("changes").len(), 2);
    assert_eq!(rest.list("builds").len(), 2);
    master.database().wait_until_idle();
}
