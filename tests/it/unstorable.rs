//! What the database can't hold: a step says so, and its build ends all the same.

use muster_tests::{MariaDb, Master, Postgres, Results, Site, git::Repository, http};
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
"#;

/// Builds all of them; answers the master, and how the one of a large value ended.
fn built(site: &Site, db_url: &str) -> Value {
    let mut master = Master::new(site, &STEPS.replace("%DB%", db_url));
    assert!(master.run("upgrade-master").status.success());
    let rest = master.start();
    let _worker = master.start_worker(site);
    rest.built(rest.force("state", json!({})), Results::Success);
    let build = rest.built(rest.force("name", json!({})), Results::Exception);
    let step = rest.step(build, "reads")["stepid"].clone();
    let logs = rest.list(&format!("steps/{step}/logs"));
    let log = logs.iter().find(|log| log["name"] == json!("err.text")).unwrap();
    let said = rest.try_get(&format!("logs/{}/contents", log["logid"])).unwrap().to_string();
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
    assert!(master.stop().success());
    builds[0].clone()
}

#[test]
fn a_build_on_postgresql_ends_whatever_its_steps_set() {
    let (site, server) = (Site::new(), Postgres::start());
    assert_eq!(built(&site, &server.url("buildbot"))["results"], json!(Results::Success as i64));
}

#[test]
fn a_build_on_mariadb_ends_whatever_its_steps_set() {
    let (site, server) = (Site::new(), MariaDb::start());
    assert_eq!(built(&site, &server.url("buildbot"))["results"], json!(Results::Exception as i64));
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
