//! Every page is there, whole, safe and small.

use crate::{client::send, fixture::Server};

/// One address of each page.
pub const PAGES: [(&str, &str); 12] = [
    ("home", "/"),
    ("builders", "/builders"),
    ("builder", "/builders/website"),
    ("build-running", "/builders/website/builds/31"),
    ("build-failed", "/builders/website/builds/30"),
    ("build-recorded", "/builders/ok/builds/1"),
    ("log", "/builders/website/builds/30/steps/3/logs/stdio"),
    ("force", "/builders/website/force/force"),
    ("pending", "/pending"),
    ("workers", "/workers"),
    ("worker", "/workers/local1"),
    ("changes", "/changes"),
];

#[tokio::test]
async fn every_page_is_whole_and_guarded() {
    let server = Server::start().await;
    for (_, path) in PAGES {
        let reply = server.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        let text = reply.text();
        assert!(text.starts_with("<!doctype html>") && text.contains("</html>"), "{path}");
        let policy =
            reply.header("content-security-policy").unwrap_or_else(|| panic!("{path} has no policy"));
        assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
        // What the policy forbids would be broken in a browser.
        assert!(
            !text.contains(" style=") && !text.contains("<style") && !text.contains(" onclick="),
            "{path}"
        );
        let part = server.page(&format!("{path}?fragment=content")).await;
        assert!(!part.contains("<html") && part.len() < text.len(), "{path}");
    }
}

#[tokio::test]
async fn names_logs_and_properties_are_escaped_and_links_are_web_links() {
    let server = Server::start().await;
    for (_, path) in PAGES {
        let text = server.page(path).await;
        for harm in ["<script>alert", "<b>the site", "<b>again", "<i>its", "javascript:", "[1,\"<script"] {
            assert!(!text.contains(harm), "{path} contains {harm}");
        }
    }
    let builders = server.page("/builders").await;
    assert!(builders.contains("&lt;script&gt;alert(1)"));
    // This name has a slash, so its id leads there.
    assert!(builders.contains("href=\"./builders/51\""));
    let failed = server.page("/builders/website/builds/30").await;
    assert!(failed.contains("&lt;script&gt;alert(2)"));
}

#[tokio::test]
async fn the_home_page_tells_what_is_broken_and_since_when() {
    let server = Server::start().await;
    let home = server.page("/").await;
    assert!(home.contains("builders fail"), "{home}");
    let failing = &home[home.find("id=\"failing\"").unwrap()..home.find("id=\"running\"").unwrap()];
    assert!(failing.contains("builders/website/builds/29\">#29</a>"), "{failing}");
    assert!(failing.contains("Sharpen page 29") && failing.contains("Mira"), "{failing}");
    let running = &home[home.find("id=\"running\"").unwrap()..home.find("id=\"latest\"").unwrap()];
    assert!(
        running.contains("website #31") && running.contains("<progress") && running.contains(" left"),
        "{running}"
    );
}

#[tokio::test]
async fn builders_in_trouble_come_first_and_the_address_filters() {
    let server = Server::start().await;
    let all = server.page("/builders").await;
    let place =
        |name: &str| all.find(&format!("data-name=\"{name}\"")).unwrap_or_else(|| panic!("no {name}"));
    assert!(place("website") < place("ok") && place("ok") < place("child"));
    let some = server.page("/builders?name=WEB&tag=shared&result=failure").await;
    assert!(some.contains("data-name=\"website\"") && !some.contains("data-name=\"fail\""));
    assert!(server.page("/builders?name=nothing").await.contains("No builder fits"));
}

#[tokio::test]
async fn a_failed_build_opens_at_the_end_of_what_failed() {
    let server = Server::start().await;
    let page = server.page("/builders/website/builds/30").await;
    assert!(page.contains("id=\"step-3\" class=\"step failure\" open"), "{page}");
    assert!(page.contains("id=\"step-2\" class=\"step success\">"));
    assert!(page.contains("recipe for target") && page.contains("2460 lines above"));
    assert!(page.contains("action=\"../../../builders/website/builds/30/rebuild\""));
    let running = server.page("/builders/website/builds/31").await;
    assert!(running.contains("builds/31/stop\"") && running.contains("data-topics=\"builds/531/update"));
    // Two builds of one revision, one good and one bad.
    assert!(server.page("/builders/website").await.contains(">flaky<"));
}

#[tokio::test]
async fn the_queue_says_why_it_waits() {
    let server = Server::start().await;
    let page = server.page("/pending").await;
    assert!(page.contains("local1 runs website #31") || page.contains("local1 runs slow"), "{page}");
    assert!(page.contains("ghost is not connected"), "{page}");
    assert!(page.contains("A build was forced by &#x27;Mira&#x27;: &lt;b&gt;again&lt;"), "{page}");
}

#[tokio::test]
async fn what_is_not_there_is_told_by_a_page() {
    let server = Server::start().await;
    let missing = [
        "/nothing/at/all",
        "/builders/nosuch",
        "/builders/website/builds/999",
        "/builders/website/builds/x",
        "/builders/website/builds/30/steps/3/logs/none",
        "/builders/website/builds/30/steps/99/logs/stdio",
        "/workers/nosuch",
        "/builders/website/force/nosuch",
    ];
    for path in missing {
        let reply = server.get(path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.text().contains("<h1>Not found</h1>"), "{path}: {}", reply.text());
    }
}

#[tokio::test]
async fn files_are_small_and_kept_by_browsers() {
    let server = Server::start().await;
    let style = server.get("/static/style.css").await;
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    assert!(style.body.len() < 20_000, "{} bytes", style.body.len());
    let mut scripts = 0;
    for name in ["page", "time", "live", "keys", "filter", "log"] {
        let script = server.get(&format!("/static/{name}.js")).await;
        assert_eq!(script.status, 200, "{name}");
        scripts += script.body.len();
    }
    assert!(scripts < 40_000, "{scripts} bytes");
    let tag = style.header("etag").unwrap();
    let again = send(server.address, "GET", "/static/style.css", &[("If-None-Match", tag)], "").await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(server.get("/static/../Cargo.toml").await.status, 404);
}

#[tokio::test]
async fn users_override_templates() {
    let server = Server::with(|snapshot| {
        snapshot.www.raw.insert("custom_templates_dir".to_owned(), "templates".into());
    })
    .await;
    let directory = server.directory().join("templates");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("pending.html"), "mine: {{ pending.summary.count }}").unwrap();
    assert_eq!(server.page("/pending").await, "mine: 4");
    std::fs::write(directory.join("workers.html"), "{% for %}").unwrap();
    let broken = server.get("/workers").await;
    assert!(broken.status == 500 && broken.text().contains("workers.html"), "{}", broken.text());
}

#[tokio::test]
async fn the_theme_is_remembered_and_leads_back() {
    let server = Server::start().await;
    let reply = server.post("/theme", &[], "theme=dark&back=%2Fbuilders%2Fok").await;
    assert_eq!((reply.status, reply.header("location")), (303, Some("./builders/ok")));
    let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let page = send(server.address, "GET", "/", &[("Cookie", &cookie)], "").await;
    assert!(page.text().contains("<html lang=\"en\" data-theme=\"dark\">"));
    let away = server.post("/theme", &[], "theme=dark&back=%2F%2Fevil.example").await;
    assert_eq!(away.header("location"), Some("./evil.example"));
    let scheme = server.post("/theme", &[], "theme=&back=https%3A%2F%2Fevil.example").await;
    assert_eq!(scheme.header("location"), Some("./"));
}
