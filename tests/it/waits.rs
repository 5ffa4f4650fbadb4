//! A request that waits has its true reason: over REST, on the pages and in `muster cluster status`.

use muster_tests::{Master, Rest, Results, Site, Worker, binary, http, until};
use serde_json::{Value, json};

/// One builder for each thing that a request may wait for.
const WAITING: &str = r#"
c["workers"] = [worker.Worker("w1", "%PASSWORD%", max_builds=1), worker.Worker("w2", "%PASSWORD%"), worker.Worker("w3", "none")]
db = util.MasterLock("db")


def fails(*args):
    raise ValueError("no database")


def none(*args):
    return None


builder("holder", sh(gate("go")), locks=[db.access("exclusive")])
builder("full", sh("true"))
builder("missing", sh("true"), workers=("w3",))
builder("locked", sh("true"), workers=("w2",), locks=[db.access("counting")])
builder("fails", sh("true"), workers=("w2",), canStartBuild=fails)
builder("refused", sh("true"), workers=("w2",), canStartBuild=lambda *args: False)
builder("declined", sh("true"), workers=("w2",), nextWorker=none)
builder("unwanted", sh("true"), workers=("w2",), nextBuild=none)
builder("paused", sh("true"), workers=("w2",))
"#;

/// Waits until REST gives this reason, and sees that the pages give it, too.
#[track_caller]
fn waits_because(rest: Rest, builder: &str, request: i64, why: &str) {
    let mut last = Value::Null;
    let told = |last: &mut Value| {
        *last = rest.one(&format!("buildrequests/{request}"))["waits_because"].clone();
        last.as_str().is_some_and(|text| text.contains(why)).then_some(())
    };
    until(&format!("{builder} to wait because {why:?}"), || told(&mut last));
    let escaped = why.replace('\'', "&#x27;");
    for path in ["/pending".to_owned(), format!("/builders/{builder}")] {
        let page = http::request(rest.0, "GET", &path, None).unwrap();
        let page = String::from_utf8(page.body).unwrap();
        assert!(page.contains(&escaped) || page.contains(why), "{path} does not say {why:?}:\n{page}");
    }
}

#[test]
fn each_reason_is_told_everywhere() {
    let site = Site::new();
    let mut master = Master::new(&site, WAITING);
    let rest = master.start();
    let force = |builder: &str| rest.force(builder, json!({}));
    let missing = force("missing");
    waits_because(rest, "missing", missing, "w3 is not connected");
    let holder = force("holder");
    waits_because(rest, "holder", holder, "w1 is not connected");
    let _w1 = master.start_worker(&site);
    let mut w2 = Worker::new(&site, "w2", master.sessions);
    w2.start();
    rest.wait_for_worker("w2");
    rest.running_build(holder);
    let expected = [
        ("full", "w1 runs holder #1 (its max_builds is 1)"),
        ("locked", "the lock db is held by holder #1"),
        ("fails", "canStartBuild failed (ValueError: no database)"),
        ("refused", "canStartBuild refuses it on the workers that are free"),
        ("declined", "nextWorker chose none of the free workers"),
        ("unwanted", "nextBuild chose none of the waiting requests"),
    ];
    let requests = expected.map(|(builder, why)| (builder, force(builder), why));
    for (builder, request, why) in requests {
        waits_because(rest, builder, request, why);
    }
    let status = muster_tests::process::run(
        &mut binary::command(&["cluster", "status", master.dir()]),
        &site.path("status.log"),
    );
    for (builder, _, why) in requests {
        let line = status.said.lines().find(|line| line.contains(&format!(" {builder} ")));
        assert!(line.is_some_and(|line| line.contains(why)), "{builder}: {why}\n{}", status.said);
    }
    let worker = rest.one("workers/w2")["workerid"].clone();
    rest.call(&format!("workers/{worker}"), "pause", json!({"reason": "disk full"})).unwrap();
    let paused = force("paused");
    waits_because(rest, "paused", paused, "w2 is paused (disk full)");
    rest.call(&format!("workers/{worker}"), "unpause", json!({"reason": ""})).unwrap();
    rest.built(paused, Results::Success);
    site.write("go", "");
    for (builder, request, _) in &requests[..2] {
        assert!(!builder.is_empty());
        rest.built(*request, Results::Success);
        assert_eq!(rest.one(&format!("buildrequests/{request}"))["waits_because"], Value::Null);
    }
    assert!(master.stop().success());
}

/// A scheduler whose property can't be computed for one change.
const TROUBLED: &str = r#"
@util.renderer
def odd(props):
    if any(change.revision == "bad" for change in props.changes):
        raise ValueError("no port for this one")
    return 8010


def important(change):
    if change.revision == "worse":
        raise KeyError("who")
    return True


builder("b", sh("true"))
c["schedulers"].append(
    schedulers.AnyBranchScheduler(
        name="every", builderNames=["b"], properties={"port": odd}, fileIsImportant=important
    )
)
c["www"]["change_hook_dialects"] = {"base": True}
"#;

#[test]
fn a_scheduler_says_what_it_can_not_do_until_it_can() {
    let site = Site::new();
    let mut master = Master::new(&site, TROUBLED);
    let rest = master.start();
    let change = |revision: &str| {
        let hook =
            format!("/change_hook/base?author=me&comments=c&revision={revision}&branch=main&project=p");
        let answer = http::request(rest.0, "POST", &hook, None).unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    };
    let trouble = |wanted: Option<&str>| {
        until(&format!("the trouble {wanted:?}"), || {
            let schedulers = rest.list("schedulers");
            let row = schedulers.iter().find(|row| row["name"] == json!("every"))?.clone();
            let text = row["trouble"]["text"].as_str();
            (text.is_some() == wanted.is_some()
                && text.unwrap_or_default().contains(wanted.unwrap_or_default()))
            .then_some(row)
        })
    };
    trouble(None);
    change("bad");
    let row = trouble(Some("change 1 is not built: properties: "));
    assert!(row["trouble"]["text"].as_str().unwrap().contains("no port for this one"), "{row}");
    let one = rest.one(&format!("schedulers/{}", row["schedulerid"]));
    assert_eq!(one["trouble"], row["trouble"]);
    let home = http::request(rest.0, "GET", "/", None).unwrap();
    let home = String::from_utf8(home.body).unwrap();
    assert!(home.contains("every") && home.contains("no port for this one"), "{home}");
    // It goes on with the next one, and is well again.
    change("good");
    trouble(None);
    change("worse");
    trouble(Some("change 3 is not built: "));
    change("good");
    trouble(None);
    let built = |set: &Value| set["sourcestamps"][0]["revision"].clone();
    let sets: Vec<Value> = rest.list("buildsets").iter().map(built).collect();
    assert_eq!(sets, [json!("good"), json!("good")]);
    assert!(master.stop().success());
}
