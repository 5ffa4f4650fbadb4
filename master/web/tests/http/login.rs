//! Logging in and out, and what a session is worth.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use muster_config::snapshot::{AuthConfig, LogInMethod, Snapshot};
use muster_core::policy::{Authz, Endpoints, RoleSource, Rule, StringsMatcher};
use serde_json::{Value, json};

use crate::{
    client::{Reply, send},
    fixture::Server,
};

/// Somebody with the role of `rules`, and somebody without.
const USERS: [(&str, &str); 2] = [("root", "sesame"), ("ann", "open")];

pub fn passwords() -> AuthConfig {
    let users = USERS.iter().map(|(name, word)| ((*name).to_owned(), (*word).to_owned()));
    let method = LogInMethod::Passwords { users: BTreeMap::from_iter(users) };
    AuthConfig { name: "UserPasswordAuth".to_owned(), method, email_is_username: true }
}

/// One rule, for those whose name is `root`.
pub fn rules(endpoints: Endpoints) -> Authz {
    let rule = Rule { endpoints, builder: None, role: "admins".to_owned(), default_deny: true };
    let roles =
        RoleSource::Usernames { usernames: vec!["root".to_owned()], roles: vec!["admins".to_owned()] };
    Authz { rules: vec![rule], roles: vec![roles], strings: StringsMatcher::Glob }
}

fn with_passwords(config: &mut Snapshot) {
    config.www.auth = Some(passwords());
}

/// The cookies that an answer sets, as the next request sends them.
pub fn kept(reply: &Reply) -> String {
    let set = reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let pairs = set.filter_map(|(_, cookie)| cookie.split(';').next());
    pairs.filter(|pair| !pair.ends_with('=')).collect::<Vec<_>>().join("; ")
}

async fn basic(server: &Server, name: &str, word: &str) -> Reply {
    let given = format!("Basic {}", STANDARD.encode(format!("{name}:{word}")));
    send(server.address, "GET", "/auth/login", &[("Authorization", given.as_str())], "").await
}

/// The cookie of somebody who logs in.
pub async fn session(server: &Server, name: &str, word: &str) -> String {
    let reply = basic(server, name, word).await;
    assert_eq!(reply.status, 302, "{}", reply.text());
    kept(&reply)
}

async fn form(server: &Server, headers: &[(&str, &str)], body: &str) -> Reply {
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    send(server.address, "POST", "/auth/login", &[&form[..], headers].concat(), body).await
}

