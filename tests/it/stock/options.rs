//! Options of `worker.Worker`, for stock workers.

use super::*;

/// `w1` and `w2` never build at once, and `w1` takes one build at a time. What `w3` builds shows that the queue was looked at.
const OPTIONS: &str = r#"
c["protocols"]["session"] = {"port": "tcp:%SESSIONS%:interface=%ADDRESS%"}
lock = util.MasterLock("one of both", maxCount=1)
c["workers"] = [
    worker.Worker(
        "w1", "secret", max_builds=1, locks=[lock.access("exclusive")],
        properties={"color": "blue"}, defaultProperties={"size": "small", "color": "none"},
    ),
    worker.Worker("w2", "secret", locks=[lock.access("exclusive")]),
    worker.Worker("w3", "secret"),
]
show = steps.ShellCommand(command=["echo", util.Interpolate("%(prop:color)s and %(prop:size)s")], name="show")
builder("shows", show)
builder("locked", sh("echo locked"), workers=["w2"])
builder("other", sh("echo other"), workers=["w3"])
"#;

#[test]
fn a_stock_worker_has_its_properties_its_locks_and_its_number_of_builds() {
    let ground = Ground::new(OPTIONS);
    let _first = ground.worker(Release::Current, Protocol::Pb);
    let rest = ground.rest;
    let mut second = StockWorker::create(
        &ground.site,
        "w2",
        "w2",
        Release::Current,
        Protocol::Msgpack,
        ground.msgpack,
        &[],
    );
    second.start();
    let mut third = Worker::new(&ground.site, "w3", ground.master.sessions);
    third.start();
    ["w2", "w3"].iter().for_each(|name| rest.wait_for_worker(name));
    let (request, build) = ground.begin();
    let more = rest.force("shows", json!({}));
    let locked = rest.force("locked", json!({}));
    let other = rest.force("other", json!({}));
    rest.built(other, Results::Success);
    for waiting in [more, locked] {
        let begun = rest.list(&format!("builds?buildrequestid={waiting}"));
        assert!(begun.is_empty(), "they wait for build {build}: {begun:?}");
    }
    ground.site.write("gate", "");
    assert_eq!(rest.built(request, Results::Success), build);
    let shown = rest.built(more, Results::Success);
    assert_eq!(rest.lines(shown, "show", 'o'), ["blue and small"]);
    assert_eq!(rest.one(&format!("builds/{shown}/properties"))["color"], json!(["blue", "Worker"]));
    rest.built(locked, Results::Success);
    ground.master.database().wait_until_idle();
}
