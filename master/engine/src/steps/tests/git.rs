//! `Git` against real repositories.

use std::{fs, path::Path, process::Command};

use muster_core::Results;
use muster_data::NewSourceStamp;
use muster_store::sourcestamps::NewPatch;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::steps::testing::{Ended, World, hands_on, step};

/// A repository with two commits on `main` and one on `dev`, and the directory of a worker.
pub(super) struct Place {
    dir: TempDir,
}

pub(super) fn git(dir: &Path, words: &[&str]) -> String {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"];
    let output = Command::new("git")
        .args(identity)
        .args(["-c", "protocol.file.allow=always"])
        .args(words)
        .current_dir(dir)
        .env("HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Place {
    pub(super) fn new() -> Place {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        let repo = place.path("repo");
        fs::create_dir_all(&repo).unwrap();
        git(&repo, &["init"]);
        place.commit("file", "one\n");
        git(&repo, &["tag", "-a", "v1", "-m", "v1"]);
        place.commit("file", "two\n");
        git(&repo, &["checkout", "-b", "dev"]);
        place.commit("dev", "dev\n");
        git(&repo, &["checkout", "main"]);
        place
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn build(&self, name: &str) -> std::path::PathBuf {
        self.path("worker/b/build").join(name)
    }

    fn commit(&self, name: &str, content: &str) -> String {
        let repo = self.path("repo");
        fs::write(repo.join(name), content).unwrap();
        git(&repo, &["add", "."]);
        git(&repo, &["commit", "-m", name]);
        git(&repo, &["rev-parse", "HEAD"])
    }

    pub(super) fn head(&self, name: &str) -> String {
        git(&self.path("repo"), &["rev-parse", &format!("{name}^{{commit}}")])
    }

    /// A line with another word for the repository's path.
    pub(super) fn shown(&self, line: &str) -> String {
        line.replace(self.path("repo").to_str().unwrap(), "REPO")
    }

    /// Runs the step; answers what it came to and what was ordered.
    async fn check_out(&self, args: Value, source: NewSourceStamp) -> (Ended, Vec<String>) {
        let world = World::with_source(hands_on(&self.path("worker")), source).await;
        let mut all = json!({"repourl": self.path("repo").to_str().unwrap(), "progress": false});
        all.as_object_mut().unwrap().extend(args.as_object().unwrap().clone());
        let ended = world.run(&step("Git", all)).await;
        (ended, world.worker.lines().iter().map(|line| self.shown(line)).collect())
    }

    pub(super) async fn succeeds(&self, args: Value, source: NewSourceStamp) -> (Ended, Vec<String>) {
        let (ended, lines) = self.check_out(args, source).await;
        assert_eq!(ended.results, Results::Success, "{ended:?}");
        (ended, lines)
    }
}

fn nothing() -> NewSourceStamp {
    NewSourceStamp::default()
}

fn revision(revision: &str) -> NewSourceStamp {
    NewSourceStamp { revision: Some(revision.to_owned()), ..nothing() }
}

#[tokio::test]
async fn incremental_clones_first_and_fetches_then() {
    let place = Place::new();
    let (ended, lines) = place.succeeds(json!({}), nothing()).await;
    assert_eq!(ended.property("got_revision"), &json!(place.head("main")));
    assert_eq!(
        lines,
        [
            "git --version",
            "stat build/.buildbot-patched",
            "listdir build",
            "git clone -- REPO .",
            "git rev-parse HEAD",
        ]
    );
    fs::write(place.build("left"), "stays").unwrap();
    let new = place.commit("file", "three\n");
    let (ended, lines) = place.succeeds(json!({"branch": "main"}), nothing()).await;
    assert_eq!(ended.property("got_revision"), &json!(new));
    assert!(place.build("left").exists());
    assert_eq!(
        lines[3..],
        [
            "git fetch -f -- REPO main",
            "git checkout -f FETCH_HEAD",
            "git checkout -B main",
            "git rev-parse HEAD"
        ]
    );
}

#[tokio::test]
async fn a_known_revision_is_not_fetched() {
    let place = Place::new();
    place.succeeds(json!({}), nothing()).await;
    let old = place.head("v1");
    let (ended, lines) = place.succeeds(json!({}), revision(&old)).await;
    assert_eq!(ended.property("got_revision"), &json!(old));
    assert_eq!(lines[3], format!("git cat-file -e {old}"));
    assert_eq!(lines[4], format!("git checkout -f {old} --"));
    assert_eq!(fs::read_to_string(place.build("file")).unwrap(), "one\n");
    let (_, lines) = place.succeeds(json!({"tags": true}), revision(&old)).await;
    assert_eq!(lines[3], "git fetch -f --tags -- REPO HEAD");
    let (latest, _) = place.succeeds(json!({"alwaysUseLatest": true}), revision(&old)).await;
    assert_eq!(latest.property("got_revision"), &json!(place.head("main")));
}

#[tokio::test]
async fn branches_and_refs_are_cloned() {
    let place = Place::new();
    let dev = NewSourceStamp { branch: Some("dev".into()), ..nothing() };
    let (ended, lines) = place.succeeds(json!({}), dev).await;
    assert_eq!(
        (lines[3].as_str(), ended.property("got_revision")),
        ("git clone --branch dev -- REPO .", &json!(place.head("dev")))
    );

    let place = Place::new();
    git(&place.path("repo"), &["update-ref", "refs/changes/1", "dev"]);
    let change = NewSourceStamp { branch: Some("refs/changes/1".into()), ..nothing() };
    let (ended, lines) = place.succeeds(json!({"origin": "up", "config": {"gc.auto": 0}}), change).await;
    assert_eq!(ended.property("got_revision"), &json!(place.head("dev")));
    assert_eq!(lines[3], "git -c gc.auto=0 clone --no-checkout --origin up -- REPO .");
    assert_eq!(lines[4], "git -c gc.auto=0 fetch -f -- REPO refs/changes/1");
}

#[tokio::test]
async fn names_that_are_options_are_refused_before_anything_runs() {
    let place = Place::new();
    place.succeeds(json!({"branch": "main"}), nothing()).await;
    let ran = place.path("ran");
    let evil = format!("--upload-pack=touch {};git-upload-pack", ran.display());
    let branch = |text: &str| NewSourceStamp { branch: Some(text.to_owned()), ..nothing() };
    let sources = [branch(&evil), branch("-b"), revision("--orphan=x"), revision(&evil), branch("a\nb")];
    let args = [
        json!({"branch": evil}),
        json!({"repourl": evil}),
        json!({"repourl": "ssh://-oProxyCommand=touch/r"}),
        json!({"origin": "-x"}),
        json!({"reference": "--x"}),
        json!({"filters": ["-x"]}),
        json!({"getDescription": {"match": "--x"}}),
    ];
    let by_source = sources.into_iter().map(|source| (json!({}), source));
    let by_argument = args.into_iter().map(|args| (args, nothing()));
    for (args, source) in by_source.chain(by_argument) {
        for mode in [json!({}), json!({"mode": "full", "method": "clobber"})] {
            let mut args = args.clone();
            args.as_object_mut().unwrap().extend(mode.as_object().unwrap().clone());
            let shown = format!("{args} {source:?}");
            let (ended, lines) = place.check_out(args, source.clone()).await;
            assert_eq!(ended.results, Results::Failure, "{shown}");
            assert!(lines.is_empty(), "{shown}: {lines:?}");
            assert!(ended.summary.as_deref().unwrap().contains("is refused"), "{shown}: {ended:?}");
            assert!(ended.log("log").contains("nothing was run"), "{shown}");
        }
    }
    assert!(!ran.exists());
}

#[tokio::test]
async fn full_checkouts_remove_what_does_not_belong() {
    let place = Place::new();
    place.commit(".gitignore", "ignored\n");
    place.succeeds(json!({}), nothing()).await;
    let litter = || {
        fs::write(place.build("left"), "x").unwrap();
        fs::write(place.build("ignored"), "x").unwrap();
    };
    litter();
    place.succeeds(json!({"mode": "full", "method": "clean"}), nothing()).await;
    assert!(!place.build("left").exists() && place.build("ignored").exists());
    litter();
    let (_, lines) = place.succeeds(json!({"mode": "full"}), nothing()).await;
    assert!(!place.build("left").exists() && !place.build("ignored").exists());
    assert_eq!(lines[3], "git clean -f -f -d -x");
    litter();
    let (_, lines) =
        place.succeeds(json!({"mode": "full", "method": "clobber", "shallow": true}), nothing()).await;
    assert!(!place.build("left").exists());
    assert_eq!(lines[2..4], ["rmdir build", "git clone --depth 1 -- REPO ."]);
    litter();
    let (ended, lines) = place.succeeds(json!({"mode": "full", "method": "copy"}), nothing()).await;
    assert!(!place.build("left").exists() && place.build("file").exists());
    assert_eq!(lines[2..5], ["rmdir build", "listdir source", "git clone -- REPO ."]);
    assert_eq!(lines[5], "cpdir source build");
    assert_eq!(ended.property("got_revision"), &json!(place.head("main")));
}

#[tokio::test]
async fn what_is_no_repository_is_clobbered() {
    let place = Place::new();
    fs::create_dir_all(place.build("")).unwrap();
    fs::write(place.build("foreign"), "x").unwrap();
    let (_, lines) = place.succeeds(json!({}), nothing()).await;
    assert_eq!(lines[3..5], ["rmdir build", "git clone -- REPO ."]);
    assert!(!place.build("foreign").exists());
}

#[tokio::test]
async fn failures_fall_back_as_the_step_wants() {
    let place = Place::new();
    place.succeeds(json!({}), nothing()).await;
    let none = || NewSourceStamp { branch: Some("none".into()), ..nothing() };
    let (ended, lines) = place.check_out(json!({}), none()).await;
    assert_eq!((ended.results, lines.len()), (Results::Failure, 4));
    let (ended, lines) = place.check_out(json!({"retryFetch": true}), none()).await;
    assert_eq!((ended.results, lines[3] == lines[4]), (Results::Failure, true));
    fs::write(place.build(".git/HEAD"), "broken").unwrap();
    let (_, lines) = place.succeeds(json!({"clobberOnFailure": true, "branch": "main"}), nothing()).await;
    assert_eq!(lines[4..6], ["rmdir build", "git clone --branch main -- REPO ."]);
    let place = Place::new();
    let args = json!({"repourl": "/nowhere", "retry": [0, 2]});
    let (ended, lines) = place.check_out(args, nothing()).await;
    assert_eq!(ended.results, Results::Failure);
    assert_eq!(lines.iter().filter(|line| line.starts_with("git clone")).count(), 3);
}

#[tokio::test]
async fn patches_are_applied_and_cleaned_away() {
    let place = Place::new();
    let diff = "--- a/file\n+++ b/file\n@@ -1 +1 @@\n-two\n+patched\n";
    let patch = NewPatch {
        level: 1,
        // standard base64 of the diff
        body_base64: base64::Engine::encode(&base64::prelude::BASE64_STANDARD, diff),
        author: "me".into(),
        comment: String::new(),
        subdir: None,
    };
    let (ended, _) = place.succeeds(json!({}), NewSourceStamp { patch: Some(patch), ..nothing() }).await;
    assert_eq!(fs::read_to_string(place.build("file")).unwrap(), "patched\n");
    assert_eq!(ended.log("patch"), diff);
    assert!(place.build(".buildbot-patched").exists() && !place.build(".buildbot-diff").exists());
    let (_, lines) = place.succeeds(json!({}), nothing()).await;
    assert_eq!(lines[2], "git clean -f -f -d -x");
    assert_eq!(fs::read_to_string(place.build("file")).unwrap(), "two\n");
}

#[tokio::test]
async fn revisions_are_described_and_filed_by_codebase() {
    let place = Place::new();
    let (ended, lines) = place.succeeds(json!({"getDescription": {"long": true}}), nothing()).await;
    assert_eq!(lines.last().unwrap(), "git describe --long HEAD");
    let described = ended.property("commit-description").as_str().unwrap();
    assert!(described.starts_with("v1-1-g"), "{described}");
    let library = NewSourceStamp { codebase: "library".into(), ..nothing() };
    let (ended, _) = place.succeeds(json!({"codebase": "library"}), library).await;
    assert_eq!(ended.property("got_revision"), &json!({"library": place.head("main")}));
    let (ended, lines) = place.check_out(json!({"codebase": "none"}), nothing()).await;
    assert_eq!((ended.results, lines.len()), (Results::Failure, 0));
    assert_eq!(ended.summary.as_deref(), Some("Codebase none not in build"));
}

#[tokio::test]
async fn submodules_follow() {
    let place = Place::new();
    let inner = place.path("inner");
    fs::create_dir_all(&inner).unwrap();
    git(&inner, &["init"]);
    fs::write(inner.join("deep"), "1").unwrap();
    git(&inner, &["add", "."]);
    git(&inner, &["commit", "-m", "deep"]);
    git(&place.path("repo"), &["submodule", "add", inner.to_str().unwrap(), "sub"]);
    git(&place.path("repo"), &["commit", "-m", "sub"]);
    let args = json!({"submodules": true, "mode": "full", "config": {"protocol.file.allow": "always"}});
    place.succeeds(args.clone(), nothing()).await;
    assert!(place.build("sub/deep").exists());
    fs::write(place.build("sub/left"), "x").unwrap();
    let (_, lines) = place.succeeds(args, nothing()).await;
    assert!(!place.build("sub/left").exists());
    let option = "git -c protocol.file.allow=always";
    assert_eq!(
        lines[6..10],
        [
            format!("{option} submodule sync"),
            format!("{option} submodule update --init --recursive --force --checkout"),
            format!("{option} submodule foreach --recursive git clean -f -f -d -x"),
            format!("{option} clean -f -f -d -x"),
        ]
    );
}

#[tokio::test]
async fn credentials_are_written_beside_and_removed() {
    let place = Place::new();
    let args = json!({"sshPrivateKey": "KEY", "sshHostKey": "ssh-rsa AAA"});
    let worker = place.path("base");
    let script = hands_on(&place.path("worker"));
    let base = worker.to_str().unwrap().to_owned();
    // The worker says that it lives in /worker; that must not be written to.
    let redirected: crate::steps::testing::Script = std::sync::Arc::new(move |start, bytes| {
        let text = serde_json::to_string(start).unwrap().replace("/worker/.b", &format!("{base}/.b"));
        script(&serde_json::from_str(&text).unwrap(), bytes)
    });
    let world = World::new(redirected).await;
    let mut all = json!({"repourl": place.path("repo").to_str().unwrap()});
    all.as_object_mut().unwrap().extend(args.as_object().unwrap().clone());
    let ended = world.run(&step("Git", all)).await;
    assert_eq!(ended.results, Results::Success, "{ended:?}");
    let lines = world.worker.lines();
    let dir = "/worker/.b.build.buildbot";
    assert!(
        lines.contains(&format!("mkdir {dir}")) && lines.contains(&format!("downloadFile {dir}/ssh-key"))
    );
    let clone = lines.iter().find(|line| line.contains(" clone ")).unwrap();
    assert!(
        clone.contains(&format!("core.sshCommand=ssh -o \"BatchMode=yes\" -i \"{dir}/ssh-key\"")),
        "{clone}"
    );
    assert!(clone.contains(&format!("UserKnownHostsFile={dir}/ssh-known-hosts")), "{clone}");
    assert_eq!(lines.last().unwrap(), &format!("rmdir {dir}"));
    assert!(!worker.join(".b.build.buildbot").exists());
}
