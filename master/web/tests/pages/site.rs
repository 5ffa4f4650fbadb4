//! What `c['www']` and the titles say, and addresses by numbers.

use serde_json::json;

use crate::fixture::Server;

async fn with(www: serde_json::Value) -> Server {
    Server::with(move |config| config.www.raw.extend(www.as_object().unwrap().clone())).await
}

#[tokio::test]
async fn the_title_leads_where_the_configuration_says() {
    let server = Server::with(|config| config.title_url = "https://example.org/project/".to_owned()).await;
    for page in ["/", "/builders/website", "/about"] {
        let text = server.page(page).await.replace("&#x2f;", "/");
        assert!(text.contains("href=\"https://example.org/project/\""), "{page}");
    }
    for nowhere in ["http://buildbot.net/", "javascript:alert(1)/"] {
        let server = Server::with(|config| config.title_url = nowhere.to_owned()).await;
        let text = server.page("/").await.replace("&#x2f;", "/");
        assert!(!text.contains(&format!("href=\"{nowhere}\"")), "{nowhere}");
    }
}

#[tokio::test]
async fn about_tells_versions_masters_and_schedulers() {
    let server = with(json!({"versions": [["Our plugin", "1.2"], ["<b>", "3", "beta"]]})).await;
    let page = server.page("/about").await;
    for text in
        ["Muster", env!("CARGO_PKG_VERSION"), "Our plugin", "1.2", "&lt;b&gt;", "3 beta", "id=\"schedulers\""]
    {
        assert!(page.contains(text), "{text}: {page}");
    }
}

#[tokio::test]
async fn the_theme_comes_as_a_style_of_its_own() {
    let server = with(json!({"theme": {"bb-sidebar-background-color": "#123456"}})).await;
    assert!(server.page("/builders").await.contains("href=\"./theme.css\""));
    let css = server.get("/theme.css").await;
    assert_eq!(css.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(css.text(), ":root { --bb-sidebar-background-color: #123456; }\n");
    assert!(!Server::start().await.page("/builders").await.contains("theme.css"));
}

#[tokio::test]
async fn the_default_page_goes_before_home() {
    for (name, place) in [("builders", "./builders"), ("#/console", "./changes"), ("waterfall", "./builders")]
    {
        let server = with(json!({"default_page": name})).await;
        let reply = server.get("/").await;
        assert_eq!((reply.status, reply.header("location")), (303, Some(place)), "{name}");
        let home = server.page("/?home").await;
        assert!(home.contains("id=\"answer\"") && home.contains("href=\"./?home\""));
    }
    for none in [json!({}), json!({"default_page": "home"}), json!({"default_page": null})] {
        assert_eq!(with(none).await.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn things_are_found_by_buildbots_numbers() {
    let server = Server::start().await;
    let builds = server.data.get(&["builds".to_owned()], &[], &()).await.unwrap();
    let muster_data::read::Found::List { page, .. } = builds else { panic!("no list") };
    let build = &page.items[0];
    let reply = server.get(&format!("/buildrequests/{}", build["buildrequestid"])).await;
    assert_eq!(reply.status, 303);
    let place = reply.header("location").unwrap().trim_start_matches("..").to_owned();
    assert!(place.starts_with("/builders/") && place.contains("/builds/"), "{place}");
    assert_eq!(server.get(&place).await.status, 200);
    let reply = server.get("/workers/1").await;
    assert_eq!(reply.status, 303, "{}", reply.text());
    let place = reply.header("location").unwrap().trim_start_matches("..").to_owned();
    assert_eq!(server.get(&place).await.status, 200, "{place}");
    for nobody in ["/buildrequests/99999", "/buildrequests/x", "/workers/99999"] {
        assert_eq!(server.get(nobody).await.status, 404, "{nobody}");
    }
}

#[tokio::test]
async fn answers_stay_good_for_as_long_as_the_configuration_says() {
    let server = with(json!({"json_cache_seconds": 15})).await;
    for path in ["/api/v2/builders", "/api/v2/builders/1"] {
        let reply = server.get(path).await;
        let expires = jiff_seconds(reply.header("expires").unwrap());
        assert!((10..=20).contains(&(expires - muster_data::now().0)), "{path}");
        assert_eq!(reply.header("pragma"), Some("no-cache"));
    }
    assert_eq!(server.get("/api/v2/nosuch").await.header("expires"), None);
    assert_eq!(Server::start().await.get("/api/v2/builders").await.header("expires"), None);
}

/// Seconds of a date as HTTP writes it.
fn jiff_seconds(text: &str) -> i64 {
    jiff::fmt::rfc2822::parse(text).unwrap().timestamp().as_second()
}

#[tokio::test]
async fn a_higher_minimum_switches_the_interface_off() {
    for (minimum, status, told) in [(0, 200, true), (1, 200, true), (2, 200, false), (3, 404, false)] {
        let server = with(json!({"rest_minimum_version": minimum})).await;
        for path in ["/api/v2/builders", "/api/latest/builders"] {
            assert_eq!(server.get(path).await.status, status, "{minimum}: {path}");
        }
        let versions = server.get("/api").await.json();
        assert_eq!(versions["api_versions"].get("v2").is_some(), told, "{minimum}");
    }
}
