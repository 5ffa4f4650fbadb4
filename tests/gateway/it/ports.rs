//! Stock workers over TLS, a local socket, IPv6, and several ports at once.

use muster_tests::stock::{Protocol, Release, StockWorker};
use muster_tests::{Authority, Process, Results, Site, binary, until};
use serde_json::json;

use crate::cluster::Cluster;

#[test]
fn workers_come_in_over_every_kind_of_port() {
    let cluster = Cluster::new();
    let [plain, tls, sessions] = [(); 3].map(|()| Site::free_port());
    let authority = Authority::new();
    let identity = authority.identity("localhost");
    let address = Site::address();
    let of_address = authority.identity(&address.to_string());
    let config = format!(
        "c['protocols']['pb']['port'] = [{plain}, 'ssl:{tls}:privateKey={key}:certKey={certificate}', \
         'unix:pb.sock:mode=600']\n\
         c['workers'] = [worker.Worker(name, 'secret') for name in ('w1', 'w4', 'w6', 'wtls', 'wunix', 'own')]\n\
         c['protocols']['session']['port'] = 'ssl:{sessions}:interface={address}:privateKey={session_key}:certKey={session_certificate}'\n",
        key = identity.key.display(),
        certificate = identity.certificate.display(),
        session_key = of_address.key.display(),
        session_certificate = of_address.certificate.display(),
    );
    let master = cluster.member("master", "web,scheduler,engine,gateway", &config);
    let socket = cluster.site.path("master/pb.sock");
    let strings = [
        ("w4", format!("tcp:127.0.0.1:{plain}")),
        ("w6", format!("tcp:\\:\\:1:{plain}")),
        ("wtls", format!("tls:localhost:{tls}")),
        ("wunix", format!("unix:{}", socket.display())),
    ];
    let mut workers = Vec::new();
    for (name, string) in &strings {
        let place = format!("worker-{name}");
        let option = format!("--connection-string={string}");
        let mut worker = StockWorker::create(
            &cluster.site,
            &place,
            name,
            Release::Current,
            Protocol::Pb,
            master.pb,
            &[&option],
        );
        worker.start_with(&[("SSL_CERT_FILE", authority.file().to_str().unwrap())]);
        workers.push(worker);
    }
    // Muster's own worker, too.
    let mut own =
        binary::command(&["worker", "--name", "own", "--master", &format!("wss://{address}:{sessions}")]);
    own.arg(cluster.site.path("own"))
        .env("MUSTER_WORKER_PASSWORD", "secret")
        .env("SSL_CERT_FILE", authority.file());
    let _own = Process::start(&mut own, &cluster.site.path("own.log"));
    for name in strings.iter().map(|(name, _)| *name).chain(["own"]) {
        let connected =
            |worker: &serde_json::Value| worker["connected_to"].as_array().is_some_and(|to| !to.is_empty());
        until(&format!("worker {name}"), || {
            master.rest.try_get(&format!("workers/{name}")).ok()?["workers"]
                .as_array()?
                .iter()
                .any(connected)
                .then_some(())
        });
    }
}

#[test]
fn an_engine_whose_certificate_ran_out_gets_no_worker_until_it_has_another_one() {
    let authority = Authority::new();
    let cluster = Cluster { trusted: Some(authority.file()), ..Cluster::new() };
    let address = Site::address().to_string();
    let expired = authority.expired_identity(&address);
    let sessions = Site::free_port();
    let config = format!(
        "c['workers'] = [worker.Worker(name, 'secret') for name in ('w1', 'own')]\n\
         c['protocols']['session'] = {{'port': 'ssl:{sessions}:interface={address}:privateKey={key}:certKey={certificate}'}}\n",
        key = expired.key.display(),
        certificate = expired.certificate.display(),
    );
    let mut engine = cluster.member("engine", "web,scheduler,engine", &config);
    engine.process().wait_for("ran out");
    let mut gateway = cluster.member("gateway", "gateway", &config);
    let mut worker = cluster.worker("worker", Protocol::Pb, &gateway, &[]);
    let mut own =
        binary::command(&["worker", "--name", "own", "--master", &format!("wss://{address}:{sessions}")]);
    own.arg(cluster.site.path("own"))
        .env("MUSTER_WORKER_PASSWORD", "secret")
        .env("SSL_CERT_FILE", authority.file());
    let mut own = Process::start(&mut own, &cluster.site.path("own.log"));
    // Both say why, and neither ends.
    own.wait_for("certificate expired");
    gateway.process().wait_for("certificate expired");
    assert!(own.is_running() && worker.process().is_running());
    for name in ["own", "w1"] {
        assert_eq!(engine.rest.one(&format!("workers/{name}"))["connected_to"], json!([]));
    }

    authority.identity(&address);
    engine.kill();
    engine.start();
    engine.rest.wait_for_worker("own");
    engine.rest.wait_for_worker("w1");
    let request = engine.rest.force("quick", json!({}));
    engine.rest.built(request, Results::Success);
}
