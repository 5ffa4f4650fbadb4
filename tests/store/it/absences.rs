//! Absent workers, on every engine.

use muster_store::{
    absences::{self, Absence, Told},
    workers,
};
use muster_store_tests::data::{self, NOW, tx};

use crate::engines::Ground;

async fn open(ground: &Ground) -> Vec<Absence> {
    tx(&ground.db, |tx| async move { absences::open(&tx).await }).await
}

async fn is_stale(ground: &Ground) -> bool {
    tx(&ground.db, |tx| async move { absences::is_stale(&tx).await }).await
}

async fn refresh(ground: &Ground) {
    tx(&ground.db, |tx| async move { absences::refresh(&tx, NOW).await }).await;
}

pub async fn absences_follow_the_connections(ground: &Ground) {
    let db = &ground.db;
    let master = data::masters(db, 1).await[0];
    let (_, worker) = data::builders(db, master, 2).await;
    tx(db, |tx| async move { workers::disconnected(&tx, master, worker).await }).await;
    assert!(is_stale(ground).await);
    refresh(ground).await;
    refresh(ground).await;
    assert!(!is_stale(ground).await);
    let seen = open(ground).await;
    let absence = seen.iter().find(|absence| absence.worker == worker).expect("it is absent").clone();
    assert_eq!((absence.since, absence.told), (NOW, Told::Nobody));
    for first in [true, false] {
        let seen = absence.clone();
        let told = tx(db, |tx| {
            let seen = seen.clone();
            async move { absences::tell(&tx, &seen, Told::Event, NOW).await }
        });
        assert_eq!(told.await, first, "it is told once");
    }
    tx(db, |tx| async move { workers::connected(&tx, master, &[(worker, "{}".to_owned())]).await }).await;
    assert!(!is_stale(ground).await, "to connect ends an absence");
    assert!(open(ground).await.iter().all(|absence| absence.worker != worker));
    tx(db, |tx| async move { workers::disconnected(&tx, master, worker).await }).await;
}
