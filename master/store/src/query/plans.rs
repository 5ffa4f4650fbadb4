//! The lists that grow for ever must be walks along an index: their plans are checked.

use super::*;
use crate::{Db, DbUrl, Error};

async fn plan(table: &Table, select: &Select) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let db = Db::upgrade(&DbUrl::Sqlite(directory.path().join("state.sqlite"))).await.unwrap();
    let (text, params) = select.build(table);
    let rows: Result<Vec<Row>> = db
        .read("plan", |tx| async move { tx.query(&format!("EXPLAIN QUERY PLAN {text}"), params).await })
        .await;
    rows.unwrap().iter().map(|row| row.text(3)).collect::<std::result::Result<_, Error>>().unwrap()
}

fn newest(table: &Table, field: &str) -> Select {
    Select::all().order_by(table.column(field).unwrap(), true).limit(50)
}

#[tokio::test]
async fn the_newest_of_everything_is_a_walk_along_the_key() {
    for (table, field) in [
        (&builds::TABLE, "buildid"),
        (&requests::TABLE, "buildrequestid"),
        (&buildsets::TABLE, "bsid"),
        (&changes::TABLE, "changeid"),
    ] {
        let plan = plan(table, &newest(table, field)).await;
        assert!(plan.iter().all(|step| !step.contains("TEMP B-TREE")), "{field}: {plan:?}");
    }
}

#[tokio::test]
async fn the_newest_builds_of_a_builder_are_a_walk_along_its_numbers() {
    let table = &builds::TABLE;
    let select = newest(table, "number").and(table.column("builderid").unwrap(), Op::Eq, vec![Value::Int(2)]);
    let plan = plan(table, &select).await;
    assert_eq!(plan, ["SEARCH builds USING INDEX builds_number (builderid=?)"]);
}
