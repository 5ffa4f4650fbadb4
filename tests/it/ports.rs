//! Ports that others have opened, and ports behind a proxy.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use muster_tests::{Master, Process, Results, Site, Worker, binary, until};
use serde_json::json;

/// Does what systemd does: opens the sockets, hands them over by number, and becomes the service.
const SYSTEMD: &str = r#"
import os, socket, sys
host, port, path = sys.argv[1:4]
tcp = socket.create_server((host, int(port)))
unix = socket.socket(socket.AF_UNIX)
unix.bind(path)
unix.listen()
# Out of the way of the numbers that are wanted.
high = [os.dup2(one.fileno(), 100 + number) for number, one in enumerate([unix, tcp])]
for number, one in enumerate(high):
    os.dup2(one, 3 + number, inheritable=True)
os.environ.update(LISTEN_FDS="2", LISTEN_FDNAMES="local:pages", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[4], sys.argv[4:])
"#;

#[test]
fn a_master_serves_on_the_sockets_that_systemd_has_opened() {
    let site = Site::new();
    let ports = "c['www']['port'] = 'systemd:domain=INET:name=pages'\n\
                 c['protocols']['session']['port'] = 'systemd:domain=UNIX:index=0'\n\
                 builder('hello', sh('echo hello'))\n";
    let master = Master::new(&site, ports);
    let checked = master.run("checkconfig");
    assert!(checked.status.success(), "{}", checked.said);
    let refused = master.run("start");
    assert!(!refused.status.success() && refused.said.contains("muster master DIR"), "{}", refused.said);

    let mut command = Command::new("python3");
    let (host, port) = (master.web.ip().to_string(), master.web.port().to_string());
    command.args(["-c", SYSTEMD, &host, &port]).arg(site.path("sessions.sock"));
    command.arg(binary::muster()).args(["master", master.dir()]);
    let mut process = Process::start(&mut command, &site.path("service.log"));
    let said = process.wait_for("BuildMaster is running");
    assert!(said.contains(&format!("unix:{}", site.path("sessions.sock").display())), "{said}");
    assert_eq!(master.rest().list("builders").len(), 1);
    // Nobody but the master has them: its Python process would keep them open beyond its end.
    let sockets = |pid: u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        files
            .filter(|file| file.as_ref().is_ok_and(|file| file.file_name() == "3" || file.file_name() == "4"))
            .filter_map(|file| fs::read_link(file.unwrap().path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    };
    assert_eq!(sockets(process.id()), 2);
    assert!(process.stop().success());
}

/// A balancer that passes connections on with the header of a client in a documentation's network.
fn balancer(to: SocketAddr, header: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind((Site::address(), 0)).unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(to).unwrap());
            server.write_all(&header).unwrap();
            let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || {
                // Either end may break off.
                let _ = std::io::copy(&mut from_server, &mut to_client);
                let _ = to_client.shutdown(Shutdown::Both);
            });
            thread::spawn(move || {
                let _ = std::io::copy(&mut client, &mut server);
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    at
}

#[test]
fn behind_a_proxy_the_master_sees_who_connects_and_refuses_whoever_comes_without_its_header() {
    let site = Site::new();
    let ports = "for www in [c['www'], c['protocols']['session']]: www['port'] = 'haproxy:' + www['port']\n\
                 builder('hello', sh('echo hello'))\n";
    let mut master = Master::new(&site, ports);
    let checked = master.run("checkconfig");
    assert!(checked.status.success(), "{}", checked.said);
    master.launch();
    master.process().wait_for("BuildMaster is running");

    let pages = balancer(master.web, b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 80\r\n".to_vec());
    let binary =
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &[192, 0, 2, 8, 10, 0, 0, 1, 19, 136, 0, 80]];
    let workers = balancer(master.sessions, binary.concat());
    let rest = muster_tests::Rest(pages);
    let mut worker = Worker::new(&site, "w1", workers);
    worker.start();
    rest.wait_for_worker("w1");
    rest.built(rest.force("hello", json!({})), Results::Success);
    let said = master.process().said();
    assert!(said.contains("peer=\"192.0.2.8:5000\""), "{said}");
    until("the access log names the client", || {
        let log = fs::read_to_string(master.path("http.log")).unwrap_or_default();
        (log.lines().count() > 0 && log.lines().all(|line| line.starts_with("192.0.2.7 "))).then_some(())
    });

    for port in [master.web, master.sessions] {
        let mut direct = TcpStream::connect(port).unwrap();
        direct.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        // It may be reset, because what it said was not read.
        let _ = direct.read_to_end(&mut answer);
        assert_eq!(answer, b"", "{port}");
    }
    master.process().wait_for_times("only a proxy that sends one (send-proxy) may connect here", 2);
    drop(worker);
    assert!(master.stop().success());
}
