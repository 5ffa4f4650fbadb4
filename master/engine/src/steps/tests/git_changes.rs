//! `GitCommit`, `GitTag` and `GitPush` against real repositories, in the order in which a build has them.

use muster_core::Results;
use serde_json::{Value, json};

use super::git::{Place, git};
use crate::steps::testing::{Ended, World, exception, hands_on, step};

/// Runs a step in the work directory; answers what it came to and what was ordered after `git --version`.
async fn done(place: &Place, kind: &str, mut args: Value) -> (Ended, Vec<String>) {
    let world = World::new(hands_on(&place.path("worker"))).await;
    args["config"] = json!({"user.name": "t", "user.email": "t@t"});
    let ended = world.run(&step(kind, args)).await;
    let lines = world.worker.lines().into_iter().map(|line| place.shown(&line));
    (ended, lines.map(|line| line.replace(" -c user.name=t -c user.email=t@t", "")).skip(1).collect())
}

async fn succeeds(place: &Place, kind: &str, args: Value) -> Vec<String> {
    let (ended, lines) = done(place, kind, args).await;
    assert_eq!(ended.results, Results::Success, "{ended:?}");
    lines
}

#[tokio::test]
async fn changes_are_committed_tagged_and_pushed() {
    let place = Place::new();
    place.succeeds(json!({"branch": "main"}), Default::default()).await;
    std::fs::write(place.build("new"), "new\n").unwrap();
    let work = place.build("");
    git(&work, &["checkout", "-b", "work"]);

    let lines = succeeds(&place, "GitCommit", json!({"paths": ["new"], "messages": ["one", "-two"]})).await;
    assert_eq!(lines, ["git symbolic-ref HEAD", "git add -- new", "git commit --message=one --message=-two"]);
    assert_eq!(git(&work, &["log", "-1", "--format=%B"]), "one\n\n-two");

    let tag = json!({"tagName": "v2", "annotated": true, "messages": ["two"]});
    assert_eq!(succeeds(&place, "GitTag", tag.clone()).await, ["git tag -a --message=two -- v2"]);
    assert_eq!(done(&place, "GitTag", tag).await.0.results, Results::Failure);
    let lines = succeeds(&place, "GitTag", json!({"tagName": "v2", "force": true})).await;
    assert_eq!(lines, ["git tag --force -- v2"]);

    let push = json!({"repourl": place.path("repo").to_str().unwrap(), "branch": "work"});
    assert_eq!(succeeds(&place, "GitPush", push).await, ["git push -- REPO work"]);
    assert_eq!(place.head("work"), git(&work, &["rev-parse", "HEAD"]));
}

#[tokio::test]
async fn commits_of_nothing_are_what_the_step_says() {
    let place = Place::new();
    place.succeeds(json!({"branch": "main"}), Default::default()).await;
    let work = place.build("");
    git(&work, &["checkout", "-b", "work"]);
    let before = git(&work, &["rev-parse", "HEAD"]);
    // A file that is changed, but not by the step.
    std::fs::write(place.build("file"), "changed\n").unwrap();
    std::fs::write(place.build("same"), "").unwrap();
    git(&work, &["add", "same"]);
    git(&work, &["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-m", "same"]);
    let after = git(&work, &["rev-parse", "HEAD"]);
    assert_ne!(before, after);
    let commit = |empty: &str| json!({"paths": ["same"], "messages": ["m"], "emptyCommits": empty});
    assert_eq!(done(&place, "GitCommit", commit("disallow")).await.0.results, Results::Failure);
    let lines = succeeds(&place, "GitCommit", commit("ignore")).await;
    assert_eq!(lines.last().unwrap(), "git status --porcelain=v1");
    assert_eq!(git(&work, &["rev-parse", "HEAD"]), after);
    succeeds(&place, "GitCommit", commit("create-empty-commit")).await;
    assert_ne!(git(&work, &["rev-parse", "HEAD"]), after);

    git(&work, &["checkout", "--detach"]);
    let (ended, lines) = done(&place, "GitCommit", commit("disallow")).await;
    assert_eq!((ended.results, lines.len()), (Results::Failure, 1));
    assert!(ended.log("stdio").contains("You are in detached HEAD"), "{ended:?}");
}

#[tokio::test]
async fn names_that_git_would_read_as_options_are_refused() {
    let place = Place::new();
    for (kind, args) in [
        ("GitCommit", json!({"paths": ["--all"], "messages": ["m"]})),
        ("GitTag", json!({"tagName": "-d"})),
        ("GitPush", json!({"repourl": "--receive-pack=x", "branch": "main"})),
        ("GitPush", json!({"repourl": "/r", "branch": "--delete"})),
    ] {
        let world = World::new(hands_on(&place.path("worker"))).await;
        let ended = world.run(&step(kind, args)).await;
        assert_eq!(ended.results, Results::Failure, "{kind}: {ended:?}");
        assert!(world.worker.orders().is_empty(), "{kind}");
    }
    let (ended, _) = done(&place, "GitCommit", json!({"paths": [1], "messages": ["m"]})).await;
    assert!(exception(&ended).contains("GitCommit argument paths must be a text or a list of texts"));
}
