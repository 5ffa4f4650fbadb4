//! What a worker of 3.x goes through in its life: interrupted, doubled, lost, and without its master.

use super::*;

fn lives(protocol: Protocol) {
    let mut ground = Ground::new("");
    let mut worker = ground.worker(Release::Three, protocol);
    let (request, build) = ground.begin();
    ground.rest.call(&format!("builds/{build}"), "stop", json!({"reason": "not needed"})).unwrap();
    assert_eq!(ground.rest.built(request, Results::Cancelled), build);
    assert_eq!(ground.rest.lines(build, "wait", 'o'), ["begun"]);

    // A second one under its name is turned away while it works, and neither ends.
    let (request, build) = ground.begin();
    let mut second = ground.create("again", Release::Three, protocol, &[]);
    second.start();
    ground.master.process().wait_for("two workers use one name");
    assert!(worker.process().is_running() && second.process().is_running());
    second.kill();
    ground.site.write("gate", "");
    assert_eq!(ground.rest.built(request, Results::Success), build);
    std::fs::remove_file(ground.site.path("gate")).unwrap();

    let (request, build) = ground.begin();
    let pids = std::fs::read_to_string(ground.site.path("pids")).unwrap();
    worker.kill();
    let lost = format!("builds/{build}");
    ground.rest.wait_for("the build's end", &lost, |build| build["results"] == json!(Results::Retry as i64));
    end(pids.lines().last().unwrap());
    worker.start();
    // In the second build of the same request the master goes.
    let started = |times| {
        until("another start of the command", || {
            let pids = std::fs::read_to_string(ground.site.path("pids")).unwrap();
            (pids.lines().count() == times).then_some(())
        });
    };
    started(4);
    ground.master.kill();
    ground.master.start();
    started(5);
    ground.site.write("gate", "");
    let results: Vec<_> =
        ground.rest.builds_of(request).iter().map(|build| build["results"].clone()).collect();
    let [retry, success] = [Results::Retry, Results::Success].map(|results| json!(results as i64));
    assert_eq!(results, [retry.clone(), retry, success]);
    assert!(!ground.site.path("two").exists(), "two copies of the command ran at once");
    ground.master.database().wait_until_idle();
}

#[test]
fn a_pb_worker_of_3_lives_through_everything() {
    lives(Protocol::Pb);
}

#[test]
fn a_msgpack_worker_of_3_lives_through_everything() {
    lives(Protocol::Msgpack);
}
