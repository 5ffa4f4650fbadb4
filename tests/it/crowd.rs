//! More pending requests than a master looks at together.

use muster_tests::{Master, Results, Site, Worker};
use serde_json::json;

const CONFIG: &str = r#"
c['workers'] = [worker.Worker(name, '%PASSWORD%') for name in ('w1', 'w2')]
lock = util.MasterLock('one at a time')
builder('holder', sh(gate('go'), name='waits'), locks=[lock.access('exclusive')])
builder('locked', sh('true'), locks=[lock.access('exclusive')])
builder('free', sh('true'), workers=['w2'])
"#;

/// Beyond this many a master reads no further at once.
const CONSIDERED: i64 = 20_000;

#[test]
fn requests_that_can_not_be_built_hide_no_others() {
    let site = Site::new();
    let mut master = Master::new(&site, CONFIG);
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let holder = rest.force("holder", json!({}));
    rest.step(rest.running_build(holder), "waits");
    let first = rest.force("locked", json!({}));
    // As many more as it takes.
    let many = format!(
        "INSERT INTO buildrequests (buildsetid, builderid, priority, complete, results, submitted_at, waited_for) \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) \
         SELECT r.buildsetid, r.builderid, 0, 0, -1, r.submitted_at, 0 FROM buildrequests r, n WHERE r.id = {first}",
        CONSIDERED + 100
    );
    master.database().execute(&many);
    let behind = rest.force("free", json!({}));
    // Its next life reads all of them at its start.
    assert!(master.stop().success());
    let rest = master.start();
    master.process().wait_for("worker connected");
    let mut other = Worker::new(&site, "w2", master.sessions);
    other.start();
    rest.built(behind, Results::Success);
    site.write("go", "");
    rest.built(holder, Results::Success);
    rest.built(first, Results::Success);
    assert!(master.stop().success());
}
