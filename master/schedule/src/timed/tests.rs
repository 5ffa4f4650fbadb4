use muster_config::snapshot::{CronField, CronFields, SchedulerKind};

use super::*;
use crate::testing::{World, scheduler};

/// A moment in the past: the database's own times don't matter here.
const START: f64 = 1_800_000_000.0;

fn periodic(only_if_changed: bool) -> PeriodicConfig {
    PeriodicConfig {
        period: 3600.0,
        only_if_changed,
        change_filter: None,
        file_is_important: None,
        only_important: false,
        branch: Branches::Only(Some("main".into())),
        create_absolute_source_stamps: false,
        reason: None,
    }
}

async fn start_periodic(world: &World, details: PeriodicConfig) -> Timed {
    let config = scheduler("timed.Periodic", SchedulerKind::Periodic(details.clone()));
    let id = world.start_scheduler(&config.name).await;
    Timed::new(config, details.into(), id, world.data.clone(), Callables::default()).unwrap()
}

fn every_day_at_3(force_at: Option<CronFields>) -> NightlyConfig {
    NightlyConfig {
        at: daily(3),
        force_at,
        only_if_changed: false,
        change_filter: None,
        file_is_important: None,
        only_important: false,
        branch: Branches::Any,
        create_absolute_source_stamps: false,
        reason: None,
    }
}

fn daily(hour: i64) -> CronFields {
    let any = || CronField::Text("*".into());
    CronFields {
        minute: CronField::Number(0),
        hour: CronField::Number(hour),
        day_of_month: any(),
        month: any(),
        day_of_week: any(),
    }
}

#[tokio::test]
async fn the_first_time_is_at_once_and_the_next_after_the_period() {
    let world = World::new().await;
    let mut timed = start_periodic(&world, periodic(false)).await;
    assert_eq!(timed.round(true, START).await.unwrap(), Some(START + 3600.0));
    assert_eq!(timed.round(true, START + 3599.0).await.unwrap(), Some(START + 3600.0));
    assert_eq!(world.buildsets().await.len(), 1);
    timed.round(true, START + 3600.5).await.unwrap();
    let built = world.buildsets().await;
    assert_eq!(built.len(), 2);
    assert_eq!(built[0].reason, "The Periodic scheduler named 's' triggered this build");
    assert_eq!(built[0].sources[0].revision, None);
    // The planned time is kept, not the moment of a late wake-up.
    assert_eq!(timed.last_build().await.unwrap(), Some(START + 3600.0));
}

#[tokio::test]
async fn a_new_owner_keeps_to_the_period_and_makes_up_for_a_missed_time() {
    let world = World::new().await;
    start_periodic(&world, periodic(false)).await.round(true, START).await.unwrap();
    let mut second = start_periodic(&world, periodic(false)).await;
    assert_eq!(second.round(true, START + 10.0).await.unwrap(), Some(START + 3600.0));
    assert_eq!(world.buildsets().await.len(), 1);

    let late = START + 5.5 * 3600.0;
    let mut third = start_periodic(&world, periodic(false)).await;
    assert_eq!(third.round(true, late).await.unwrap(), Some(late + 3600.0));
    assert_eq!(world.buildsets().await.len(), 2);
}

#[tokio::test]
async fn without_an_important_change_nothing_is_built_except_the_first_time() {
    let world = World::new().await;
    let mut timed = start_periodic(&world, periodic(true)).await;
    timed.round(true, START).await.unwrap();
    timed.round(true, START + 3600.0).await.unwrap();
    assert_eq!(world.buildsets().await.len(), 1);

    world.commit("main", "r1").await;
    world.commit("elsewhere", "x1").await;
    world.commit("main", "r2").await;
    timed.round(true, START + 3700.0).await.unwrap();
    assert_eq!(world.buildsets().await.len(), 1);
    timed.round(true, START + 7200.0).await.unwrap();
    assert_eq!(world.revisions().await, ["", "r2"]);
    assert!(world.data.kept_changes(timed.id).await.unwrap().is_empty());
    timed.round(true, START + 3.0 * 3600.0).await.unwrap();
    assert_eq!(world.buildsets().await.len(), 2);
}

#[tokio::test]
async fn switching_only_if_changed_on_builds_once_more() {
    let world = World::new().await;
    start_periodic(&world, periodic(false)).await.round(true, START).await.unwrap();
    let mut switched = start_periodic(&world, periodic(true)).await;
    switched.round(true, START + 3600.0).await.unwrap();
    assert_eq!(world.buildsets().await.len(), 2);
    switched.round(true, START + 7200.0).await.unwrap();
    assert_eq!(world.buildsets().await.len(), 2);
}

#[tokio::test]
async fn a_switched_off_scheduler_builds_nothing_and_makes_up_for_it_once() {
    let world = World::new().await;
    let mut timed = start_periodic(&world, periodic(false)).await;
    timed.round(true, START).await.unwrap();
    assert_eq!(timed.round(false, START + 4000.0).await.unwrap(), None);
    assert_eq!(world.buildsets().await.len(), 1);
    timed.round(true, START + 9000.0).await.unwrap();
    assert_eq!(world.buildsets().await.len(), 2);
}

#[tokio::test]
async fn nightly_waits_for_its_hour() {
    let world = World::new().await;
    let details = every_day_at_3(None);
    let config = scheduler("timed.Nightly", SchedulerKind::Nightly(details.clone()));
    let id = world.start_scheduler(&config.name).await;
    let details = TimedDetails::nightly(details, TimeZone::UTC).unwrap();
    let mut timed = Timed::new(config, details, id, world.data.clone(), Callables::default()).unwrap();
    let midnight = "2026-05-01T00:00:00Z".parse::<Timestamp>().unwrap().as_second() as f64;
    let three = midnight + 3.0 * 3600.0;
    assert_eq!(timed.round(true, midnight).await.unwrap(), Some(three));
    assert!(world.buildsets().await.is_empty());
    assert_eq!(timed.round(true, three).await.unwrap(), Some(three + 86_400.0));
    assert_eq!(world.buildsets().await[0].reason, "The Nightly scheduler named 's' triggered this build");
}

#[test]
fn force_at_builds_without_a_change() {
    let details = TimedDetails::nightly(every_day_at_3(Some(daily(3))), TimeZone::UTC).unwrap();
    let three = "2026-05-01T03:00:00Z".parse::<Timestamp>().unwrap().as_second() as f64;
    assert!(details.plan.forces(three));
    assert!(!details.plan.forces(three + 3600.0));
}

#[tokio::test]
async fn a_build_is_of_the_newest_change_however_many_came() {
    let world = World::new().await;
    let mut timed = start_periodic(&world, PeriodicConfig { branch: Branches::Any, ..periodic(true) }).await;
    timed.round(true, START).await.unwrap();
    for number in 1..=BATCH + 5 {
        world.commit("main", &format!("r{number}")).await;
    }
    timed.round(true, START + 3600.0).await.unwrap();
    assert_eq!(world.revisions().await, [String::new(), format!("r{}", BATCH + 5)]);
    assert!(world.data.kept_changes(timed.id).await.unwrap().is_empty());
}
