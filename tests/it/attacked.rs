//! A master under what strangers can do to it. Its memory is bounded; `make bench ARGS=attack` tells the times, too.

use std::time::Duration;

use muster_tests::attack::{self, memory};
use muster_tests::{Master, Results, Site, until};
use serde_json::json;

const CONFIG: &str = "builder('b', sh('true', name='works'))\n";
/// What an attack may take, in MiB, in a debug build.
const MORE: f64 = 200.0;

#[test]
fn strangers_take_a_bounded_part_of_a_master() {
    let site = Site::new();
    let mut master = Master::new(&site, CONFIG);
    let rest = master.start();
    let worker = master.start_worker(&site);
    rest.built(rest.force("b", json!({})), Results::Success);
    drop(worker);
    attack::add_builds(&master.database(), 30_000);
    attack::fill_log(&master.database(), 30);
    let (web, process) = (master.web, master.process().id());
    let before = memory(process, "VmRSS");
    let bounded = |what: &str| {
        let peak = memory(process, "VmHWM");
        assert!(peak < before + MORE, "{what}: {peak:.0} MiB, {before:.0} before");
    };

    let form = "application/x-www-form-urlencoded";
    let many = "a&".repeat(6 << 20);
    assert!(attack::posts(web, "/pending/cancel", form, &many, 6).iter().all(|status| *status != 200));
    bounded("long forms where ids are posted");
    attack::posts(web, "/builders/b/force/force-b", form, &many, 6);
    bounded("forms of many fields");
    let numbers = format!("[{}0]", "0,".repeat(7 << 20));
    attack::posts(web, "/api/v2/forceschedulers/force-b", "application/json", &numbers, 6);
    bounded("JSON of many numbers");

    let stalled = attack::stalled(web, "/api/v2/forceschedulers/force-b", 15 << 20, 12);
    bounded("bodies that stall");
    drop(stalled);

    let deaf = attack::deaf(web, "/api/v2/logs/1/contents", 60);
    let raw = attack::deaf(web, "/api/v2/logs/1/raw", 20);
    until("others are answered, too", || {
        attack::readers(web, "/api/v2/masters", 2).iter().all(|status| *status == 200).then_some(())
    });
    bounded("logs that nobody reads");
    drop((deaf, raw));

    let lists = attack::readers(web, "/api/v2/builds?property=*", 6);
    assert!(lists.contains(&200), "{lists:?}");
    bounded("long lists");

    let sockets = attack::long_paths(web, 100, 4);
    bounded("long paths");
    drop(sockets);

    // All of it is over, and the master serves as before.
    until("an answer of every kind", || {
        std::thread::sleep(Duration::from_millis(50));
        attack::readers(web, "/api/v2/logs/1/contents", 1).contains(&200).then_some(())
    });
    let said = master.process().said();
    assert!(!said.contains("joins again"), "{said}");
    assert!(master.stop().success());
}
