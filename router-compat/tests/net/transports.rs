//! Our client against our router over each transport, serialisation and authentication.

use muster_router_compat::Serialisation;
use muster_router_compat::auth::{Credentials, Salting, Secret};
use muster_router_compat::client::SessionError;
use muster_router_compat::net::tls::{ClientTls, Identity, ServerTls};
use muster_router_compat::net::{
    ConnectError, ConnectOptions, Connection, ConnectionError, Listener, address::RouterUrl,
};
use muster_router_compat::router::{Proof, RouterConfig};

use muster_tests::Authority;

use crate::support::{REALM, TestRouter, identity, talk};

fn with(options: &ConnectOptions, serialisation: Serialisation) -> ConnectOptions {
    ConnectOptions { serialisations: vec![serialisation], ..options.clone() }
}

#[tokio::test]
async fn each_serialisation_talks_to_each_other() {
    let router = TestRouter::start(RouterConfig::open(REALM)).await;
    for one in Serialisation::ALL {
        for other in Serialisation::ALL {
            talk(&with(&router.options(), one), &with(&router.options(), other)).await;
        }
    }
    router.stop().await;
}

#[tokio::test]
async fn ipv4_and_ipv6_reach_it_alone_and_together() {
    // A name may have one address or both.
    let localhost = tokio::net::lookup_host("localhost:0").await.unwrap();
    let of_localhost: Vec<String> =
        localhost.map(|at| if at.is_ipv6() { "[::1]" } else { "127.0.0.1" }.to_owned()).collect();
    let hosts = |hosts: &[&str]| hosts.iter().map(|&host| host.to_owned()).collect::<Vec<String>>();
    for (listen, reach) in [
        ("127.0.0.1:0", hosts(&["127.0.0.1", "localhost"])),
        ("[::1]:0", hosts(&["[::1]"])),
        ("[::]:0", hosts(&["[::1]", "127.0.0.1", "localhost"])),
        ("localhost:0", of_localhost),
    ] {
        let router = TestRouter::on(RouterConfig::open(REALM), Listener::tcp(listen, None).await.unwrap());
        for host in reach {
            let url: RouterUrl = format!("ws://{host}:{}/ws", router.port.unwrap()).parse().unwrap();
            let options = ConnectOptions::new(url, REALM);
            talk(&options, &options).await;
        }
        router.stop().await;
    }
}

#[tokio::test]
async fn unix_sockets_carry_it_too_and_a_dead_one_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("router.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let router = TestRouter::on(RouterConfig::open(REALM), Listener::unix(&path).unwrap());
    assert!(Listener::unix(&path).is_err(), "a socket that is listened on is left alone");
    let options = ConnectOptions::new(RouterUrl::Unix(path), REALM);
    talk(&options, &options).await;
    router.stop().await;
}

#[tokio::test]
async fn tls_with_an_own_authority_and_client_certificates() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let tls = ServerTls { identity: identity(&ours, "localhost"), client_ca: Some(ours.file()) };
    let listener = Listener::tcp("localhost:0", Some(tls.load().unwrap())).await.unwrap();
    let router = TestRouter::on(RouterConfig::open(REALM), listener);
    let url: RouterUrl = format!("wss://localhost:{}/ws", router.port.unwrap()).parse().unwrap();
    let options = |ca: &Authority, who| ConnectOptions {
        tls: ClientTls { ca: Some(ca.file()), identity: who },
        ..ConnectOptions::new(url.clone(), REALM)
    };
    let good = options(&ours, Some(identity(&ours, "m1")));
    for one in Serialisation::ALL {
        talk(&with(&good, one), &with(&good, one)).await;
    }

    assert!(Connection::open(&options(&ours, None)).await.is_err(), "without a certificate");
    let foreign = options(&ours, Some(identity(&theirs, "m1")));
    assert!(Connection::open(&foreign).await.is_err(), "with one of another authority");
    let distrusting = options(&theirs, Some(identity(&ours, "m2")));
    assert!(matches!(Connection::open(&distrusting).await, Err(ConnectError::Unreachable(_))));
    router.stop().await;
}

