//! Masters that die, or stand still, in the middle of a step.

use std::time::{Duration, Instant};

use muster_tests::{Results, until};
use rustix::process::Signal;
use serde_json::json;

use crate::ground::{Counting, Ground};

/// From a death to the take-over: the standstill of 8 s, and what two looks take.
const TAKEN_OVER: Duration = Duration::from_secs(14);

#[test]
fn a_build_goes_on_under_another_master_when_its_own_is_killed() {
    let ground = Ground::new();
    let (mut one, mut two) = (ground.master("one", "web,engine"), ground.master("two", "web,engine"));
    let (first, second) = (one.start(), two.start());
    let mut worker = ground.worker(&[&one, &two]);
    first.wait_for_worker("w1");
    let counting = Counting::begin(&ground, first, "count");
    one.kill();
    counting.wait_for_more(second);
    counting.end(second);
    worker.stop();
    two.stop(Signal::TERM);
}

#[test]
fn a_master_that_stood_still_lets_go_and_joins_again() {
    let ground = Ground::new();
    let (mut one, mut two) = (ground.master("one", "web,engine"), ground.master("two", "web,engine"));
    let (first, second) = (one.start(), two.start());
    let mut worker = ground.worker(&[&one, &two]);
    let counting = Counting::begin(&ground, first, "count");
    one.signal(Signal::STOP);
    let state = "SELECT state FROM muster_masters m JOIN masters b ON b.id = m.masterid WHERE b.name = 'one'";
    ground.wait_for("the end of its lease", state, "expired");
    counting.wait_for_more(second);
    one.signal(Signal::CONT);
    one.process().wait_for("it joins again");
    ground.wait_for("its new lease", state, "running");
    counting.wait_for_more(second);
    counting.end(second);
    // It works again: it takes over when the other one dies.
    two.kill();
    let request = first.force("quick", json!({}));
    first.built(request, Results::Success);
    worker.stop();
    one.stop(Signal::TERM);
}

#[test]
fn schedulers_move_and_nothing_accepted_is_lost() {
    let ground = Ground::new();
    let (mut one, mut two) =
        (ground.master("one", "scheduler"), ground.master("two", "web,scheduler,engine,gateway"));
    one.start();
    let owner = "SELECT m.name FROM scheduler_masters s JOIN masters m ON m.id = s.masterid \
                 JOIN schedulers n ON n.id = s.schedulerid WHERE n.name = 'commits'";
    ground.wait_for("an owner", owner, "one");
    let rest = two.start();
    let mut worker = ground.worker(&[&two]);
    rest.wait_for_worker("w1");
    one.kill();
    let killed = Instant::now();
    let sent = crate::ground::send_change(&ground, &two, "while nobody schedules");
    assert!(sent.status.success(), "{}", sent.said);
    assert_eq!(ground.sql("SELECT count(*) FROM buildsets"), "0", "its scheduler's lease still stands");
    until("the build of the change", || {
        (ground.sql("SELECT count(*) FROM builds WHERE results = 0") == "1").then_some(())
    });
    assert!(killed.elapsed() < TAKEN_OVER, "{:?}", killed.elapsed());
    assert_eq!(ground.sql(owner), "two");
    worker.stop();
}

#[test]
fn a_name_that_is_in_use_is_waited_for() {
    let ground = Ground::new();
    let mut one = ground.master("one", "web,engine");
    let mut other = ground.master("other", "web,engine").named("one");
    one.start();
    other.launch();
    other.process().wait_for("another process acts as the master one");
    one.kill();
    other.process().wait_for("BuildMaster is running");
    assert_eq!(ground.sql("SELECT count(*) FROM masters"), "1");
    // A restart in the same directory knows at once that the old process is gone.
    other.kill();
    let began = Instant::now();
    other.start();
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}
