//! What a worker brings along when it comes from another engine.

use std::{collections::BTreeMap, io};

use muster_core::WorkerId;
use muster_session::{
    Command, Identity, MasterEvents, Opening, Password, Passwords, Spool, Terms, Transport, UpdateBody,
    WorkerEvent, WorkerEvents, WorkerLink, open,
};

use super::*;

const COMMAND: CommandId = CommandId { build: BuildId(9), step: 2, ordinal: 1 };

struct NothingSpooled;

impl Spool for NothingSpooled {
    fn load(&self, _: CommandId, _: u64) -> io::Result<UpdateBody> {
        Err(io::ErrorKind::NotFound.into())
    }
}

struct Worker {
    link: WorkerLink,
    events: WorkerEvents,
    boot: BootId,
}

impl Worker {
    fn new() -> Worker {
        let boot = BootId("boot".to_owned());
        let identity = Identity {
            worker: "w".to_owned(),
            password: Password::new("p"),
            boot_id: boot.clone(),
            generation: 0,
        };
        let (link, events) = WorkerLink::new(identity);
        Worker { link, events, boot }
    }

    async fn dial(&self, number: u64) -> Opening {
        let (ours, theirs) = Transport::pair();
        let link = self.link.clone();
        tokio::spawn(async move { link.converse(ours, number, BTreeMap::new(), &NothingSpooled).await });
        let passwords: Passwords = Arc::new(|_| Some(Password::new("p")));
        open(theirs, &passwords).await.unwrap()
    }

    /// Whether it is to begin the command (and not to forget it).
    async fn is_to_begin(&mut self) -> bool {
        loop {
            match self.events.next().await.unwrap() {
                WorkerEvent::Order { command, number, order: muster_session::Order::Start(_), .. } => {
                    self.link.acknowledge(command, number);
                    return true;
                }
                WorkerEvent::Forget { .. } => return false,
                _ => {}
            }
        }
    }
}

fn order() -> StartCommand {
    StartCommand { builddir: "b".to_owned(), command: Command::Mkdir { dirs: vec!["d".to_owned()] } }
}

fn slot() -> Slot {
    Slot::new("w", WorkerId(1), Bells::default())
}

/// A worker to which another engine has given a command, and which has dialled the engine of this slot since.
async fn come_from_elsewhere(slot: &Slot) -> Worker {
    let mut worker = Worker::new();
    let (elsewhere, _events): (MasterLink, MasterEvents) = MasterLink::new("w", worker.boot.clone());
    elsewhere.start(COMMAND, Epoch(1), order()).unwrap();
    let opening = worker.dial(1).await;
    tokio::spawn(async move { elsewhere.converse(opening, Terms::new(1, Epoch(1))).await });
    assert!(worker.is_to_begin().await);
    let opening = worker.dial(2).await;
    assert!(slot.supersede(&worker.boot, 2));
    let (link, events) = slot.link_for(&worker.boot, opening.info(), false);
    let (pumped, boot) = (slot.clone(), worker.boot.clone());
    tokio::spawn(async move { pumped.pump(boot, events.unwrap()).await });
    tokio::spawn(async move { link.converse(opening, Terms::new(1, Epoch(1))).await });
    slot.wait_connected().await.unwrap();
    worker
}

#[tokio::test]
async fn a_command_is_kept_until_its_run_is_taken_up() {
    let slot = slot();
    let worker = come_from_elsewhere(&slot).await;
    // Of two dials at once the first one brings the run along, and the second one may be connected before the run is
    // taken up. Were the command forgotten meanwhile, it would seem never to have been sent.
    assert_eq!(slot.strangers(), [COMMAND.build]);
    slot.expect(COMMAND.build);
    assert!(slot.strangers().is_empty());
    let resumed = slot.resume(&worker.boot, COMMAND, Epoch(2), 0).await.unwrap();
    assert!(resumed.is_some(), "the worker has it");
}

#[tokio::test]
async fn a_command_is_forgotten_when_its_run_is_over() {
    let strange = slot();
    let mut worker = come_from_elsewhere(&strange).await;
    strange.forget_strangers(&[COMMAND.build]);
    assert!(!worker.is_to_begin().await);

    let released = slot();
    let mut worker = come_from_elsewhere(&released).await;
    released.expect(COMMAND.build);
    let resumed = released.resume(&worker.boot, COMMAND, Epoch(2), 0).await.unwrap();
    assert!(resumed.is_some());
    released.release(COMMAND.build);
    assert!(!worker.is_to_begin().await);
}

#[tokio::test]
async fn a_dial_that_is_late_changes_nothing() {
    let slot = slot();
    let worker = come_from_elsewhere(&slot).await;
    assert!(!slot.supersede(&worker.boot, 1));
    assert!(slot.is_ready());
    assert!(slot.supersede(&BootId("another life".to_owned()), 1));
}
