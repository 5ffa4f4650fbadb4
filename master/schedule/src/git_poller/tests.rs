use std::{process::Command, time::Duration};

use muster_config::snapshot::{ChangeSourceKind, SourceRef};
use muster_core::Change;
use muster_store::query;
use tempfile::TempDir;

use super::*;
use crate::testing::World;

/// A repository that somebody works in.
struct Upstream(TempDir);

impl Upstream {
    fn new() -> Upstream {
        let upstream = Upstream(tempfile::tempdir().unwrap());
        upstream.git(&["init", "-q", "-b", "main", "."]);
        upstream.commit("first");
        upstream
    }

    fn url(&self) -> String {
        self.0.path().display().to_string()
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Änne", "-c", "user.email=anne@example.org", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(self.0.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_COMMITTER_DATE", "1700000000 +0000")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A commit that adds a file of its name; answers its revision.
    fn commit(&self, name: &str) -> String {
        std::fs::write(self.0.path().join(name), name).unwrap();
        self.git(&["add", "."]);
        self.git(&["commit", "-q", "-m", name]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn on_new_branch(&self, branch: &str) {
        self.git(&["checkout", "-q", "-b", branch]);
    }
}

fn config(url: &str, branches: GitBranches) -> GitPollerConfig {
    GitPollerConfig {
        repourl: Renderable::from(url),
        branches,
        workdir: "gitpoller-work".into(),
        gitbin: "git".into(),
        use_timestamps: true,
        category: Renderable::NONE,
        project: "demo".into(),
        encoding: "utf-8".into(),
        build_pushes_with_no_commits: false,
        only_tags: false,
        poll_interval: 600.0,
        poll_at_launch: false,
        poll_random_delay_min: 0.0,
        poll_random_delay_max: 0.0,
        ssh_private_key: Renderable::NONE,
        ssh_host_key: Renderable::NONE,
        ssh_known_hosts: Renderable::NONE,
        auth_credentials: None,
    }
}

fn names(names: &[&str]) -> GitBranches {
    GitBranches::Names(names.iter().map(|name| (*name).to_owned()).collect())
}

fn poller(world: &World, config: GitPollerConfig) -> GitPoller {
    let source = ChangeSourceConfig {
        name: "poller".into(),
        class_name: "buildbot.changes.gitpoller.GitPoller".into(),
        kind: ChangeSourceKind::GitPoller(Box::new(config.clone())),
        source: SourceRef::default(),
    };
    let (making, data) = (Arc::default(), world.data.clone());
    GitPoller::new(&source, config, None, world.directory.path(), making, data, Callables::default())
}

async fn changes(world: &World, ids: &[ChangeId]) -> Vec<Change> {
    let mut changes = Vec::new();
    for id in ids {
        let id = *id;
        let change = world.data.db().read("test", |tx| async move { query::changes::by_id(&tx, id).await });
        changes.push(change.await.unwrap().unwrap());
    }
    changes
}

/// Branch and comment of everything a poll brings.
async fn polled(world: &World, poller: &mut GitPoller) -> Vec<(String, String)> {
    let ids = poller.poll().await.unwrap();
    let changes = changes(world, &ids).await;
    changes.into_iter().map(|change| (change.branch.unwrap_or_default(), change.comments)).collect()
}

fn on(branch: &str, comments: &[&str]) -> Vec<(String, String)> {
    comments.iter().map(|comment| (branch.to_owned(), (*comment).to_owned())).collect()
}

async fn last_rev(world: &World) -> Value {
    let key = StateKey { object: "poller".into(), class: "GitPoller".into(), key: "lastRev".into() };
    world.data.get_state(&key).await.unwrap().unwrap_or_default()
}

#[tokio::test]
async fn the_first_poll_only_looks_and_later_ones_bring_each_commit_once() {
    let (world, upstream) = (World::new().await, Upstream::new());
    let mut poller = poller(&world, config(&upstream.url(), names(&["main"])));
    assert_eq!(polled(&world, &mut poller).await, []);
    upstream.commit("second");
    let tip = upstream.commit("third");
    let ids = poller.poll().await.unwrap();
    assert_eq!(polled(&world, &mut poller).await, []);
    assert_eq!(last_rev(&world).await, json!({"main": tip}));

    let changes = changes(&world, &ids).await;
    let comments: Vec<_> = changes.iter().map(|change| change.comments.as_str()).collect();
    assert_eq!(comments, ["second", "third"]);
    let newest = changes[1].clone();
    assert_eq!(newest.author, "Änne <anne@example.org>");
    assert_eq!(newest.committer.as_deref(), Some("Änne <anne@example.org>"));
    assert_eq!(newest.files, ["third"]);
    assert_eq!(newest.when.0, 1_700_000_000);
    assert_eq!(newest.revision.as_deref(), Some(tip.as_str()));
    assert_eq!((newest.branch.as_deref(), newest.project.as_str()), (Some("main"), "demo"));
    assert_eq!(newest.repository, upstream.url());
}

#[tokio::test]
async fn the_default_branch_is_what_head_says() {
    let (world, upstream) = (World::new().await, Upstream::new());
    let mut poller = poller(&world, config(&upstream.url(), GitBranches::Default));
    polled(&world, &mut poller).await;
    let tip = upstream.commit("second");
    assert_eq!(polled(&world, &mut poller).await, on("main", &["second"]));
    assert_eq!(last_rev(&world).await, json!({"refs/heads/main": tip}));
}

#[tokio::test]
async fn branches_come_go_and_share_commits() {
    let (world, upstream) = (World::new().await, Upstream::new());
    let mut poller = poller(&world, config(&upstream.url(), GitBranches::All));
    polled(&world, &mut poller).await;
    upstream.on_new_branch("side");
    upstream.commit("on side");
    assert_eq!(polled(&world, &mut poller).await, on("side", &["on side"]));
    // The commit that another branch takes over is no new one.
    upstream.git(&["checkout", "-q", "main"]);
    upstream.git(&["merge", "-q", "--ff-only", "side"]);
    assert_eq!(polled(&world, &mut poller).await, []);
    upstream.git(&["branch", "-q", "-D", "side"]);
    assert_eq!(polled(&world, &mut poller).await, []);
    assert_eq!(last_rev(&world).await.as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn a_commit_on_two_branches_is_one_change() {
    let (world, upstream) = (World::new().await, Upstream::new());
    let mut poller = poller(&world, config(&upstream.url(), GitBranches::All));
    polled(&world, &mut poller).await;
    upstream.commit("both");
    upstream.git(&["branch", "another"]);
    assert_eq!(polled(&world, &mut poller).await, on("another", &["both"]));
}

#[tokio::test]
async fn a_rewritten_history_brings_its_new_commits() {
    let (world, upstream) = (World::new().await, Upstream::new());
    upstream.commit("second");
    let mut poller = poller(&world, config(&upstream.url(), names(&["main"])));
    polled(&world, &mut poller).await;
    upstream.git(&["reset", "-q", "--hard", "HEAD~1"]);
    assert_eq!(polled(&world, &mut poller).await, [], "going back is no new commit");
    upstream.commit("instead");
    assert_eq!(polled(&world, &mut poller).await, on("main", &["instead"]));
}

#[tokio::test]
async fn pushes_without_commits_count_when_asked_for() {
    let (world, upstream) = (World::new().await, Upstream::new());
    let configured = config(&upstream.url(), GitBranches::All);
    let mut poller = poller(&world, GitPollerConfig { build_pushes_with_no_commits: true, ..configured });
    polled(&world, &mut poller).await;
    upstream.git(&["branch", "copy"]);
    assert_eq!(polled(&world, &mut poller).await, on("copy", &["first"]));
    assert_eq!(polled(&world, &mut poller).await, []);
}

#[tokio::test]
async fn merges_are_followed_along_their_first_parent() {
    let (world, upstream) = (World::new().await, Upstream::new());
    let mut poller = poller(&world, config(&upstream.url(), names(&["main"])));
    polled(&world, &mut poller).await;
    upstream.on_new_branch("side");
    upstream.commit("inside");
    upstream.git(&["checkout", "-q", "main"]);
    upstream.git(&["merge", "-q", "--no-ff", "-m", "merged", "side"]);
    let ids = poller.poll().await.unwrap();
    let changes = changes(&world, &ids).await;
    assert_eq!(changes.len(), 1);
    assert_eq!(
        (changes[0].comments.as_str(), changes[0].files.as_slice()),
        ("merged", &["inside".to_owned()][..])
    );
}

#[tokio::test]
async fn tags_instead_of_branches() {
    let (world, upstream) = (World::new().await, Upstream::new());
    upstream.git(&["tag", "v1"]);
    let configured = GitPollerConfig { only_tags: true, ..config(&upstream.url(), GitBranches::Default) };
    let mut poller = poller(&world, configured);
    polled(&world, &mut poller).await;
    upstream.commit("second");
    assert_eq!(polled(&world, &mut poller).await, []);
    upstream.git(&["tag", "v2"]);
    assert_eq!(polled(&world, &mut poller).await, on("refs/tags/v2", &["second"]));
}

#[tokio::test]
async fn a_repository_that_comes_later_is_polled_then() {
    let (world, upstream) = (World::new().await, Upstream::new());
    let place = tempfile::tempdir().unwrap();
    let url = place.path().join("later");
    let mut poller = poller(&world, config(&url.display().to_string(), names(&["main"])));
    let error = poller.poll().await.unwrap_err().to_string();
    assert!(error.contains("ls-remote") && error.contains("later"), "{error}");
    upstream.git(&["clone", "-q", "--bare", ".", &url.display().to_string()]);
    assert_eq!(polled(&world, &mut poller).await, []);
    assert!(last_rev(&world).await.is_object());
}

#[tokio::test]
async fn pollers_may_share_a_directory() {
    let (world, one, other) = (World::new().await, Upstream::new(), Upstream::new());
    let mut first = poller(&world, config(&one.url(), names(&["main"])));
    let mut second = poller(&world, config(&other.url(), names(&["main"])));
    second.name = "other".into();
    polled(&world, &mut first).await;
    polled(&world, &mut second).await;
    one.commit("one");
    other.commit("other");
    assert_eq!(polled(&world, &mut first).await, on("main", &["one"]));
    assert_eq!(polled(&world, &mut second).await, on("main", &["other"]));
}

#[tokio::test]
async fn a_lost_work_directory_is_made_again() {
    let (world, upstream) = (World::new().await, Upstream::new());
    let mut poller = poller(&world, config(&upstream.url(), names(&["main"])));
    polled(&world, &mut poller).await;
    tokio::fs::remove_dir_all(&poller.directory).await.unwrap();
    upstream.commit("second");
    assert_eq!(polled(&world, &mut poller).await, on("main", &["second"]));
}

#[tokio::test]
async fn a_running_poll_ends_with_its_task() {
    let (world, upstream) = (World::new().await, Upstream::new());
    let (hanging, started) = (world.directory.path().join("git"), world.directory.path().join("started"));
    std::fs::write(&hanging, format!("#!/bin/sh\ntouch '{}'\nexec sleep 600\n", started.display())).unwrap();
    std::fs::set_permissions(&hanging, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut poller = poller(&world, config(&upstream.url(), names(&["main"])));
    poller.config.gitbin = hanging.display().to_string();
    let hangs = async {
        while !started.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        polled = poller.poll() => panic!("{polled:?}"),
        () = hangs => {}
    }
    // Cut off in the middle, it leaves neither the database nor the directory unusable.
    poller.config.gitbin = "git".into();
    assert_eq!(polled(&world, &mut poller).await, []);
    upstream.commit("second");
    assert_eq!(polled(&world, &mut poller).await, on("main", &["second"]));
}

#[tokio::test]
async fn a_branch_that_fails_keeps_its_position_until_it_works() {
    let (world, upstream) = (World::new().await, Upstream::new());
    let mut poller = poller(&world, config(&upstream.url(), names(&["main"])));
    polled(&world, &mut poller).await;
    // A function that nobody answers, as while the Python host is being replaced.
    let callable = Callable { handle: "category".into(), source: Default::default() };
    poller.config.category = Renderable::Callable { callable, args: Vec::new(), kwargs: Vec::new() };
    let before = last_rev(&world).await;
    upstream.commit("second");
    assert_eq!(polled(&world, &mut poller).await, []);
    assert_eq!(last_rev(&world).await, before);
    assert_eq!(poller.failing.len(), 1);

    poller.config.category = Renderable::NONE;
    assert_eq!(polled(&world, &mut poller).await, on("main", &["second"]));
    assert!(poller.failing.is_empty());
}
