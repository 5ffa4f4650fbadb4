//! Stock workers' connections and lives, the same on every engine.

use muster_core::{MasterId, Roles, WorkerId};
use muster_store::{Db, control, masters, stock, workers};
use muster_store_tests::data::{self, NOW, tx};

use crate::engines::Ground;

const ONE: &str = "a gateway";
const TWO: &str = "another gateway";

pub async fn stock_workers_have_one_connection_and_one_life(ground: &Ground) {
    lives_end_with_their_connection_or_gateway(ground).await;
    own_workers_are_never_lost(ground).await;
    gateways_settle_whose_a_worker_is(ground).await;
    stale_orders_for_workers_are_dropped(ground).await;
}

/// A master with a lease, whose incarnation is `gateway`.
async fn gateway(db: &Db, master: MasterId, gateway: &str) {
    let life = masters::Life {
        incarnation: gateway.into(),
        roles: Roles::ALL,
        version: "1.0".into(),
        sessions: Vec::new(),
    };
    let life = &life;
    tx(db, |tx| async move { masters::take_lease(&tx, master, life, NOW).await }).await;
}

/// Workers that the gateway [`ONE`] has.
async fn connected<const N: usize>(db: &Db, about: &str) -> [WorkerId; N] {
    let connected = tx(db, |tx| async move {
        let mut all = Vec::new();
        for number in 0..N {
            all.push(workers::find_or_create(&tx, &format!("{about} {number}")).await?);
        }
        stock::lock(&tx, &all).await?;
        stock::take(&tx, &all, ONE).await?;
        Ok(all)
    });
    connected.await.try_into().unwrap()
}

/// Dials of workers in the life `boot`.
async fn dial(db: &Db, holder: MasterId, all: &[WorkerId], boot: &str, gateway: Option<&str>) {
    tx(db, |tx| async move {
        let last = workers::reserve_dials(&tx, all, 1, i64::MAX).await?;
        let dial = |worker: &WorkerId| workers::Dial {
            worker: *worker,
            boot_id: boot.to_owned(),
            dial_no: last[worker] + 1,
            gateway: gateway.map(str::to_owned),
        };
        let dials: Vec<workers::Dial> = all.iter().map(dial).collect();
        workers::win_sessions(&tx, &dials, holder, i64::MAX).await.map(drop)
    })
    .await;
}

async fn lost(db: &Db, all: &[WorkerId]) -> Vec<(WorkerId, String)> {
    let mut lost = tx(db, |tx| async move { stock::lost_lives(&tx, all).await }).await;
    lost.sort_unstable();
    lost
}

/// A life is over once its gateway has let go of the connection, lost it to another one, or began a new life itself. A lease
/// that others have ended proves nothing: the gateway may stand still.
async fn lives_end_with_their_connection_or_gateway(ground: &Ground) {
    let db = &ground.db;
    let both: [MasterId; 2] = data::masters(db, 2).await.try_into().unwrap();
    gateway(db, both[0], ONE).await;
    gateway(db, both[1], TWO).await;
    let all @ [left, displaced, stays, also] = connected(db, "a life").await;
    dial(db, both[0], &all, "first", Some(ONE)).await;
    assert_eq!(lost(db, &all).await, []);

    tx(db, |tx| async move { stock::leave(&tx, &[left], ONE).await }).await;
    assert_eq!(lost(db, &all).await, [(left, "first".to_owned())]);
    tx(db, |tx| async move { stock::displace(&tx, &[displaced], TWO).await }).await;
    assert_eq!(lost(db, &[displaced, stays]).await, [(displaced, "first".to_owned())]);
    dial(db, both[1], &[displaced], "second", Some(TWO)).await;
    assert_eq!(lost(db, &[displaced, stays]).await, [], "it is another life by now");

    tx(db, |tx| async move { masters::set_lease_state(&tx, both[0], ONE, "expired").await }).await;
    assert_eq!(lost(db, &all).await, [(left, "first".to_owned())], "it may stand still and go on");
    // A new life of the same master is another gateway.
    gateway(db, both[0], "its next life").await;
    let of_the_dead = [left, stays, also].map(|worker| (worker, "first".to_owned()));
    assert_eq!(lost(db, &all).await, of_the_dead);
    assert_eq!(lost(db, &[]).await, []);
    assert_eq!(tx(db, |tx| async move { stock::wanted(&tx, ONE).await }).await, [(displaced, true)]);
}

