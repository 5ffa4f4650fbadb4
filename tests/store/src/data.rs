//! Rows to work with.

use muster_core::{BuilderId, Claim, MasterId, Properties, RequestId, Timestamp, WorkerId};
use muster_store::{
    Db, Error, Result, Tx,
    builders::{self, BuilderInfo},
    buildsets::{self, BuildsetRow},
    masters, workers,
};

/// The moment at which everything in these tests happens.
pub const NOW: Timestamp = Timestamp(1_700_000_000);

/// A claim of `master`, made now.
pub fn claim(master: MasterId) -> Claim {
    Claim { master, at: NOW }
}

/// Runs a body in a transaction, and expects that it commits.
pub async fn tx<T, Fut>(db: &Db, body: impl FnMut(Tx) -> Fut) -> T
where
    Fut: Future<Output = Result<T>>,
{
    db.tx::<T, Error, _, _>("test", body).await.unwrap().into_inner()
}

/// Some masters.
pub async fn masters(db: &Db, count: usize) -> Vec<MasterId> {
    let mut all = Vec::new();
    for number in 0..count {
        all.push(
            tx(db, |tx| async move { masters::find_or_create(&tx, &format!("host{number}:/srv")).await })
                .await,
        );
    }
    all
}

/// Some builders of `master`, with a worker that may build for all of them.
pub async fn builders(db: &Db, master: MasterId, count: usize) -> (Vec<BuilderId>, WorkerId) {
    tx(db, |tx| async move {
        let mut all = Vec::new();
        for number in 0..count {
            let info = BuilderInfo { name: format!("builder {number}"), ..BuilderInfo::default() };
            all.push(builders::configure(&tx, master, &info).await?);
        }
        let worker = workers::find_or_create(&tx, "worker").await?;
        workers::configure(&tx, master, worker, &all).await?;
        Ok((all, worker))
    })
    .await
}

/// `count` pending requests, on each of the builders in turn, in one buildset.
pub async fn requests(db: &Db, builders: &[BuilderId], count: usize) -> Vec<RequestId> {
    tx(db, |tx| async move {
        let row = BuildsetRow { reason: "test".to_owned(), ..BuildsetRow::default() };
        let buildset = buildsets::insert(&tx, &row, &Properties::new(), &[], NOW).await?;
        let mut all = Vec::new();
        for builder in builders.iter().cycle().take(count) {
            all.push(buildsets::insert_request(&tx, buildset, *builder, 0, false, NOW).await?);
        }
        Ok(all)
    })
    .await
}
