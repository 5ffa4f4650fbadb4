//! How runs wait for the writer.

use muster_bus::Bus;
use muster_core::{BuildId, Epoch, MasterId};
use muster_store::{Db, DbUrl};
use tokio::time::timeout;

use super::*;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn room_that_comes_between_the_look_and_the_wait_is_not_missed() {
    let directory = tempfile::tempdir().unwrap();
    let url = DbUrl::parse("sqlite:///state.sqlite", directory.path()).unwrap();
    let writer = Writer::new(Data::new(Db::upgrade(&url).await.unwrap(), Bus::default()));
    let key = RunKey { build: BuildId(1), owner: MasterId(1), epoch: Epoch(1) };
    let mut account = writer.open(key, RequestId(1), Compression::Gz);
    let mut much = Gathered::default();
    much.append(1, "stdio", &"x".repeat(MAX_OF_RUN));
    account.post(much);
    let mut waiter = account.waiter();
    let full = !waiter.has_room();
    assert!(full);
    let taken = writer.next_group().await.unwrap();
    assert_eq!(taken.len(), 1);
    timeout(PATIENCE, waiter.attend(full)).await.expect("there is room").unwrap();
}
