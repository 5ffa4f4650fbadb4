//! Journals of older versions: a run that was in flight during an upgrade.

use std::collections::BTreeMap;

use muster_core::Results;
use muster_store::runs::{FIRST_PART, JournalRow};
use serde_json::Value;

use super::replay::{examples, world};
use crate::steps::testing::{World, replay, step};

/// Journals of complete steps as the last release with replay version 1 wrote them: ordinal, kind, hash, outcome.
const VERSION_1: &str = include_str!("golden/journals_of_version_1.json");

/// What stands for the master's directory there.
const BASE: &str = "{BASE}";

fn as_golden(row: &JournalRow, world: &World) -> (u32, String, String, String) {
    assert_eq!(row.part, FIRST_PART);
    let base = world.path("");
    let base = base.to_str().unwrap().trim_end_matches('/');
    let outcome = row.outcome.replace(base, BASE);
    (row.ordinal, row.kind.clone(), row.args_hash.clone(), outcome)
}

/// Rows whose hash is another one in each directory: this one's text names it.
fn names_directory(kind: &str, ordinal: u32) -> bool {
    (kind, ordinal) == ("MasterShellCommand", 1)
}

#[tokio::test]
async fn a_step_that_began_under_version_1_leaves_what_a_master_of_that_version_reads() {
    let golden: BTreeMap<String, Vec<(u32, String, String, String)>> =
        serde_json::from_str(VERSION_1).unwrap();
    for (kind, args) in examples() {
        let Some(expected) = golden.get(kind) else { continue };
        let world = world().await.under(1);
        world.run(&step(kind, args)).await;
        let rows = world.journal().await;
        assert_eq!(rows.len(), expected.len(), "{kind}: {rows:?}");
        for (row, expected) in rows.iter().zip(expected) {
            let mut row = as_golden(row, &world);
            if names_directory(kind, row.0) {
                row.2.clone_from(&expected.2);
            }
            assert_eq!(row, *expected, "{kind}");
        }
    }
    assert!(golden.keys().all(|kind| examples().iter().any(|(known, _)| known == kind)));
}

async fn replayed(kind: &str, args: Value) -> Results {
    replay(&step(kind, args), async || world().await.under(1)).await.results
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_goes_on_from_a_journal_of_version_1() {
    let replaying = examples().into_iter().map(|(kind, args)| (kind, tokio::spawn(replayed(kind, args))));
    for (kind, results) in replaying.collect::<Vec<_>>() {
        let results = results.await.unwrap();
        assert!(matches!(results, Results::Success | Results::Warnings), "{kind}: {results:?}");
    }
}
