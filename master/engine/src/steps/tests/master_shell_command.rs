//! Commands on the master itself.

use std::sync::Arc;

use muster_core::Results;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::steps::testing::{Ended, Life, Reply, World, step};

async fn world() -> World {
    World::new(Arc::new(|_, _| Reply::Ends(Vec::new()))).await
}

async fn run(args: Value) -> Ended {
    let world = world().await;
    let ended = world.run(&step("MasterShellCommand", args)).await;
    assert!(world.worker.orders().is_empty());
    ended
}

#[tokio::test]
async fn output_and_exit_code_are_told() {
    let ended = run(json!({"command": "echo out; echo err >&2; printf last"})).await;
    assert_eq!(ended.results, Results::Success);
    let mut lines: Vec<&str> = ended.log("stdio").lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["eerr", "olast", "oout"]);
    let ended = run(json!({"command": ["sh", "-c", "exit 3"]})).await;
    assert_eq!((ended.results, ended.summary.as_deref()), (Results::Failure, Some("failed (3)")));
    let ended = run(json!({"command": "kill -9 $$"})).await;
    assert_eq!((ended.results, ended.summary.as_deref()), (Results::Failure, Some("killed (9)")));
    let ended = run(json!({"command": ["/none/such"]})).await;
    assert_eq!(ended.results, Results::Failure);
    assert!(ended.log("stdio").contains("/none/such"), "{ended:?}");
}

#[tokio::test]
async fn a_given_environment_is_all_there_is() {
    let args = json!({"command": "echo $A-$HOME-$B", "env": {"A": "${PATH}", "B": null}});
    let ended = run(args).await;
    assert_eq!(ended.log("stdio"), format!("o{}--\n", std::env::var("PATH").unwrap()));
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed() {
    let ended = run(json!({"command": "echo begun; sleep 1000", "runtime_timeout": 0.2})).await;
    assert_eq!((ended.results, ended.log("stdio")), (Results::Failure, "obegun\n"));
    assert_eq!(ended.summary.as_deref(), Some("killed (9)"));
}

/// Waits for a file that a command makes.
async fn made(path: std::path::PathBuf) {
    while !path.exists() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_stop_reaches_it() {
    let world = world().await;
    let config =
        step("MasterShellCommand", json!({"command": "touch begun; sleep 1000", "interruptSignal": "TERM"}));
    let (ended, ()) = tokio::join!(world.run(&config), async {
        made(world.path("begun")).await;
        world.stop("because");
    });
    assert_eq!(ended.results, Results::Cancelled);
}

#[tokio::test]
async fn a_master_that_goes_leaves_it_to_the_next() {
    let mut world = world().await;
    let config =
        step("MasterShellCommand", json!({"command": "test -e begun && exit; touch begun; sleep 1000"}));
    let leaving = CancellationToken::new();
    let (life, ()) = tokio::join!(world.live(&config, None, &leaving), async {
        made(world.path("begun")).await;
        leaving.cancel();
    });
    assert!(matches!(life, Life::Over), "{life:?}");
    world.hand_over().await;
    assert_eq!(world.run(&config).await.results, Results::Success);
}
