//! What Buildbot's masters have recorded beside builds is read as it is, on every engine.

use muster_bus::Bus;
use muster_data::{
    Data,
    read::{Error, Found},
};
use muster_store::{Result, Tx, Value};
use muster_store_tests::data::{self, tx};
use serde_json::json;

use crate::engines::{Ground, on_every_engine};

on_every_engine!(commits_data_and_test_results_are_read);

/// One codebase with the commits 1 <- 2 <- 3 and 1 <- 4; a build of 3 with data and results.
async fn record(tx: &Tx, build: i64, builder: i64, step: i64, buildset: i64) -> Result<()> {
    let commit = "INSERT INTO codebase_commits (id, codebaseid, author, committer, comments, when_timestamp, \
                  revision, parent_commitid) VALUES (?, 1, 'a', NULL, 'c', 5, ?, ?)";
    let set = "INSERT INTO test_result_sets (id, builderid, buildid, stepid, category, value_unit, tests_passed, \
               complete) VALUES (1, ?, ?, ?, 'unit', 'boolean', 1, 1)";
    let result = "INSERT INTO test_results (id, builderid, test_result_setid, test_nameid, test_code_pathid, line, \
                  value) VALUES (?, ?, 1, ?, ?, 7, '1')";
    let statements: Vec<(&str, Vec<Value>)> = vec![
        ("INSERT INTO projects (id, name, name_hash, slug) VALUES (1, 'p', 'h', 'p')", vec![]),
        (
            "INSERT INTO codebases (id, projectid, name, name_hash, slug) VALUES (1, 1, ?, ?, 'main')",
            vec!["main".into(), muster_core::hash::name_hash("main").into()],
        ),
        (commit, vec![1.into(), "r1".into(), Value::Null]),
        (commit, vec![2.into(), "r2".into(), 1.into()]),
        (commit, vec![3.into(), "r3".into(), 2.into()]),
        (commit, vec![4.into(), "r4".into(), 1.into()]),
        (
            "INSERT INTO codebase_branches (id, codebaseid, name, name_hash, commitid, last_timestamp) \
             VALUES (1, 1, 'b', 'h', 3, 6)",
            vec![],
        ),
        ("INSERT INTO sourcestamps (id, ss_hash, revision, created_at) VALUES (900, 'h', 'r3', 5)", vec![]),
        (
            "INSERT INTO buildset_sourcestamps (buildsetid, sourcestampid) VALUES (?, 900)",
            vec![buildset.into()],
        ),
        (
            "INSERT INTO build_data (buildid, name, value, length, source) VALUES (?, 'coverage', ?, 3, 'step')",
            vec![build.into(), vec![0_u8, 159, 255].into()],
        ),
        (set, vec![builder.into(), build.into(), step.into()]),
        ("INSERT INTO test_names (id, builderid, name) VALUES (1, ?, 'name')", vec![builder.into()]),
        ("INSERT INTO test_code_paths (id, builderid, path) VALUES (1, ?, 'path')", vec![builder.into()]),
        (result, vec![1.into(), builder.into(), 1.into(), 1.into()]),
        (result, vec![2.into(), builder.into(), Value::Null, Value::Null]),
    ];
    for (text, params) in statements {
        tx.execute(text, params).await?;
    }
    Ok(())
}

async fn get(data: &Data, path: &str) -> std::result::Result<Found, Error> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path: Vec<String> = path.split('/').map(str::to_owned).collect();
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    let query: Vec<(String, String)> = query.map(|(name, value)| (name.into(), value.into())).collect();
    data.get(&path, &query, &()).await
}

/// The values of a field in a list.
async fn listed(data: &Data, path: &str, field: &str) -> serde_json::Value {
    match get(data, path).await.unwrap() {
        Found::List { page, .. } => page.items.iter().map(|item| item[field].clone()).collect(),
        Found::Single { item, .. } => item[field].clone(),
        _ => panic!("{path} is neither a list nor one thing"),
    }
}

async fn commits_data_and_test_results_are_read(ground: &Ground) {
    let db = &ground.db;
    let master = data::masters(db, 1).await[0];
    let (builders, worker) = data::builders(db, master, 1).await;
    let (builder, request) = (builders[0], data::requests(db, &builders, 1).await[0]);
    let build = tx(db, |tx| async move {
        let (build, _) = data::build(&tx, builder, request, worker, master).await?;
        let step = data::step(&tx, build, "step").await?.id;
        let set = muster_store::query::requests::by_id(&tx, request).await?.unwrap().buildset;
        record(&tx, build.0, builder.0, step.0, set.0).await?;
        Ok(build)
    })
    .await;
    let data = Data::new(db.clone(), Bus::default());

    let range = |one: i64, other: i64, what: &str| format!("codebases/1/commit_range/{one}/{other}/{what}");
    let graph = get(&data, &range(3, 4, "commits_common_parent")).await.unwrap();
    let Found::Single { item, .. } = graph else { panic!("one graph") };
    assert_eq!(item, json!({"common": 1, "to1": [1, 2, 3], "to2": [1, 4]}));
    let nothing = get(&data, &range(3, 99, "commits_common_parent")).await;
    assert!(matches!(nothing, Err(Error::NotFound(_))));
    for (one, other, sets) in [(1, 3, json!([1])), (1, 4, json!([])), (4, 3, json!([])), (3, 3, json!([1]))] {
        assert_eq!(listed(&data, &range(one, other, "test_result_sets"), "test_result_setid").await, sets);
    }
    for (path, field, expected) in [
        ("codebases", "name", json!(["main"])),
        ("projects/1/codebases/main", "codebaseid", json!(1)),
        ("codebases/1/branches", "commitid", json!([3])),
        ("branches/1", "last_timestamp", json!(6)),
        ("codebases/1/commits?order=-commitid&limit=2&offset=1", "commitid", json!([3, 2])),
        ("codebases/1/commits?revision__contains=4", "parent_commitid", json!([1])),
        ("codebases/1/commits_by_revision/r2", "commitid", json!(2)),
        ("commits/1", "committer", json!(null)),
        ("test_result_sets?complete=true", "tests_passed", json!([1])),
        ("test_result_sets?complete=false", "tests_passed", json!([])),
        ("test_result_sets/1/results?order=-test_resultid", "test_name", json!([null, "name"])),
        ("test_result_sets/1/results?test_code_path__contains=at", "test_resultid", json!([1])),
    ] {
        assert_eq!(listed(&data, path, field).await, expected, "{path}");
    }
    assert_eq!(listed(&data, &format!("builds/{build}/test_result_sets"), "complete").await, json!([true]));
    assert_eq!(listed(&data, &format!("builds/{build}/data"), "length").await, json!([3]));
    let value = get(&data, &format!("builds/{build}/data/coverage/value")).await.unwrap();
    assert!(matches!(value, Found::Data(data) if data.bytes == [0, 159, 255] && data.name == "coverage"));
    let Found::List { page, .. } = get(&data, "sourcestamps?limit=0").await.unwrap() else { panic!() };
    assert_eq!((page.items.len(), page.total), (0, 1));
}
