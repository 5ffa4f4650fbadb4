//! Reading from a database that a Buildbot 4.3.0 master wrote.

// A test fails by panicking, in its helpers too.
#![allow(clippy::unwrap_used)]

mod recorded;

use muster_core::LogId;
use muster_data::{
    Data,
    read::{Found, Page},
};
use muster_store::query;
use recorded::adopted;
use serde_json::Value;

async fn list(data: &Data, path: &str, query: &[(&str, &str)]) -> Page {
    let parts: Vec<String> = path.split('/').map(str::to_owned).collect();
    let query: Vec<_> = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    match data.get(&parts, &query, &()).await {
        Ok(Found::List { page, .. }) => page,
        Ok(_) => panic!("{path} is no list"),
        Err(error) => panic!("{path}: {error}"),
    }
}

fn ids(page: &Page, key: &str) -> Vec<i64> {
    page.items.iter().map(|item| item[key].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn every_row_can_be_read() {
    let (data, _directory) = adopted().await;
    let counts = [
        ("builders", 8),
        ("builds", 22),
        ("buildrequests", 25),
        ("buildsets", 22),
        ("changes", 6),
        ("changesources", 2),
        ("masters", 1),
        ("projects", 1),
        ("schedulers", 9),
        ("sourcestamps", 8),
        ("workers", 2),
    ];
    for (path, count) in counts {
        assert_eq!(list(&data, path, &[]).await.items.len(), count, "{path}");
    }
    let mut steps = 0;
    let mut logs = 0;
    for build in 1..=22 {
        list(&data, &format!("builds/{build}/changes"), &[]).await;
        list(&data, &format!("builds/{build}/property_list"), &[]).await;
        for step in list(&data, &format!("builds/{build}/steps"), &[]).await.items {
            steps += 1;
            logs += list(&data, &format!("steps/{}/logs", step["stepid"]), &[]).await.items.len();
        }
    }
    assert_eq!((steps, logs), (72, 47));
    let with_properties = list(&data, "builds", &[("property", "*")]).await;
    assert!(with_properties.items.iter().all(|build| build["properties"]["buildername"][0].is_string()));
}

#[tokio::test]
async fn rows_are_found_where_the_fixture_says() {
    let (data, _directory) = adopted().await;
    assert_eq!(ids(&list(&data, "builds", &[("complete", "false")]).await, "buildid"), [22]);
    assert_eq!(ids(&list(&data, "builds", &[("results", "5")]).await, "buildid"), [21]);
    let pending = [("claimed", "false"), ("complete", "0")];
    assert_eq!(ids(&list(&data, "buildrequests", &pending).await, "buildrequestid"), [6, 25]);
    assert_eq!(ids(&list(&data, "buildrequests", &[("priority__gt", "0")]).await, "buildrequestid"), [11]);
    assert_eq!(ids(&list(&data, "buildsets", &[("rebuilt_buildid", "2")]).await, "bsid"), [13]);
    let triggered = list(&data, "builds/9/triggered_builds", &[]).await;
    assert_eq!(triggered.items.iter().map(|build| &build["buildrequestid"]).collect::<Vec<_>>(), [14]);
    assert_eq!(
        ids(&list(&data, "builds", &[("limit", "3"), ("order", "-buildid")]).await, "buildid"),
        [22, 21, 20]
    );
    let skipped = list(
        &data,
        "builds/3/steps",
        &[("results", "3"), ("field", "locks_acquired_at"), ("field", "results")],
    );
    assert!(skipped.await.items.iter().all(|step| step["locks_acquired_at"] == Value::Null));
}

/// The same long log was written once with each method.
#[tokio::test]
async fn long_logs_are_read_in_every_method_we_know() {
    let (data, _directory) = adopted().await;
    let lines = async |id: i64, first: i64, count: i64| {
        let log = data.db().read("test_log", |tx| async move { query::logs::by_id(&tx, LogId(id)).await });
        let log: Result<_, muster_store::Error> = log.await;
        data.log_lines(&log.unwrap().unwrap(), first, count).await
    };
    let gz = lines(19, 0, 1_800).await.unwrap();
    assert_eq!(gz.matches('\n').count(), 1_800);
    for other in [42, 43, 45] {
        // The commands differ in their environment and their ports, which the header lines show.
        assert_eq!(lines(other, 0, 1_800).await.unwrap().matches('\n').count(), 1_800, "log {other}");
        assert_eq!(lines(other, 1_000, 3).await.unwrap(), lines(19, 1_000, 3).await.unwrap(), "log {other}");
    }
    assert_eq!(
        lines(19, 899, 2).await.unwrap(),
        gz.split_inclusive('\n').skip(899).take(2).collect::<String>()
    );
}