pub async fn user(server: &Server, cookie: &str) -> Value {
    let reply = send(server.address, "GET", "/config", &[("Cookie", cookie)], "").await;
    assert_eq!(reply.status, 200);
    reply.json()["user"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_log_in_by_a_form_and_programs_by_a_header() {
    let server = Server::with(with_passwords).await;
    let asked =
        send(server.address, "GET", "/auth/login?back=%2Fbuilders", &[("Accept", "text/html")], "").await;
    assert_eq!(asked.status, 200);
    assert!(asked.text().contains("name=\"password\"") && asked.text().contains("name=\"back\""));
    assert!(asked.text().contains("autofocus></p>"), "no name is given: {}", asked.text());
    let program = send(server.address, "GET", "/auth/login", &[("Accept", "*/*")], "").await;
    assert_eq!(program.status, 401);
    assert!(program.header("www-authenticate").unwrap().starts_with("Basic realm=\"buildbot\""));

    let reply = form(&server, &[], "username=ann&password=open&back=%2Fbuilders").await;
    assert_eq!((reply.status, reply.header("location")), (302, Some("../builders")));
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.starts_with("TWISTED_SESSION=") && cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
    assert_eq!(user(&server, &kept(&reply)).await, json!({"username": "ann", "email": "ann"}));
    let reply = basic(&server, "ann", "open").await;
    assert_eq!(reply.header("location"), Some("http://127.0.0.1:8010/#/"));
    let page = send(server.address, "GET", "/builders", &[("Cookie", &kept(&reply))], "").await;
    assert!(page.text().contains("id=\"user\">ann<") && page.text().contains("Log out"));

    for body in
        ["username=ann&password=wrong", "username=nobody&password=open", "username=ann", "", "password=open"]
    {
        let refused = form(&server, &[], body).await;
        assert_eq!((refused.status, kept(&refused).as_str()), (401, ""), "{body}");
    }
    assert_eq!(user(&server, "").await, json!({"anonymous": true}));
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_and_redirects_stay_on_this_site() {
    let server = Server::with(with_passwords).await;
    let out = send(server.address, "GET", "/auth/logout?redirect=/builders", &[], "").await;
    assert_eq!((out.status, out.header("location")), (302, Some("http://127.0.0.1:8010/#/builders")));
    assert!(out.header("set-cookie").unwrap().starts_with("TWISTED_SESSION=; Path=/"));
    for (query, leads) in [
        ("redirect=https://evil.example/", "http://127.0.0.1:8010/#https://evil.example/"),
        ("redirect=/x%0d%0aSet-Cookie:a=b", "http://127.0.0.1:8010/#/x"),
        ("back=https://evil.example/", "../"),
        ("back=//evil.example/", "../evil.example/"),
    ] {
        let out = send(server.address, "GET", &format!("/auth/logout?{query}"), &[], "").await;
        assert_eq!(out.header("location"), Some(leads), "{query}");
        let reply = form(&server, &[], &format!("username=ann&password=open&{query}")).await;
        assert_eq!((reply.status, reply.header("location")), (302, Some(leads)), "{query}");
    }
    // A page elsewhere logs nobody in or out.
    let elsewhere = [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")];
    let refused = form(&server, &elsewhere, "username=ann&password=open").await;
    assert_eq!((refused.status, kept(&refused).as_str()), (403, ""));
    let refused = send(server.address, "GET", "/auth/logout", &elsewhere, "").await;
    assert_eq!((refused.status, refused.header("set-cookie")), (403, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_none_is_nobodys() {
    let server = Server::with(with_passwords).await;
    let cookie = session(&server, "ann", "open").await;
    let token = cookie.split_once('=').unwrap().1;
    let (signed, mac) = token.rsplit_once('.').unwrap();
    let long = "x".repeat(20_000);
    for forged in [
        format!("{signed}."),
        format!("{signed}.{}", mac.chars().rev().collect::<String>()),
        format!("eyJhbGciOiJub25lIn0.{}.", signed.split('.').nth(1).unwrap()),
        include_str!("../buildbot-session.txt").trim().to_owned(),
        "...".to_owned(),
        long,
    ] {
        let cookie = format!("TWISTED_SESSION={forged}");
        assert_eq!(
            user(&server, &cookie).await,
            json!({"anonymous": true}),
            "{}",
            &forged[..forged.len().min(80)]
        );
        let page = send(server.address, "GET", "/builders", &[("Cookie", &cookie)], "").await;
        assert_eq!(page.status, 200);
    }
    // A cookie that somebody planted before doesn't become the session of who logs in.
    let planted = [("Cookie", "TWISTED_SESSION=planted")];
    let reply = form(&server, &planted, "username=ann&password=open").await;
    assert_ne!(kept(&reply), "TWISTED_SESSION=planted");
    // One broken cookie beside a good one.
    assert_eq!(user(&server, &format!("TWISTED_SECURE_SESSION=a.b.c; {cookie}")).await["username"], "ann");
    // Without a log-in nobody is anybody.
    server.configure(|config| config.www.auth = None);
    assert_eq!(user(&server, &cookie).await, json!({"anonymous": true}));
    server.configure(|config| {
        with_passwords(config);
        config.www.cookie_expiration_time = Some(0.0);
    });
    let over = session(&server, "ann", "open").await;
    assert_eq!(user(&server, &over).await, json!({"anonymous": true}));
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_of_a_site_behind_tls_go_back_over_tls_only() {
    let server = Server::with(|config| {
        with_passwords(config);
        config.buildbot_url = "https://127.0.0.1/ci/".to_owned();
    })
    .await;
    let reply = basic(&server, "ann", "open").await;
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.starts_with("TWISTED_SECURE_SESSION=") && cookie.ends_with("; Secure"), "{cookie}");
    assert_eq!(user(&server, &kept(&reply)).await["username"], "ann");
    assert_eq!(reply.header("location"), Some("https://127.0.0.1/ci/#/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_passwords_may_change_and_break() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users");
    let lines = include_str!("../htpasswd.txt").lines().enumerate();
    let lines = lines.map(|(number, line)| format!("u{number}:{}\n", line.split_once(' ').unwrap().0));
    std::fs::write(&file, format!("broken\n\n# comment\n{}", lines.collect::<String>())).unwrap();
    let server = Server::with(|config| {
        let method = LogInMethod::Htpasswd { file: file.display().to_string() };
        config.www.auth = Some(AuthConfig { method, ..passwords() });
    })
    .await;
    for (number, line) in include_str!("../htpasswd.txt").lines().enumerate() {
        let (hash, word) = line.split_once(' ').unwrap();
        assert_eq!(basic(&server, &format!("u{number}"), word).await.status, 302, "{line}");
        if hash != word && number < 3 {
            assert_eq!(basic(&server, &format!("u{number}"), hash).await.status, 401, "{line}");
        }
    }
    std::fs::write(&file, "ann:{SHA}EfatjsUqKYSrqv18O1FlA3hcIHI=\n").unwrap();
    assert_eq!(basic(&server, "ann", "x").await.status, 302);
    assert_eq!(basic(&server, "u0", "sesame").await.status, 401);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(basic(&server, "ann", "x").await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_says_who_somebody_is() {
    let server = Server::with(|config| {
        let method = LogInMethod::RemoteUser {
            header: "REMOTE_USER".to_owned(),
            pattern: "(?P<username>[^ @]+)@(?P<realm>[^ @]+)".to_owned(),
            trusted_proxies: Vec::new(),
        };
        config.www.auth =
            Some(AuthConfig { name: "RemoteUserAuth".to_owned(), method, email_is_username: true });
        config.www.authz = Some(rules(Endpoints::Any));
    })
    .await;
    let get =
        async |path: &str, headers: &[(&str, &str)]| send(server.address, "GET", path, headers, "").await;
    assert_eq!(get("/api/v2/builders", &[]).await.status, 403);
    assert_eq!(get("/api/v2/builders", &[("REMOTE_USER", "root@EXAMPLE")]).await.status, 200);
    assert_eq!(get("/api/v2/builders", &[("REMOTE_USER", "ann@EXAMPLE")]).await.status, 403);
    assert_eq!(
        get("/api/v2/builders", &[("REMOTE_USER", "ann@E"), ("REMOTE_USER", "root@E")]).await.status,
        403
    );
    let told = get("/config", &[("REMOTE_USER", "nonsense")]).await.json();
    assert!(told["on_load_warning"].as_str().unwrap().contains("does not match regex"), "{told}");
    let told = get("/config", &[("REMOTE_USER", "root@EXAMPLE")]).await.json();
    assert_eq!(told["user"], json!({"username": "root", "realm": "EXAMPLE", "email": "root"}));
    let page = get("/", &[("REMOTE_USER", "root@EXAMPLE"), ("Accept", "text/html")]).await;
    assert_eq!(
        user(&server, &kept(&page)).await["username"],
        "root",
        "the session is for event streams and other masters"
    );
    assert_eq!(get("/auth/login", &[]).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_logged_in_owns_what_they_force() {
    let server = Server::with(with_passwords).await;
    let cookie = session(&server, "ann", "open").await;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "force", "params": {"username": "somebody else"}});
    let headers = [("Content-Type", "application/json"), ("Cookie", cookie.as_str())];
    let forced =
        send(server.address, "POST", "/api/v2/forceschedulers/simple", &headers, &call.to_string()).await;
    let set = &forced.json()["result"][0];
    let properties =
        crate::client::get(server.address, &format!("/api/v2/buildsets/{set}/properties")).await.json();
    assert_eq!(properties["properties"][0]["owner"], json!(["ann", "Force Build Form"]), "{}", forced.text());
}
