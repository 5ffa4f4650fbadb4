//! A real configuration with functions, a real interpreter, a real repository and a real database.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use muster_bus::Bus;
use muster_config::{Host, Loaded};
use muster_core::policy::{Action, Permit};
use muster_core::{MasterId, Properties};
use muster_data::{Data, NewChange};
use muster_schedule::Schedulers;
use muster_store::{
    Db, DbUrl,
    builders::BuilderInfo,
    query::{self, Select},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

const CONFIG: &str = r#"
from buildbot.plugins import changes, schedulers, steps, util, worker

@util.renderer
def flavour(props):
    return 'sweet ' + props.getProperty('scheduler')

def important(change):
    return any(name.endswith('.rs') for name in change.files)

c = BuildmasterConfig = {}
c['protocols'] = {'session': {'port': 0}}
c['workers'] = [worker.Worker('w1', 'secret')]
factory = util.BuildFactory([steps.ShellCommand(command=['true'])])
c['builders'] = [util.BuilderConfig(name='b', workernames=['w1'], factory=factory)]
c['change_source'] = [changes.GitPoller(
    repourl='@REPOSITORY@', branches=lambda ref: ref == 'refs/heads/main', pollInterval=0.2, pollAtLaunch=True,
    category=lambda change: 'by ' + change['author'].split()[0])]
c['schedulers'] = [
    schedulers.SingleBranchScheduler(
        name='main', builderNames=['b'], fileIsImportant=important, onlyImportant=True,
        change_filter=util.ChangeFilter(filter_fn=lambda change: 'skip' not in change.comments, branch='main'),
        priority=lambda builders, changes: len(changes[''][0].files), properties={'flavour': flavour}),
]
"#;

struct Master {
    data: Data,
    id: MasterId,
    loaded: Loaded,
    host: Host,
    directory: TempDir,
}

impl Master {
    async fn new(repository: &Path) -> Master {
        let directory = tempfile::tempdir().unwrap();
        let config = CONFIG.replace("@REPOSITORY@", &repository.display().to_string());
        std::fs::write(directory.path().join("master.cfg"), config).unwrap();
        let python = muster_config::python::find(std::env::var_os("PATH").as_ref());
        let (host, driver) = Host::new(&python, directory.path());
        tokio::spawn(driver.run());
        let loaded = host.load("master.cfg").await.unwrap_or_else(|error| panic!("{error}"));

        let db = Db::upgrade(&DbUrl::Sqlite(directory.path().join("state.sqlite"))).await.unwrap();
        let data = Data::new(db, Bus::default());
        let set_up = data.db().tx("set_up", |tx| async move {
            let master = muster_store::masters::find_or_create(&tx, "master").await?;
            let info = BuilderInfo { name: "b".into(), ..BuilderInfo::default() };
            muster_store::builders::configure(&tx, master, &info).await?;
            Ok::<_, muster_store::Error>(master)
        });
        let id = set_up.await.unwrap().into_inner();
        Master { data, id, loaded, host, directory }
    }

    /// Comments of changes.
    async fn changes(&self) -> Vec<(String, Option<String>)> {
        let list =
            self.data.db().read("test", |tx| async move { query::changes::list(&tx, &Select::all()).await });
        list.await.unwrap().into_iter().map(|change| (change.comments, change.category)).collect()
    }

    async fn poller_has_looked(&self) -> bool {
        let name = self.loaded.snapshot.change_sources[0].name.clone();
        let key = muster_data::StateKey { object: name, class: "GitPoller".into(), key: "lastRev".into() };
        self.data.get_state(&key).await.unwrap().is_some()
    }

    /// Revision, priority and properties of all buildsets.
    async fn built(&self) -> Vec<(Option<String>, i64, Properties)> {
        let list = self.data.db().read("test", |tx| async move {
            let mut built = Vec::new();
            for request in query::requests::list(&tx, &Select::all()).await? {
                let set = query::buildsets::by_id(&tx, request.buildset).await?.unwrap();
                let properties = query::properties::of_buildset(&tx, set.id).await?;
                built.push((set.sourcestamps[0].revision.clone(), request.priority, properties));
            }
            Ok::<_, muster_store::Error>(built)
        });
        list.await.unwrap()
    }
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Anne", "-c", "user.email=anne@example.org", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn commit(directory: &Path, file: &str, message: &str) -> String {
    std::fs::write(directory.join(file), message).unwrap();
    git(directory, &["add", "."]);
    git(directory, &["commit", "-q", "-m", message]);
    git(directory, &["rev-parse", "HEAD"])
}

async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited too long for {what}"));
}

#[tokio::test]
async fn from_a_commit_to_a_buildset_through_the_functions_of_the_configuration() {
    let upstream = tempfile::tempdir().unwrap();
    git(upstream.path(), &["init", "-q", "-b", "main", "."]);
    commit(upstream.path(), "first.rs", "before");
    let master = Master::new(upstream.path()).await;

    let (_sender, snapshot) = watch::channel(Arc::clone(&master.loaded.snapshot));
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let basedir = master.directory.path().to_owned();
    let (data, host) = (master.data.clone(), Some(master.host.clone()));
    Schedulers::start(data, host, master.id, basedir, snapshot, &tasks, shutdown.clone());
    until("the first poll", async || master.poller_has_looked().await).await;

    git(upstream.path(), &["checkout", "-q", "-b", "side"]);
    commit(upstream.path(), "side.rs", "not polled");
    git(upstream.path(), &["checkout", "-q", "main"]);
    commit(upstream.path(), "notes.txt", "not important");
    commit(upstream.path(), "skipped.rs", "skip this");
    let wanted = commit(upstream.path(), "wanted.rs", "wanted");
    until("the buildset", async || !master.built().await.is_empty()).await;

    let mut changes = master.changes().await;
    changes.sort();
    let category = || Some("by Anne".to_owned());
    let expected = ["not important", "skip this", "wanted"].map(|comment| (comment.to_owned(), category()));
    assert_eq!(changes, expected);
    let built = master.built().await;
    assert_eq!(built.len(), 1);
    let (revision, priority, properties) = &built[0];
    assert_eq!((revision.as_deref(), *priority), (Some(wanted.as_str()), 1));
    assert_eq!(properties.get("flavour"), Some(&json!("sweet main")));

    shutdown.cancel();
    tasks.close();
    tokio::time::timeout(PATIENCE, tasks.wait()).await.expect("the tasks don't end");
    // Nobody looks any longer.
    let late = NewChange { branch: Some("main".into()), files: vec!["x.rs".into()], ..NewChange::default() };
    master.data.add_change(&Permit::system("a test", Action::SendChange), late).await.unwrap();
    assert_eq!(master.built().await.len(), 1);
}
