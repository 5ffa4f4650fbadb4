//! Buttons: they do what REST does, and only for our own pages.

use muster_core::RequestId;
use muster_store::{Error, params, query};

use crate::fixture::Server;

const OWN: [(&str, &str); 1] = [("Sec-Fetch-Site", "same-origin")];

async fn pending(server: &Server) -> i64 {
    server.data.pending_page().await.unwrap().summary.count
}

#[tokio::test]
async fn a_post_from_another_site_is_refused_everywhere() {
    let server = Server::start().await;
    let before = pending(&server).await;
    let paths = [
        "/builders/website/force/force",
        "/builders/website/builds/31/stop",
        "/builders/website/builds/30/rebuild",
        "/pending/cancel",
        "/pending/first",
    ];
    let foreign = [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ];
    for path in paths {
        for header in foreign {
            let reply = server.post(path, &[header], "id=600&reason=x&username=a%40b.cd").await;
            assert_eq!(reply.status, 403, "{path} {header:?}");
            assert!(reply.text().contains("another site"));
        }
    }
    assert_eq!(pending(&server).await, before);
}

#[tokio::test]
async fn our_own_origin_and_the_configured_address_may_post() {
    let server = Server::start().await;
    let own = format!("http://{}", server.address);
    for origin in [own.as_str(), "https://ci.example.org"] {
        let reply = server.post("/pending/cancel", &[("Origin", origin)], "").await;
        assert_eq!(reply.status, 303, "{origin}");
    }
}

#[tokio::test]
async fn a_forced_build_waits_on_the_page_of_its_builder() {
    let server = Server::start().await;
    let before = pending(&server).await;
    let body = "username=Mira+%3Cmira%40example.org%3E&reason=try+%3Cthis%3E&priority=3&branch=main&clean=1&flavour=release";
    let reply = server.post("/builders/website/force/force", &OWN, body).await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (303, Some("../../../builders/website")),
        "{}",
        reply.text()
    );
    assert_eq!(pending(&server).await, before + 1);
    let page = server.page("/builders/website").await;
    assert!(page.contains("try &lt;this&gt;"), "{page}");
}

#[tokio::test]
async fn what_is_wrong_with_a_form_stands_at_its_field() {
    let server = Server::start().await;
    let before = pending(&server).await;
    let body = "username=nobody&reason=kept+%22text%22&flavour=release&clean=1";
    let reply = server.post("/builders/website/force/force", &OWN, body).await;
    assert_eq!(reply.status, 400);
    let page = reply.text();
    assert!(page.contains("id=\"force-force-username-error\""), "{page}");
    assert!(
        page.contains("value=\"kept &quot;text&quot;\"")
            && page.contains("<option selected>release</option>"),
        "{page}"
    );
    assert!(page.contains("name=\"clean\" value=\"1\" checked"), "{page}");
    assert_eq!(pending(&server).await, before);
}

#[tokio::test]
async fn requests_are_cancelled_and_put_first() {
    let server = Server::start().await;
    let request = |id| {
        let db = server.data.db().clone();
        async move {
            let read = db.read("test", |tx| async move { query::requests::by_id(&tx, RequestId(id)).await });
            read.await.unwrap().unwrap()
        }
    };
    // A row's own button means that row, whatever is chosen beside it.
    assert_eq!(server.post("/pending/first", &OWN, "id=600&only=601").await.status, 303);
    assert!(request(601).await.priority > request(600).await.priority);
    let reply = server.post("/pending/cancel", &OWN, "id=600&id=601&id=nonsense").await;
    assert_eq!((reply.status, reply.header("location")), (303, Some("../pending")));
    for id in [600, 601] {
        assert_eq!(request(id).await.results, Some(muster_core::Results::Cancelled));
    }
}

#[tokio::test]
async fn a_running_build_is_stopped_and_a_finished_one_repeated() {
    let server = Server::start().await;
    let before = pending(&server).await;
    let reply = server.post("/builders/website/builds/31/stop", &OWN, "").await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (303, Some("../../../../builders/website/builds/31"))
    );
    let orders = server.data.db().read("test", |tx| async move {
        let rows = tx.query("SELECT action FROM muster_control WHERE targetid = 531", params![]).await?;
        Ok::<_, Error>(rows.len())
    });
    assert_eq!(orders.await.unwrap(), 1);
    let reply = server.post("/builders/website/builds/30/rebuild", &OWN, "").await;
    assert_eq!(reply.status, 303, "{}", reply.text());
    assert_eq!(pending(&server).await, before + 1);
}

/// Masters may have different files; the one with the pages may have no schedulers at all.
#[tokio::test]
async fn forms_of_other_masters_are_shown_and_used() {
    let server = Server::with(|config| config.schedulers.clear()).await;
    assert_eq!(server.get("/builders/website/force/force").await.status, 404);
    let theirs = &serde_json::to_string(&crate::fixture::snapshot()).unwrap();
    let stored = server.data.db().tx("another master", |tx| async move {
        let now = muster_data::now();
        let id = muster_store::runs::snapshot_id(&tx, "digest", theirs, now).await?;
        let other = muster_store::masters::find_or_create(&tx, "other:/master").await?;
        muster_store::masters::set_active(&tx, other, true, now).await?;
        muster_store::stock::set_in_force(&tx, other, id).await?;
        Ok::<_, Error>(())
    });
    stored.await.unwrap().into_inner();
    // The list of configurations is looked at again after a while.
    let shown = async {
        while server.get("/builders/website/force/force").await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), shown).await.expect("the form is shown");
    assert!(server.page("/builders/website").await.contains("force/force"));
    let listed = server.get("/api/v2/forceschedulers").await.text().to_owned();
    assert!(listed.contains("\"force\""), "{listed}");
    let before = pending(&server).await;
    let reply =
        server.post("/builders/website/force/force", &OWN, "reason=from+afar&username=a%40b.cd").await;
    assert_eq!(reply.status, 303, "{}", reply.text());
    assert_eq!(pending(&server).await, before + 1);
}
