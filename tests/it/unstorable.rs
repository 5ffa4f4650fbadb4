//! What the database can't hold: a step says so, and its build ends all the same.

use muster_tests::{MariaDb, Master, Postgres, Rest, Results, Site, git::Repository, http};
use serde_json::{Value, json};

const STEPS: &str = r#"
c['db'] = {'db_url': '%DB%'}
c['www']['change_hook_dialects'] = {'base': True}

def long_name(rc, stdout, stderr):
    return {'x' * 300: 'value'}

def reading(script, **more):
    return steps.SetPropertyFromCommand(command=['sh', '-c', script], name='reads', **more)

builder('state', reading('yes | tr -d "\n" | head -c 60000', property='p'),
        sh('true', descriptionDone=util.Interpolate('%(prop:p)s%(prop:p)s')))
builder('name', reading('true', extract_fn=long_name))
builder('reason', sh('true'))
builder('value', reading('yes | head -c 100000', property='p'), sh('true'))

def around(step):
    return [sh('true', name='before'), step, sh('true', name='never'), sh('true', name='cleans', alwaysRun=True)]

link = 'https://example.org/' + 'x' * 70000
builder('link', sh('echo x > file'), *around(steps.FileUpload('file', 'uploaded', url=link, name='refused')))
builder('lines', *around(sh('seq 70000; exec sleep 601', name='refused')))
builder('beside', sh('while ! [ -e ' + SITE + '/go ]; do echo more; sleep 0.01; done; echo done', name='prints'))
"#;

/// Limits that no check before the database knows: MariaDB has the first one by itself.
const LIMITS: &str = "ALTER TABLE steps ADD CONSTRAINT short_links CHECK (length(urls_json) < 65536); \
                      ALTER TABLE logs ADD CONSTRAINT few_lines CHECK (num_lines < 60000);";

/// A build that the database refuses something of ends, and its step says why; others go on.
fn refused(rest: &Rest, site: &Site) {
    let beside = rest.force("beside", json!({}));
    rest.wait_for_line(rest.running_build(beside), "prints", "more");
    let requests = ["link", "lines"].map(|name| rest.force(name, json!({})));
    for request in requests {
        let build = rest.built(request, Results::Exception);
        let steps = rest.steps(build);
        let ends: Vec<_> =
            steps.iter().map(|step| (step["name"].as_str(), step["results"].as_i64())).collect();
        let step = |name, results| (Some(name), Some(results as i64));
        let wanted = [
            step("before", Results::Success),
            step("refused", Results::Exception),
            step("cleans", Results::Success),
        ];
        assert!(ends.ends_with(&wanted), "{ends:?}");
        assert!(said(rest, build, "refused").contains("can't hold this"));
    }
    muster_tests::until("the end of the refused step's command", || {
        let mut running = site.processes().filter_map(|pid| {
            std::fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()
        });
        (!running.any(|line| line.starts_with("sleep\x00601"))).then_some(())
    });
    site.write("go", "");
    let build = rest.built(beside, Results::Success);
    assert_eq!(rest.lines(build, "prints", 'o').last().map(String::as_str), Some("done"));
}

/// What the log about a step's exception says.
fn said(rest: &Rest, build: i64, step: &str) -> String {
    let step = rest.step(build, step)["stepid"].clone();
    let logs = rest.list(&format!("steps/{step}/logs"));
    let log = logs.iter().find(|log| log["name"] == json!("err.text")).unwrap();
    rest.try_get(&format!("logs/{}/contents", log["logid"])).unwrap().to_string()
}

/// Builds all of them; answers the master, and how the one of a large value ended.
fn built(site: &Site, db_url: &str, sql: impl Fn(&str)) -> Value {
    let mut master = Master::new(site, &STEPS.replace("%DB%", db_url));
    assert!(master.run("upgrade-master").status.success());
    let rest = master.start();
    let _worker = master.start_worker(site);
    rest.built(rest.force("state", json!({})), Results::Success);
    let build = rest.built(rest.force("name", json!({})), Results::Exception);
    let said = said(&rest, build, "reads");
    assert!(said.contains("256 characters"), "{said}");

    let request = rest.force("reason", json!({ "reason": "because ".repeat(100) }));
    rest.built(request, Results::Success);
    let set = rest.one(&format!("buildrequests/{request}"))["buildsetid"].clone();
    assert_eq!(rest.one(&format!("buildsets/{set}"))["reason"].as_str().unwrap().len(), 256);

    let hook = format!("/change_hook/base?branch={}", "b".repeat(300));
    let answer = http::request(master.web, "POST", &hook, None).unwrap();
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(answer.status == 400 && said.contains("the branch") && said.contains("255"), "{said}");

    let builds = rest.builds_of(rest.force("value", json!({})));
    sql(LIMITS);
    refused(&rest, site);
    assert!(master.stop().success());
    builds[0].clone()
}

#[test]
fn a_build_on_postgresql_ends_whatever_its_steps_set() {
    let (site, server) = (Site::new(), Postgres::start());
    let value = built(&site, &server.url("buildbot"), |text| drop(server.sql("buildbot", text)));
    assert_eq!(value["results"], json!(Results::Success as i64));
}

#[test]
fn a_build_on_mariadb_ends_whatever_its_steps_set() {
    let (site, server) = (Site::new(), MariaDb::start());
    let value = built(&site, &server.url("buildbot"), |text| drop(server.sql("buildbot", text)));
    assert_eq!(value["results"], json!(Results::Exception as i64));
}

const POLLER: &str = r#"
c['db'] = {'db_url': '%DB%'}
c["change_source"] = [changes.GitPoller(repourl=SITE + "/repository", branches=["main"], pollInterval=1)]
builder('any', sh('true'))
"#;

#[test]
fn a_commit_of_any_author_and_length_becomes_a_change() {
    let (site, server) = (Site::new(), MariaDb::start());
    let repository = Repository::create(&site.path("repository"));
    let mut master = Master::new(&site, &POLLER.replace("%DB%", &server.url("buildbot")));
    assert!(master.run("upgrade-master").status.success());
    let rest = master.start();
    muster_tests::until("the poller's first look", || {
        let states = server.sql("buildbot", "SELECT count(*) FROM object_state WHERE name = 'lastRev'");
        (states.trim() != "0").then_some(())
    });
    let author = format!("{} <crowd@example.org>", "Ada and ".repeat(40));
    let revision = repository.commit_by(&author, "long", &"A long story. ".repeat(6000));
    let change = rest.wait_for("the change", "changes", |change| change["revision"] == json!(revision));
    assert_eq!(change["author"], json!(author[..255]));
    assert!(change["comments"].as_str().unwrap().starts_with("A long story. A long story."));
    assert!(master.stop().success());
}
