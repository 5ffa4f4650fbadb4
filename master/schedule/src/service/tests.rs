use std::time::Duration;

use muster_config::snapshot::{
    ChangeAttribute, ChangeFilter, ChangeFilterCheck, ChangeTest, SchedulerKind, SourceStampSchedulerConfig,
};
use muster_core::policy::{Action, Permit};
use muster_store::query::{self, Select};

use super::*;
use crate::testing::{World, plain, scheduler, snapshot};

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

struct Service {
    snapshot: watch::Sender<Arc<Snapshot>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Service {
    fn start(world: &World, first: Arc<Snapshot>) -> Service {
        let (snapshot, receiver) = watch::channel(first);
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let basedir = world.directory.path().to_owned();
        Schedulers::start(
            world.data.clone(),
            None,
            world.master,
            basedir,
            receiver,
            &tasks,
            shutdown.clone(),
        );
        Service { snapshot, tasks, shutdown }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.close();
        tokio::time::timeout(PATIENCE, self.tasks.wait()).await.expect("the tasks don't end");
    }
}

fn single_branch(name: &str, details: SourceStampSchedulerConfig) -> SchedulerConfig {
    let mut config = scheduler("basic.SingleBranchScheduler", SchedulerKind::SingleBranch(details));
    config.name = name.into();
    config
}

/// Names of the schedulers that have an owner.
async fn owned(world: &World) -> Vec<String> {
    let read = world
        .data
        .db()
        .read("test", |tx| async move { query::masters::schedulers(&tx, &Select::all()).await });
    let owned = read.await.unwrap().into_iter().filter(|scheduler| scheduler.master.is_some());
    let mut names: Vec<String> = owned.map(|scheduler| scheduler.name).collect();
    names.sort();
    names
}

async fn until<T: PartialEq + std::fmt::Debug>(wanted: T, look: impl AsyncFn() -> T) {
    let reached = async {
        while look().await != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, reached).await.is_err() {
        assert_eq!(look().await, wanted);
    }
}

#[tokio::test]
async fn a_change_wakes_its_scheduler_and_everything_is_given_back_at_the_end() {
    let world = World::new().await;
    let service = Service::start(&world, snapshot(vec![single_branch("one", plain())], Vec::new()));
    until(vec!["one".to_owned()], async || owned(&world).await).await;
    world.commit("main", "r1").await;
    until(vec!["r1".to_owned()], async || world.revisions().await).await;
    service.stop().await;
    assert_eq!(owned(&world).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_new_snapshot_starts_stops_and_changes_schedulers() {
    let world = World::new().await;
    let both = snapshot(vec![single_branch("one", plain()), single_branch("two", plain())], Vec::new());
    let service = Service::start(&world, both);
    until(vec!["one".to_owned(), "two".to_owned()], async || owned(&world).await).await;

    let mut changed = single_branch("two", plain());
    changed.codebases.clear();
    service.snapshot.send(snapshot(vec![changed, single_branch("three", plain())], Vec::new())).unwrap();
    until(vec!["three".to_owned(), "two".to_owned()], async || owned(&world).await).await;
    world.commit("main", "r1").await;
    // Only "three" takes changes of the nameless codebase now.
    until(vec!["r1".to_owned()], async || world.revisions().await).await;
    assert_eq!(world.buildsets().await[0].properties.get("scheduler"), Some(&"three".into()));
    service.stop().await;
}

#[tokio::test]
async fn the_switch_works_while_it_runs() {
    let world = World::new().await;
    let service = Service::start(&world, snapshot(vec![single_branch("one", plain())], Vec::new()));
    until(vec!["one".to_owned()], async || owned(&world).await).await;
    let id = world.start_scheduler("one").await;
    world
        .data
        .set_scheduler_enabled(&Permit::system("a test", Action::EnableScheduler), id, false)
        .await
        .unwrap();
    world.commit("main", "while off").await;
    until(0, async || world.data.unseen_changes(id, 10).await.unwrap().len()).await;
    world
        .data
        .set_scheduler_enabled(&Permit::system("a test", Action::EnableScheduler), id, true)
        .await
        .unwrap();
    world.commit("main", "while on").await;
    until(vec!["while on".to_owned()], async || world.revisions().await).await;
    service.stop().await;
}

#[tokio::test]
async fn a_scheduler_that_cannot_run_harms_no_other() {
    let world = World::new().await;
    let test = ChangeTest::Re(vec!["(wip".into()]);
    let checks = vec![ChangeFilterCheck { attribute: ChangeAttribute::Branch, test }];
    let change_filter = ChangeFilter { filter_fn: None, checks };
    let bad = single_branch("bad", SourceStampSchedulerConfig { change_filter, ..plain() });
    let service = Service::start(&world, snapshot(vec![bad, single_branch("one", plain())], Vec::new()));
    until(2, async || owned(&world).await.len()).await;
    world.commit("main", "r1").await;
    until(vec!["r1".to_owned()], async || world.revisions().await).await;
    service.stop().await;
}

#[tokio::test]
async fn a_scheduler_that_was_gone_builds_nothing_of_the_meantime() {
    let world = World::new().await;
    let with = || snapshot(vec![single_branch("one", plain())], Vec::new());
    let service = Service::start(&world, with());
    until(vec!["one".to_owned()], async || owned(&world).await).await;
    service.snapshot.send(snapshot(Vec::new(), Vec::new())).unwrap();
    until(Vec::<String>::new(), async || owned(&world).await).await;
    world.commit("main", "meanwhile").await;
    service.snapshot.send(with()).unwrap();
    until(vec!["one".to_owned()], async || owned(&world).await).await;
    world.commit("main", "later").await;
    until(vec!["later".to_owned()], async || world.revisions().await).await;
    service.stop().await;
}
