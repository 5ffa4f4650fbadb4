//! The short form: symmetric masters, a few workers, three minutes of faults.

use muster_torture::run::{self, Plan};

#[test]
fn a_cluster_under_torture_loses_nothing_and_does_nothing_twice() {
    let seed = std::env::var("MUSTER_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let violations = run::torture(&Plan::short(seed));
    assert!(violations.is_empty(), "MUSTER_TEST_SEED={seed}: {violations:#?}");
}
