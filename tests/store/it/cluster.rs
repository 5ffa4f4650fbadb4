//! Masters and what they own, the same on every engine.

use muster_core::Roles;
use muster_store::masters;
use muster_store_tests::data::{self, NOW, tx};

use crate::engines::Ground;

/// Leases are held by one life of a master, which says what it does and where its workers come.
pub async fn masters_hold_leases(ground: &Ground) {
    let db = &ground.db;
    let first = data::masters(db, 1).await[0];
    let life = masters::Life {
        incarnation: "one".into(),
        roles: Roles::ALL,
        version: "1.0".into(),
        sessions: vec!["ws://a:1".into(), "ws://b:2".into()],
    };
    let life = &life;
    tx(db, |tx| async move { masters::take_lease(&tx, first, life, NOW).await }).await;
    let engines = tx(db, |tx| async move { masters::live_engines(&tx).await }).await;
    let of_first = engines.iter().find(|engine| engine.master == first).unwrap();
    assert_eq!(of_first.sessions, life.sessions);
    assert!(tx(db, |tx| async move { masters::renew_lease(&tx, first, "one").await }).await);
    assert!(!tx(db, |tx| async move { masters::renew_lease(&tx, first, "other").await }).await);
    tx(db, |tx| async move { masters::set_lease_state(&tx, first, "one", "stopped").await }).await;
    let engines = tx(db, |tx| async move { masters::live_engines(&tx).await }).await;
    assert!(engines.iter().all(|engine| engine.master != first));
}
