//! Sessions over connections that come and go.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::*;
use futures_util::{Sink, Stream, sink, stream};
use muster_core::Epoch;
use muster_session::liveness::{HEARTBEAT, MISSED};
use muster_session::wire::{MAX_BLOCK, WINDOW};
use muster_session::{
    Disconnect, MasterEvent, MasterLink, Order, Refusal, RefusalCode, Terms, Transport, TransportError,
    UpdateBody, WorkerEvent, open,
};
use tokio::time::timeout;

#[tokio::test]
async fn a_command_from_start_to_end() {
    let mut worker = TestWorker::new("secret");
    let (opening, _dial) = dial_in_memory(&worker, 1).await;
    assert_eq!((opening.worker(), opening.dial_no(), opening.commands()), ("w1", 1, &[][..]));
    assert_eq!(opening.info()["version"], "1");
    let (link, mut events) = MasterLink::new("w1", worker.boot_id.clone());
    converse(&link, opening);

    link.start(command(0), Epoch(5), glob()).unwrap();
    assert!(link.start(command(0), Epoch(5), glob()).is_err());
    let (id, number, order) = worker.next_order().await;
    assert_eq!((id, number, order), (command(0), 1, Order::Start(Box::new(glob()))));
    worker.link.acknowledge(id, number);
    link.interrupt(command(0), "enough").unwrap();
    assert_eq!(worker.next_order().await.2, Order::Interrupt { why: "enough".into() });

    worker.tell(id, text("one\n"));
    worker.tell(id, UpdateBody::Rc(0));
    worker.tell(id, UpdateBody::Complete { error: None });
    assert_eq!(next_update(&mut events).await, (id, 1, text("one\n")));
    assert_eq!(next_update(&mut events).await, (id, 2, UpdateBody::Rc(0)));
    link.acknowledge(id, 2);
    assert_eq!(worker.next_stored().await, (id, 2, false));
    assert_eq!(next_update(&mut events).await, (id, 3, UpdateBody::Complete { error: None }));
    link.acknowledge(id, 3);
    assert_eq!(worker.next_stored().await, (id, 3, true));
    assert!(link.interrupt(id, "too late").is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_not_stored_comes_again_to_another_engine() {
    let mut worker = TestWorker::new("secret");
    let (opening, dial) = dial_in_memory(&worker, 1).await;
    let (link, mut events) = MasterLink::new("w1", worker.boot_id.clone());
    let conversation = converse(&link, opening);
    link.start(command(0), Epoch(1), glob()).unwrap();
    let (id, number, _) = worker.next_order().await;
    worker.link.acknowledge(id, number);
    for line in ["one\n", "two\n", "three\n"] {
        worker.tell(id, text(line));
        next_update(&mut events).await;
    }
    link.acknowledge(id, 1);
    worker.next_stored().await;
    conversation.abort();
    assert!(conversation.await.unwrap_err().is_cancelled());
    assert!(matches!(dial.await.unwrap(), Disconnect::Closed | Disconnect::Transport(_)));

    let (opening, _dial) = dial_in_memory(&worker, 2).await;
    let (state, (link, mut events)) =
        (opening.commands()[0].clone(), MasterLink::new("w1", worker.boot_id.clone()));
    assert_eq!((state.orders, state.updates, state.acknowledged, state.ended), (1, 3, 1, false));
    converse(&link, opening);
    let first = events.next().await.unwrap();
    assert_eq!(first, MasterEvent::Connected { dial_no: 2, unclaimed: vec![state.clone()] });
    link.resume(&state, Epoch(2), 1).unwrap();
    assert_eq!(next_update(&mut events).await, (id, 2, text("two\n")));
    assert_eq!(next_update(&mut events).await, (id, 3, text("three\n")));
    link.interrupt(id, "stop").unwrap();
    assert_eq!(worker.next_order().await, (id, 2, Order::Interrupt { why: "stop".into() }));
    link.forget(id);
    assert_eq!(worker.events.next().await.unwrap(), WorkerEvent::Forget { command: id });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_download_goes_on_over_breaks_and_keeps_its_window() {
    const CHUNKS: u64 = 24;
    let mut worker = TestWorker::new("secret");
    let (link, mut events) = MasterLink::new("w1", worker.boot_id.clone());
    link.start(command(0), Epoch(1), glob()).unwrap();
    let sender = tokio::spawn({
        let link = link.clone();
        async move {
            for number in 0..CHUNKS {
                link.chunk(command(0), vec![number as u8; 200_000], number + 1 == CHUNKS).await.unwrap();
            }
        }
    });
    let mut received = 0;
    for dial_no in 1.. {
        let (opening, dial) = dial_in_memory(&worker, dial_no).await;
        let conversation = converse(&link, opening);
        assert_eq!(connected(&mut events).await, dial_no);
        for _ in 0..5 {
            let (id, number, order) = worker.next_order().await;
            received += 1;
            assert_eq!(number, received);
            if let Order::Chunk { bytes, eof } = order {
                assert_eq!((u64::from(bytes[0]), eof), (number - 2, number == CHUNKS + 1));
            }
            worker.link.acknowledge(id, number);
        }
        if received == CHUNKS + 1 {
            break;
        }
        conversation.abort();
        dial.await.unwrap();
    }
    sender.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_download_waits_while_its_window_is_full() {
    let mut worker = TestWorker::new("secret");
    let (link, _events) = MasterLink::new("w1", worker.boot_id.clone());
    link.start(command(0), Epoch(1), glob()).unwrap();
    let chunk = || link.chunk(command(0), vec![0; MAX_BLOCK], false);
    for _ in 0..WINDOW / MAX_BLOCK {
        chunk().await.unwrap();
    }
    assert!(timeout(HEARTBEAT, chunk()).await.is_err(), "the window is full");

    let (opening, _dial) = dial_in_memory(&worker, 1).await;
    converse(&link, opening);
    for _ in 0..2 {
        let (id, number, _) = worker.next_order().await;
        worker.link.acknowledge(id, number);
    }
    timeout(HEARTBEAT, chunk()).await.unwrap().unwrap();
    link.forget(command(0));
    assert!(chunk().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_newest_connection_takes_over() {
    let mut worker = TestWorker::new("secret");
    let (link, mut events) = MasterLink::new("w1", worker.boot_id.clone());
    let half_dead = TestWorker::of_boot(worker.boot_id.clone(), "secret");
    let (opening, _dial) = dial_in_memory(&half_dead, 1).await;
    let first = converse(&link, opening);
    assert_eq!(connected(&mut events).await, 1);
    let (opening, _dial) = dial_in_memory(&worker, 2).await;
    converse(&link, opening);
    assert_eq!(connected(&mut events).await, 2);
    assert!(matches!(first.await.unwrap(), Disconnect::Superseded));
    assert!(link.is_connected());
    link.start(command(0), Epoch(1), glob()).unwrap();
    assert_eq!(worker.next_order().await.0, command(0));
}

/// Its engine was slow to answer it: what it said about the worker's commands is no longer true.
#[tokio::test]
async fn a_dial_that_is_answered_after_a_later_one_takes_nothing_over() {
    let mut worker = TestWorker::new("secret");
    let (link, mut events) = MasterLink::new("w1", worker.boot_id.clone());
    let (late, dial) = dial_in_memory(&TestWorker::of_boot(worker.boot_id.clone(), "secret"), 1).await;
    let (opening, _dial) = dial_in_memory(&worker, 2).await;
    converse(&link, opening);
    assert_eq!(connected(&mut events).await, 2);
    assert!(matches!(converse(&link, late).await.unwrap(), Disconnect::Superseded));
    let refused = dial.await.unwrap();
    assert!(matches!(refused, Disconnect::Refused(refusal) if refusal.code == RefusalCode::StaleDial));
    link.start(command(0), Epoch(1), glob()).unwrap();
    assert_eq!(worker.next_order().await.0, command(0));
}

#[tokio::test]
async fn an_engine_may_refuse_a_stale_dial_and_a_session_another_life() {
    let worker = TestWorker::new("secret");
    let (opening, dial) = dial_in_memory(&worker, 1).await;
    let code = RefusalCode::StaleDial;
    let refusal = Refusal {
        code,
        reason: "dial 9 was already answered".into(),
        retry_after_ms: Some(5),
        highest_dial: Some(9),
    };
    opening.refuse(refusal.clone()).await;
    assert!(matches!(dial.await.unwrap(), Disconnect::Refused(got) if got == refusal));

    let (link, _events) = MasterLink::new("w1", TestWorker::new("secret").boot_id);
    let (opening, dial) = dial_in_memory(&worker, 2).await;
    assert!(matches!(converse(&link, opening).await.unwrap(), Disconnect::WrongBoot { .. }));
    assert!(matches!(dial.await.unwrap(), Disconnect::Refused(_)));
}

#[tokio::test]
async fn a_restored_cluster_of_a_lower_generation_is_left() {
    let worker = TestWorker::new("secret");
    let (link, _events) = MasterLink::new("w1", worker.boot_id.clone());
    let (opening, dial) = dial_in_memory(&worker, 1).await;
    let master = tokio::spawn(async move { link.converse(opening, Terms::new(2, Epoch(1))).await });
    let reason = dial.await.unwrap().to_string();
    assert!(reason.contains("generation 2"), "{reason}");
    assert!(matches!(master.await.unwrap(), Disconnect::Goodbye(told) if told == reason));
}

#[tokio::test]
async fn farewells_are_heard() {
    let mut worker = TestWorker::new("secret");
    let (link, mut events) = MasterLink::new("w1", worker.boot_id.clone());
    let (opening, dial) = dial_in_memory(&worker, 1).await;
    let conversation = converse(&link, opening);
    connected(&mut events).await;
    assert!(matches!(worker.events.next().await.unwrap(), WorkerEvent::Connected { .. }));
    assert!(worker.link.request_shutdown());
    assert_eq!(events.next().await.unwrap(), MasterEvent::ShutdownRequested);
    link.shutdown();
    assert_eq!(worker.events.next().await.unwrap(), WorkerEvent::Shutdown);
    link.close("draining");
    assert!(matches!(conversation.await.unwrap(), Disconnect::Ended(_)));
    assert!(matches!(dial.await.unwrap(), Disconnect::Goodbye(reason) if reason == "draining"));
    assert!(matches!(events.next().await.unwrap(), MasterEvent::Disconnected { dial_no: 1, .. }));
    assert!(!worker.link.request_shutdown());
}

#[tokio::test]
async fn a_life_that_is_over_is_told_apart_from_a_lost_connection() {
    let worker = TestWorker::new("secret");
    let (link, mut events) = MasterLink::new("w1", worker.boot_id.clone());
    let (opening, dial) = dial_in_memory(&worker, 1).await;
    converse(&link, opening);
    connected(&mut events).await;
    worker.link.finish("its socket is gone");
    assert!(matches!(dial.await.unwrap(), Disconnect::Ended(_)));
    assert_eq!(events.next().await.unwrap(), MasterEvent::Over);
    assert!(matches!(events.next().await.unwrap(), MasterEvent::Disconnected { .. }));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_takes_no_events_holds_the_worker_back_and_loses_nothing() {
    const UPDATES: u64 = 400;
    let mut worker = TestWorker::new("secret");
    let (link, mut events) = MasterLink::new("w1", worker.boot_id.clone());
    let (opening, dial) = dial_in_memory(&worker, 1).await;
    converse(&link, opening);
    link.start(command(0), Epoch(1), glob()).unwrap();
    worker.next_order().await;
    for _ in 0..UPDATES {
        worker.tell(command(0), text("x\n"));
    }
    // The clock jumps while everybody waits: neither side may take the other for dead.
    tokio::time::sleep(HEARTBEAT * MISSED * 10).await;
    assert!(!dial.is_finished());
    for number in 1..=UPDATES {
        assert_eq!(next_update(&mut events).await.1, number);
    }
}

#[tokio::test(start_paused = true)]
async fn a_master_that_may_not_act_only_says_that_it_lives() {
    let mut worker = TestWorker::new("secret");
    let (link, mut events) = MasterLink::new("w1", worker.boot_id.clone());
    let (opening, dial) = dial_in_memory(&worker, 1).await;
    let may_act = Arc::new(AtomicBool::new(true));
    tokio::spawn({
        let (link, may_act) = (link.clone(), may_act.clone());
        async move { link.converse_while(opening, terms(), &move || may_act.load(Ordering::Relaxed)).await }
    });
    connected(&mut events).await;
    may_act.store(false, Ordering::Relaxed);
    link.start(command(0), Epoch(1), glob()).unwrap();
    let order = timeout(HEARTBEAT * MISSED * 4, worker.next_order()).await;
    assert!(order.is_err(), "{order:?} was sent");
    assert!(!dial.is_finished(), "heartbeats keep the connection");
    may_act.store(true, Ordering::Relaxed);
    link.wake();
    assert_eq!(worker.next_order().await.0, command(0));
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_stays_whatever_its_heartbeat() {
    for heartbeat_ms in [50, 2500, 60_000] {
        let worker = TestWorker::new("secret");
        let (link, mut events) = MasterLink::new("w1", worker.boot_id.clone());
        let (opening, dial) = dial_in_memory(&worker, 1).await;
        let terms = Terms { heartbeat_ms, ..terms() };
        tokio::spawn({
            let link = link.clone();
            async move { link.converse(opening, terms).await }
        });
        connected(&mut events).await;
        let event = timeout(Duration::from_millis(heartbeat_ms * 100), events.next()).await;
        assert!(event.is_err(), "with a heartbeat of {heartbeat_ms} ms: {event:?}");
        assert!(!dial.is_finished() && link.is_connected());
    }
}

#[tokio::test]
async fn a_master_that_goes_names_others() {
    let worker = TestWorker::new("secret");
    let (link, mut events) = MasterLink::new("w1", worker.boot_id.clone());
    let (opening, dial) = dial_in_memory(&worker, 1).await;
    converse(&link, opening);
    connected(&mut events).await;
    link.redirect("this master goes", vec!["ws://other:9990".into()]);
    let Disconnect::Redirected { elsewhere, .. } = dial.await.unwrap() else { panic!("not redirected") };
    assert_eq!(elsewhere, ["ws://other:9990"]);
}

/// One direction of a wire that can be cut without anybody noticing.
fn lane(
    cut: &Arc<AtomicBool>,
) -> (
    impl Sink<Vec<u8>, Error = TransportError> + use<>,
    impl Stream<Item = Result<Vec<u8>, TransportError>> + use<>,
) {
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    let cut = cut.clone();
    let outgoing = sink::unfold(sender, move |sender, frame| {
        let cut = cut.load(Ordering::Relaxed);
        async move {
            if !cut {
                sender.send(frame).await.map_err(|_| TransportError::Gone)?;
            }
            Ok(sender)
        }
    });
    let incoming = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|frame| (Ok(frame), receiver))
    });
    (outgoing, incoming)
}

#[tokio::test(start_paused = true)]
async fn a_silent_worker_is_given_up() {
    let worker = TestWorker::new("secret");
    let (link, _events) = MasterLink::new("w1", worker.boot_id.clone());
    let cut = Arc::new(AtomicBool::new(false));
    let (to_master, from_worker) = lane(&cut);
    let (to_worker, from_master) = lane(&cut);
    let dial = worker.dial(Transport::new(from_master, to_master, "master"), 1);
    let opening = open(Transport::new(from_worker, to_worker, "worker"), &passwords()).await.unwrap();
    let begun = tokio::time::Instant::now();
    let conversation = converse(&link, opening);
    tokio::time::sleep(HEARTBEAT * 5).await;
    assert!(link.is_connected(), "heartbeats keep it");
    cut.store(true, Ordering::Relaxed);
    // Whoever notices first closes, which is all that the other one sees then.
    let ends = [conversation.await.unwrap(), dial.await.unwrap()].map(|end| end.to_string());
    assert!(ends.iter().any(|end| end.contains("nothing was heard")), "{ends:?}");
    assert!(begun.elapsed() < HEARTBEAT * (5 + MISSED) + Duration::from_secs(5));
}
