//! Secrets as files on the worker.

use muster_core::Results;
use muster_session::Command;
use serde_json::json;

use crate::steps::testing::{World, exception, hands_on, step};

#[tokio::test]
async fn secrets_are_files_until_they_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let absolute = dir.path().join("elsewhere/key");
    let secrets = json!([[absolute, "one"], ["near", "two"]]);
    let world = World::new(hands_on(dir.path())).await;
    let ended = world.run(&step("DownloadSecretsToWorker", json!({"populated_secret_list": secrets}))).await;
    assert_eq!(ended.results, Results::Success, "{ended:?}");
    let near = dir.path().join("b/build/near");
    let read = |path| std::fs::read_to_string(path).unwrap();
    assert_eq!((read(&absolute), read(&near)), ("one".to_owned(), "two".to_owned()));
    let modes: Vec<Option<u32>> = world
        .worker
        .orders()
        .iter()
        .map(|command| match command {
            Command::DownloadFile(file) => file.mode,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(modes, [Some(0o600), Some(0o600)]);

    let remove = step("RemoveWorkerFileSecret", json!({"populated_secret_list": [absolute, "near"]}));
    let removed = World::new(hands_on(dir.path())).await.run(&remove).await;
    assert_eq!((removed.results, removed.logs.len()), (Results::Success, 0), "{removed:?}");
    assert!(!absolute.exists() && !near.exists());
    let again = World::new(hands_on(dir.path())).await.run(&remove).await;
    assert_eq!(again.results, Results::Success);
    assert!(again.log("stderr").contains("build/near could not be removed"), "{again:?}");
}

#[tokio::test]
async fn wrong_secrets_are_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(hands_on(dir.path())).await;
    let wrong = json!({"populated_secret_list": [["path", 5], ["other", "hush"]]});
    let ended = world.run(&step("DownloadSecretsToWorker", wrong)).await;
    assert!(exception(&ended).contains("populated_secret_list") && !exception(&ended).contains("hush"));
}
