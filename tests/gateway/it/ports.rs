//! Stock workers over TLS, a local socket, IPv6, and several ports at once.

use muster_tests::stock::{Protocol, Release, StockWorker};
use muster_tests::{Site, process, until};

use crate::cluster::Cluster;

#[test]
fn workers_come_in_over_every_kind_of_port() {
    let cluster = Cluster::new();
    let (plain, tls) = (Site::free_port(), Site::free_port());
    let certificate = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    ];
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(certificate).current_dir(cluster.site.path(""));
    let made = process::run(&mut openssl, &cluster.site.path("openssl.log"));
    assert!(made.status.success(), "{}", made.said);
    let config = format!(
        "c['protocols']['pb']['port'] = [{plain}, 'ssl:{tls}:privateKey={{0}}/key.pem:certKey={{0}}/cert.pem'.format(SITE), \
         'unix:pb.sock:mode=600']\n\
         c['workers'] = [worker.Worker(name, 'secret') for name in ('w1', 'w4', 'w6', 'wtls', 'wunix')]\n"
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
        worker.start_with(&[("SSL_CERT_FILE", cluster.site.path("cert.pem").to_str().unwrap())]);
        workers.push(worker);
    }
    for (name, _) in &strings {
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