/// As people make them: `openssl req -x509` says that it is an authority, unless it is told otherwise.
#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_believed_when_it_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout"])
        .arg(file("key.pem"))
        .arg("-out")
        .arg(file("cert.pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let identity = || Identity { certificate: file("cert.pem"), key: file("key.pem") };
    // The same one for clients.
    let tls = ServerTls { identity: identity(), client_ca: Some(file("cert.pem")) };
    let listener = Listener::tcp("localhost:0", Some(tls.load().unwrap())).await.unwrap();
    let router = TestRouter::on(RouterConfig::open(REALM), listener);
    let options = |host: &str, ca| ConnectOptions {
        tls: ClientTls { ca: Some(ca), identity: Some(identity()) },
        ..ConnectOptions::new(format!("wss://{host}:{}/ws", router.port.unwrap()).parse().unwrap(), REALM)
    };
    let good = options("localhost", file("cert.pem"));
    talk(&good, &good).await;
    let other_name = options("127.0.0.1", file("cert.pem"));
    assert!(matches!(Connection::open(&other_name).await, Err(ConnectError::Unreachable(_))));
    let another = Authority::new();
    let mut stranger = options("localhost", file("cert.pem"));
    stranger.tls.identity = Some(self::identity(&another, "m1"));
    assert!(Connection::open(&stranger).await.is_err(), "a client that nobody named");
    let unnamed = options("localhost", another.file());
    assert!(matches!(Connection::open(&unnamed).await, Err(ConnectError::Unreachable(_))));
    router.stop().await;
}

#[tokio::test]
async fn each_authentication_lets_in_who_knows_and_nobody_else() {
    let salting = Salting { salt: "pepper".to_owned(), iterations: 100, keylen: 32 };
    let derived = salting.derive(&Secret::new("right"));
    let as_ticket = |text: &str| Credentials::Ticket { authid: "m1".to_owned(), ticket: Secret::new(text) };
    let as_cra = |text: &str| Credentials::WampCra { authid: "m1".to_owned(), secret: Secret::new(text) };
    let plain = Proof::WampCra { secret: Secret::new("right"), salting: None };
    let salted = Proof::WampCra { secret: derived, salting: Some(salting) };
    for (proof, good, bad) in [
        (Proof::Ticket(Secret::new("right")), as_ticket("right"), as_ticket("wrong")),
        (plain, as_cra("right"), as_cra("wrong")),
        (salted, as_cra("right"), as_cra("wrong")),
    ] {
        let router = TestRouter::start(RouterConfig::closed(REALM, "m1", proof)).await;
        let options = |credentials| ConnectOptions { credentials, ..router.options() };
        talk(&options(good.clone()), &options(good)).await;
        for refused in [bad, Credentials::Anonymous] {
            match Connection::open(&options(refused)).await {
                Err(ConnectError::Session(ConnectionError::Session(SessionError::Refused { .. }))) => {}
                other => panic!("{:?}", other.err()),
            }
        }
        router.stop().await;
    }
}

#[tokio::test]
async fn what_is_no_router_is_named() {
    let web = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", web.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut stream, _) = web.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    let answer = Connection::open(&ConnectOptions::new(url.parse().unwrap(), REALM)).await;
    assert!(matches!(answer, Err(ConnectError::NoRouter(_))));
    serving.await.unwrap();
    let gone = Connection::open(&ConnectOptions::new(url.parse().unwrap(), REALM)).await;
    assert!(matches!(gone, Err(ConnectError::Unreachable(_))));

    let router = TestRouter::start(RouterConfig::open(REALM)).await;
    let nowhere = ConnectOptions { realm: "nowhere".to_owned(), ..router.options() };
    let error = Connection::open(&nowhere).await.err().unwrap().to_string();
    assert!(error.contains("wamp.error.no_such_realm") && error.contains("'nowhere'"), "{error}");
    router.stop().await;
}
