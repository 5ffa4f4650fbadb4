//! Results of tests, and the sets that they come in.

use muster_core::{BuildId, BuilderId, CommitId, StepId, TestResult, TestResultSet, TestResultSetId};

use super::{Column, Select, Table, rows};
use crate::{Result, Row, Tx, params};

/// What sets are read from.
pub const SETS: Table = Table {
    select: "SELECT id, builderid, buildid, stepid, description, category, value_unit, tests_passed, tests_failed, \
             complete FROM test_result_sets",
    key: "id",
    columns: &[
        Column::new("test_result_setid", "id"),
        Column::new("builderid", "builderid"),
        Column::new("buildid", "buildid"),
        Column::new("stepid", "stepid"),
        Column::new("description", "description"),
        Column::new("category", "category"),
        Column::new("value_unit", "value_unit"),
        Column::new("tests_passed", "tests_passed"),
        Column::new("tests_failed", "tests_failed"),
        Column::new("complete", "complete"),
    ],
};

/// What results are read from.
pub const RESULTS: Table = Table {
    select: "SELECT r.id, r.builderid, r.test_result_setid, n.name, p.path, r.line, r.duration_ns, r.value \
             FROM test_results r LEFT JOIN test_names n ON n.id = r.test_nameid \
             LEFT JOIN test_code_paths p ON p.id = r.test_code_pathid",
    key: "r.id",
    columns: &[
        Column::new("test_resultid", "r.id"),
        Column::new("builderid", "r.builderid"),
        Column::new("test_result_setid", "r.test_result_setid"),
        Column::new("test_name", "n.name"),
        Column::new("test_code_path", "p.path"),
        Column::new("line", "r.line"),
        Column::new("duration_ns", "r.duration_ns"),
        Column::new("value", "r.value"),
    ],
};

/// A set belongs to a commit when its build had a source of the same revision. Buildbot's tables know no closer relation.
const OF_COMMITS: &str = "buildid IN (SELECT b.id FROM codebase_commits c \
     JOIN sourcestamps s ON s.revision = c.revision \
     JOIN buildset_sourcestamps bss ON bss.sourcestampid = s.id \
     JOIN buildrequests br ON br.buildsetid = bss.buildsetid \
     JOIN builds b ON b.buildrequestid = br.id WHERE c.id IN (??))";

fn set_from_row(row: &Row) -> Result<TestResultSet> {
    Ok(TestResultSet {
        id: TestResultSetId(row.int(0)?),
        builder: BuilderId(row.int(1)?),
        build: BuildId(row.int(2)?),
        step: StepId(row.int(3)?),
        description: row.opt_text(4)?,
        category: row.text(5)?,
        value_unit: row.text(6)?,
        tests_passed: row.opt_int(7)?,
        tests_failed: row.opt_int(8)?,
        complete: row.bool(9)?,
    })
}

fn result_from_row(row: &Row) -> Result<TestResult> {
    Ok(TestResult {
        id: row.int(0)?,
        builder: BuilderId(row.int(1)?),
        set: TestResultSetId(row.int(2)?),
        test_name: row.opt_text(3)?,
        code_path: row.opt_text(4)?,
        line: row.opt_int(5)?,
        duration_ns: row.opt_int(6)?,
        value: row.text(7)?,
    })
}

/// Sets that `select` names.
pub async fn sets(tx: &Tx, select: &Select) -> Result<Vec<TestResultSet>> {
    rows(tx, &SETS, select).await?.iter().map(set_from_row).collect()
}

/// One set.
pub async fn set(tx: &Tx, id: TestResultSetId) -> Result<Option<TestResultSet>> {
    let select = Select::all().only("id = ?", params![id]);
    Ok(sets(tx, &select).await?.pop())
}

/// The sets of builds that had one of these commits, of which there must be some.
pub async fn sets_of_commits(tx: &Tx, commits: &[CommitId]) -> Result<Vec<TestResultSet>> {
    let commits = commits.iter().map(|commit| commit.0.into()).collect();
    sets(tx, &Select::all().only_among(OF_COMMITS, commits)).await
}

/// Results that `select` names.
pub async fn results(tx: &Tx, select: &Select) -> Result<Vec<TestResult>> {
    rows(tx, &RESULTS, select).await?.iter().map(result_from_row).collect()
}