/// Muster's own workers come without a gateway: their commands survive masters.
async fn own_workers_are_never_lost(ground: &Ground) {
    let db = &ground.db;
    let master = data::masters(db, 1).await[0];
    let own = tx(db, |tx| async move { workers::find_or_create(&tx, "own").await }).await;
    dial(db, master, &[own], "life", None).await;
    assert_eq!(lost(db, &[own]).await, []);
}

/// Who wants a worker asks for it in its row, and whoever has it answers there.
async fn gateways_settle_whose_a_worker_is(ground: &Ground) {
    let db = &ground.db;
    let all @ [kept, given, taken] = connected(db, "wanted").await;
    let wanted = async |gateway| tx(db, |tx| async move { stock::wanted(&tx, gateway).await }).await;
    assert!(!tx(db, |tx| async move { stock::is_anything_wanted(&tx).await }).await);
    tx(db, |tx| async move {
        stock::challenge(&tx, &[kept, given], TWO).await?;
        stock::displace(&tx, &[taken], TWO).await
    })
    .await;
    assert!(tx(db, |tx| async move { stock::is_anything_wanted(&tx).await }).await);
    assert_eq!(wanted(ONE).await, [(kept, false), (given, false), (taken, true)]);
    assert_eq!(wanted(ONE).await, [(kept, false), (given, false)], "a loss is told once");
    assert_eq!(wanted(TWO).await, []);

    tx(db, |tx| async move {
        stock::keep(&tx, kept, ONE).await?;
        // It is not this one's to keep.
        stock::keep(&tx, taken, ONE).await?;
        stock::leave(&tx, &[given, taken], ONE).await
    })
    .await;
    let rows = tx(db, |tx| async move { stock::lock(&tx, &all).await }).await;
    let facts: Vec<_> =
        rows.iter().map(|row| [&row.holder, &row.challenger, &row.refused].map(Option::as_deref)).collect();
    let expected = [[Some(ONE), None, Some(TWO)], [None, Some(TWO), None], [Some(TWO), None, None]];
    assert_eq!(facts, expected);

    let note = async |gateway, commands| {
        tx(db, |tx| async move { stock::note(&tx, kept, gateway, commands).await }).await
    };
    assert!(note(ONE, r#"["a"]"#).await);
    assert!(note(ONE, r#"["a"]"#).await, "a row that stays as it is is not somebody else's");
    assert!(!note(TWO, "[]").await);
    let rows = tx(db, |tx| async move { stock::lock(&tx, &[kept]).await }).await;
    assert_eq!(rows[0].commands, r#"["a"]"#);
    assert!(tx(db, |tx| async move { stock::building(&tx, ONE).await }).await.is_empty());
    tx(db, |tx| async move { stock::leave(&tx, &all, TWO).await }).await;
}

/// An order for a worker that has been away for long is nobody's.
async fn stale_orders_for_workers_are_dropped(ground: &Ground) {
    let db = &ground.db;
    let master = data::masters(db, 1).await[0];
    let [away, here, ..] = connected::<2>(db, "ordered").await;
    tx(db, |tx| async move {
        workers::connected(&tx, master, &[(here, "{}".to_owned())]).await?;
        for worker in [away, here] {
            control::insert(&tx, "worker", worker.0, "stop", "maintenance", NOW).await?;
        }
        Ok(())
    })
    .await;
    let left = async |before| {
        let orders = tx(db, |tx| async move {
            control::drop_stale_of_workers(&tx, before).await?;
            control::open(&tx, "worker").await
        });
        orders.await.into_iter().map(|order| WorkerId(order.targetid)).collect::<Vec<_>>()
    };
    assert_eq!(left(NOW).await, [away, here], "they were given just now");
    assert_eq!(left(muster_core::Timestamp(NOW.0 + 1)).await, [here]);
    tx(db, |tx| async move {
        control::done(&tx, "worker", here.0).await?;
        workers::disconnected(&tx, master, here).await
    })
    .await;
}
