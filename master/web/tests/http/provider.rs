//! Log-in at providers, against one of our own that answers as the four do.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use muster_config::snapshot::{AuthConfig, LogInMethod, OauthConfig, OauthProvider};
use muster_core::render::Renderable;
use serde_json::{Value, json};

use crate::{
    client::{Reply, send},
    fixture::Server,
    login::{kept, user},
};

type Pairs = BTreeMap<String, String>;

/// An answer of JSON.
struct Json(Value);

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        ([("content-type", "application/json")], self.0.to_string()).into_response()
    }
}

/// The fields of a form.
fn fields(form: &str) -> Pairs {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8().unwrap().into_owned()
    };
    let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

/// What was asked of the provider.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<Pairs>>>);

async fn token(State(asked): State<Asked>, body: String) -> Response {
    let form = fields(&body);
    let code = form["code"].clone();
    asked.0.lock().unwrap().push(form);
    match code.as_str() {
        "good" => Json(json!({"access_token": "t0ken"})).into_response(),
        "form" => "access_token=t0ken&scope=user".into_response(),
        "broken" => "<html>".into_response(),
        "away" => (StatusCode::BAD_GATEWAY, "away").into_response(),
        _ => Json(json!({"error": "bad_verification_code", "error_description": "The code is wrong."}))
            .into_response(),
    }
}

fn has_token(query: &Pairs, headers: &HeaderMap) -> bool {
    let header = headers.get("authorization").map(|value| value.to_str().unwrap());
    query.get("access_token").map(String::as_str) == Some("t0ken") || header == Some("token t0ken")
}

/// Answers what all four ask, as far as their answers don't contradict.
async fn resource(
    Query(query): Query<Pairs>,
    headers: HeaderMap,
    uri: axum::http::Uri,
    body: String,
) -> Response {
    if !has_token(&query, &headers) {
        return (StatusCode::UNAUTHORIZED, Json(json!({"message": "Bad credentials"}))).into_response();
    }
    let answer = match uri.path() {
        "/userinfo" => {
            json!({"name": "Ann Other", "email": "ann@example.org", "picture": "https://p.example/a"})
        }
        "/user" => json!({
            "name": "Ann Other", "login": "ann", "username": "ann", "display_name": "Ann Other", "email": "public@example.org",
            "avatar_url": "https://p.example/a",
        }),
        "/user/emails" if headers.contains_key("authorization") => json!([
            {"email": "other@example.org", "primary": false}, {"email": "ann@example.org", "primary": true},
        ]),
        "/user/emails" => json!({"values": [
            {"email": "other@example.org"}, {"email": "ann@example.org", "is_primary": true},
        ]}),
        "/user/orgs" => json!([{"login": "org-1"}, {"login": "2nd"}]),
        "/groups" => json!([{"path": "group"}]),
        "/workspaces" => json!({"values": [{"slug": "space"}]}),
        "/graphql" if body.contains("viewer") => json!({"data": {"viewer": {
            "email": "ann@example.org", "login": "ann", "name": "Ann Other",
            "organizations": {"edges": [{"node": {"login": "org-1"}}, {"node": {"login": "2nd"}}]},
        }}}),
        "/graphql" if body.contains("org_1: organization(login: \\\"org-1\\\")") => json!({"data": {
            "org_1": {"teams": {"edges": [{"node": {"name": "The Team", "slug": "the-team"}}]}}, "_2nd": null,
        }}),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    Json(answer).into_response()
}

async fn start() -> (String, Asked) {
    let asked = Asked::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route("/token", post(token)).fallback(resource).with_state(asked.clone());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, asked)
}

fn config(provider: OauthProvider, address: &str, api_version: u8) -> AuthConfig {
    let resource = if api_version == 4 { format!("{address}/graphql") } else { address.to_owned() };
    let oauth = OauthConfig {
        provider,
        fa_icon: "fa-x".to_owned(),
        autologin: false,
        client_id: Renderable::from("client"),
        client_secret: Renderable::from("s&cret"),
        auth_uri: format!("{address}/authorize"),
        token_uri: format!("{address}/token"),
        resource,
        scope: Some("user:email read:org".to_owned()),
        api_version,
        teams: api_version == 4,
    };
    AuthConfig {
        name: "Provider".to_owned(),
        method: LogInMethod::Oauth(Box::new(oauth)),
        email_is_username: false,
    }
}

