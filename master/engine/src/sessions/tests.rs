//! What a worker brings along when it comes from another engine.

use std::{collections::BTreeMap, io};

use muster_core::WorkerId;
use muster_data::Moment;
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
    Slot::new("w", WorkerId(1), Bells::default(), Trust::unlimited())
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

/// Whether a wait is over by now.
async fn gone(slot: &Slot, boot: &BootId) -> Option<Gone> {
    tokio::time::timeout(Duration::from_millis(1), slot.wait_gone(boot)).await.ok()
}

#[tokio::test(start_paused = true)]
async fn a_life_that_seemed_to_be_gone_and_dials_again_is_not_gone() {
    let slot = slot();
    let worker = come_from_elsewhere(&slot).await;
    slot.expect(COMMAND.build);
    slot.close("it stands still");
    tokio::time::timeout(Duration::from_secs(9), async {
        while slot.is_connected() {
            tokio::task::yield_now().await
        }
    })
    .await
    .unwrap();
    let missed = slot.missed().unwrap();
    slot.lose(worker.boot.clone(), missed.dial_no);
    assert_eq!(gone(&slot, &worker.boot).await, Some(Gone::Away));
    assert!(slot.supersede(&worker.boot, 3));
    assert_eq!(gone(&slot, &worker.boot).await, None, "its dial is the proof of the contrary");
    slot.lose(worker.boot.clone(), missed.dial_no);
    assert_eq!(gone(&slot, &worker.boot).await, None, "that was found out before the dial");
}

#[tokio::test(start_paused = true)]
async fn a_life_that_is_over_gets_no_builds() {
    let slot = slot();
    let worker = come_from_elsewhere(&slot).await;
    assert!(slot.is_ready());
    slot.give_up();
    assert!(!slot.is_ready() && slot.is_connected());
    assert_eq!(gone(&slot, &worker.boot).await, Some(Gone::Away));
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_was_here_long_ago_says_nothing_about_a_build_that_comes_from_elsewhere() {
    let slot = slot();
    let _worker = come_from_elsewhere(&slot).await;
    slot.close("another engine has it from now on");
    tokio::time::timeout(Duration::from_secs(9), async {
        while slot.is_connected() {
            tokio::task::yield_now().await
        }
    })
    .await
    .unwrap();
    tokio::time::advance(10 * GRACE).await;
    // Meanwhile it has begun another life, at the other engine, which is gone now; its build is taken up here.
    let later = BootId("a later life".to_owned());
    slot.expect(BuildId(11));
    assert_eq!(gone(&slot, &later).await, None, "it has its grace from now on");
    tokio::time::advance(GRACE).await;
    assert_eq!(gone(&slot, &later).await, Some(Gone::Away));
}

#[tokio::test(start_paused = true)]
async fn no_grace_is_over_while_this_master_lets_nobody_in() {
    let trust = Trust::none();
    trust.renew(Moment::now());
    let slot = Slot::new("w", WorkerId(1), Bells::default(), trust.clone());
    let worker = come_from_elsewhere(&slot).await;
    slot.expect(COMMAND.build);
    slot.state().lose_connection();
    trust.end();
    tokio::time::advance(10 * GRACE).await;
    assert_eq!(gone(&slot, &worker.boot).await, None, "it could not come");
    trust.renew(Moment::now());
    assert_eq!(gone(&slot, &worker.boot).await, None, "its grace begins anew");
}
