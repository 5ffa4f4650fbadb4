//! Masters and what they own, the same on every engine.

use muster_core::Roles;
use muster_store::{
    Error, masters, query,
    schedulers::{self, Singleton},
};
use muster_store_tests::data::{self, NOW, tx};

use crate::engines::Ground;

pub async fn leases_and_schedulers_have_one_owner(ground: &Ground) {
    masters_hold_leases(ground).await;
    schedulers_have_one_owner(ground).await;
}

/// Leases are held by one life of a master, which says what it does and where its workers come.
async fn masters_hold_leases(ground: &Ground) {
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

/// A scheduler and a change source have one owner, in one epoch; the one before can't write any more.
async fn schedulers_have_one_owner(ground: &Ground) {
    let db = &ground.db;
    let masters = data::masters(db, 2).await;
    let (one, two) = (masters[0], masters[1]);
    let scheduler = tx(db, |tx| async move { schedulers::find_or_create(&tx, "nightly").await }).await;
    let own = async |singleton, master| {
        tx(db, |tx| async move { schedulers::own(&tx, singleton, master).await }).await
    };
    let nightly = Singleton::Scheduler(scheduler);
    let first = own(nightly, one).await.unwrap();
    assert_eq!(own(nightly, one).await, Some(first), "the same epoch");
    assert_eq!(own(nightly, two).await, None);
    let (first, may_write) = (&first, async |ownership| {
        tx(db, |tx| async move { Ok::<_, Error>(schedulers::fence(&tx, ownership).await.is_ok()) }).await
    });
    assert!(may_write(first).await);
    let seen = tx(db, |tx| async move { query::masters::scheduler(&tx, scheduler).await }).await.unwrap();
    assert!(seen.enabled);
    assert_eq!(seen.master.unwrap().id, one);
    assert!(tx(db, |tx| async move { schedulers::disown(&tx, first).await }).await);
    let second = &own(nightly, two).await.unwrap();
    assert!(!may_write(first).await && may_write(second).await);
    assert!(!tx(db, |tx| async move { schedulers::disown(&tx, first).await }).await);
    assert!(tx(db, |tx| async move { schedulers::is_owned(&tx, second).await }).await);
    assert!(tx(db, |tx| async move { schedulers::set_enabled(&tx, scheduler, false).await }).await);
    assert!(tx(db, |tx| async move { schedulers::set_enabled(&tx, scheduler, false).await }).await);
    let source = tx(db, |tx| async move { schedulers::find_or_create_source(&tx, "poller").await }).await;
    let poller = Singleton::ChangeSource(source);
    let owned = &own(poller, two).await.unwrap();
    assert_eq!(own(poller, one).await, None);
    assert!(may_write(owned).await);
    let seen = tx(db, |tx| async move { query::masters::change_source(&tx, source).await }).await.unwrap();
    assert_eq!(seen.master.unwrap().id, two);
    assert!(tx(db, |tx| async move { schedulers::disown(&tx, owned).await }).await);
    assert!(own(poller, one).await.is_some());
}