async fn get_with(server: &Server, path: &str, cookie: &str) -> Reply {
    send(server.address, "GET", path, &[("Accept", "text/html"), ("Cookie", cookie)], "").await
}

/// Goes to the provider: the browser's cookie, and the state as the provider sends it back.
async fn leave(server: &Server, query: &str) -> (String, String) {
    let away = get_with(server, &format!("/auth/login{query}"), "").await;
    assert_eq!(away.status, 302, "{}", away.text());
    let there = away.header("location").unwrap().to_owned();
    assert!(there.contains("/authorize?client_id=client&redirect_uri=http%3A%2F%2F127.0.0.1%3A8010%2Fauth%2Flogin&response_type=code&scope=user%3Aemail%20read%3Aorg&state="), "{there}");
    (kept(&away), there.split_once("&state=").unwrap().1.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_provider_tells_who_somebody_is() {
    let (address, asked) = start().await;
    let server = Server::with(|_| {}).await;
    for (provider, version, groups) in [
        (OauthProvider::Google, 0, Value::Null),
        (OauthProvider::Github, 3, json!(["org-1", "2nd"])),
        (OauthProvider::Github, 4, json!(["org-1", "2nd", "org-1/The Team", "org-1/the-team"])),
        (OauthProvider::Gitlab, 0, json!(["group"])),
        (OauthProvider::Bitbucket, 0, json!(["space"])),
    ] {
        server.configure(|snapshot| snapshot.www.auth = Some(config(provider, &address, version)));
        for code in ["good", "form"] {
            let (cookie, state) = leave(&server, "?redirect=/builders/1").await;
            let back = get_with(&server, &format!("/auth/login?code={code}&state={state}"), &cookie).await;
            assert_eq!(
                back.header("location"),
                Some("http://127.0.0.1:8010/#/builders/1"),
                "{}",
                back.text()
            );
            let user = user(&server, &kept(&back)).await;
            let email =
                if provider == OauthProvider::Gitlab { "public@example.org" } else { "ann@example.org" };
            assert_eq!((&user["username"], &user["email"]), (&json!("ann"), &json!(email)), "{user}");
            assert_eq!((&user["groups"], &user["full_name"]), (&groups, &json!("Ann Other")), "{user}");
        }
        let form = asked.0.lock().unwrap().pop().unwrap();
        assert_eq!(
            (form["client_secret"].as_str(), form["grant_type"].as_str()),
            ("s&cret", "authorization_code")
        );
        assert_eq!(form["redirect_uri"], "http://127.0.0.1:8010/auth/login");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_belong_to_no_log_in_are_refused() {
    let (address, asked) = start().await;
    let auth = config(OauthProvider::Github, &address, 3);
    let server = Server::with(move |snapshot| snapshot.www.auth = Some(auth)).await;
    let (cookie, state) = leave(&server, "").await;
    let (other, other_state) = leave(&server, "").await;
    for (cookie, state) in [
        ("", state.as_str()),
        (cookie.as_str(), other_state.as_str()),
        (other.as_str(), state.as_str()),
        (cookie.as_str(), ""),
        (cookie.as_str(), "redirect%3D%2Fx"),
        ("muster_login=", "nonce%3D"),
    ] {
        let refused = get_with(&server, &format!("/auth/login?code=good&state={state}"), cookie).await;
        assert_eq!((refused.status, kept(&refused).as_str()), (403, ""), "{cookie} {state}");
    }
    assert!(asked.0.lock().unwrap().is_empty(), "the provider was not asked");
    for (answer, status, told) in [
        ("code=wrong", 503, "The code is wrong."),
        ("code=broken", 503, "no access_token"),
        ("code=away", 503, "502"),
        ("error=access_denied", 403, "access_denied"),
    ] {
        let refused = get_with(&server, &format!("/auth/login?{answer}&state={state}"), &cookie).await;
        assert_eq!((refused.status, refused.header("location")), (status, None), "{answer}");
        assert!(
            refused.text().contains(told) && !refused.text().contains("s&amp;cret"),
            "{}",
            refused.text()
        );
    }
    // A provider that nobody reaches.
    server.configure(|snapshot| {
        snapshot.www.auth = Some(config(OauthProvider::Github, "http://127.0.0.1:1", 3))
    });
    let refused = get_with(&server, &format!("/auth/login?code=good&state={state}"), &cookie).await;
    assert_eq!(refused.status, 503);
}
