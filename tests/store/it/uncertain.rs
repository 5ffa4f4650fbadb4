//! Builds whose master can't find out whether a commit was done.

use muster_store_tests::{
    Postgres,
    proxy::{Loss, Proxy},
};
use muster_tests::{Master, Results, Site, until};
use serde_json::json;

/// Commits that are lost at most until one of the build's own is among them: it makes most of them.
const ROUNDS: usize = 8;

const CONFIG: &str = r#"
c['db'] = {'db_url': '%DB%'}
builder('b', sh('n=0; while ! [ -e ' + SITE + '/go ]; do n=$((n + 1)); echo line $n; sleep 0.005; done', name='prints'))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn output_is_exact_when_nobody_knows_what_became_of_a_commit() {
    let (site, server) = (Site::new(), Postgres::start());
    let proxy = Proxy::start(server.port).await;
    let url = format!("postgresql://bb@{}/buildbot?reconnect_timeout=1", proxy.address);
    let mut master = Master::new(&site, &CONFIG.replace("%DB%", &url));
    assert!(master.run("upgrade-master").status.success());
    let rest = master.start();
    let _worker = master.start_worker(&site);
    let request = rest.force("b", json!({}));
    let build = rest.running_build(request);
    for round in 1.. {
        let lines = rest.lines(build, "prints", 'o').len();
        until("more output", || (rest.lines(build, "prints", 'o').len() > lines).then_some(()));
        let complaints = |said: &str| said.matches("can't write about").count();
        let before = complaints(&master.process().said());
        proxy.lose_commit(Loss::Away);
        proxy.has_lost().await;
        let is_dropped = until("the failure of a commit about the build", || {
            let said = master.process().said();
            let is_dropped = said.contains("it is unknown whether the transaction commit_runs was committed");
            (is_dropped || complaints(&said) > before).then_some(is_dropped)
        });
        proxy.come_back();
        if is_dropped {
            break;
        }
        assert!(round < ROUNDS, "none of the build's own commits was lost");
    }
    let lines = rest.lines(build, "prints", 'o').len();
    until("more output", || (rest.lines(build, "prints", 'o').len() > lines).then_some(()));
    site.write("go", "");
    rest.built(request, Results::Success);
    let lines = rest.lines(build, "prints", 'o');
    let wanted: Vec<String> = (1..=lines.len()).map(|number| format!("line {number}")).collect();
    assert_eq!(lines, wanted);
    assert!(master.stop().success());
}
