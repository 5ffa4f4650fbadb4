//! Effects themselves, where it doesn't matter which kind of step has them.

use std::{sync::Arc, time::Duration};

use muster_core::Results;
use serde_json::json;

use crate::{
    effects::{Effect, Outcome},
    steps::testing::{Reply, World, replay, says, step},
};

async fn idle() -> World {
    World::new(Arc::new(|_, _| Reply::Ends(Vec::new()))).await
}

#[tokio::test]
async fn a_double_answers_effects_in_place_of_the_world() {
    let world = idle().await.answering(|effect| match effect {
        Effect::Once { act, args } if act == "master_command" && args == "make" => {
            let ended = json!({"code": 3, "signal": null, "output": [["e", "no rule\n"]], "stopped": false});
            Some(Ok(Outcome::Value(json!({ "Ended": ended }))))
        }
        _ => None,
    });
    let ended = world.run(&step("MasterShellCommand", json!({"command": "make"}))).await;
    assert_eq!((ended.results, ended.log("stdio")), (Results::Failure, "eno rule\n"));
    assert_eq!(ended.summary.as_deref(), Some("failed (3)"));
}

/// What a step collects is in parts beside the row of its command; whoever goes on finds all of it.
#[tokio::test]
async fn a_long_collected_output_is_replayed_whole() {
    let lines: String = (0..2000).map(|number| format!("line {number}\n")).collect();
    let world = || {
        let lines = lines.clone();
        World::new(Arc::new(move |_, _| Reply::Ends(says(&lines, 0))))
    };
    let config = step("SetPropertyFromCommand", json!({"command": ["x"], "property": "p"}));
    let ended = tokio::time::timeout(Duration::from_secs(60), replay(&config, world)).await.unwrap();
    assert_eq!(ended.property("p"), &json!(lines.trim()));
}
