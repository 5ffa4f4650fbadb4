//! A worker that stays away is told about: by an event, and by mail.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, channel};

use muster_tests::wait::PATIENCE;
use muster_tests::{Master, Site, until};

/// A mail server that takes everything from everybody; answers the text of each mail.
fn sink(listener: TcpListener) -> Receiver<String> {
    let (sender, mails) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Some(mail) = take_mail(stream.unwrap()) else { continue };
            if sender.send(mail).is_err() {
                return;
            }
        }
    });
    mails
}

fn take_mail(mut stream: TcpStream) -> Option<String> {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut said = String::new();
    stream.write_all(b"220 sink\r\n").ok()?;
    let mut in_body = false;
    while let Some(Ok(line)) = lines.next() {
        said += &format!("{line}\n");
        let answer = match line.as_str() {
            "." if in_body => {
                stream.write_all(b"250 taken\r\n").ok()?;
                return Some(said);
            }
            _ if in_body => continue,
            "DATA" => {
                in_body = true;
                "354 go on\r\n"
            }
            hello if hello.starts_with("EHLO") => "250-sink\r\n250 AUTH PLAIN\r\n",
            login if login.starts_with("AUTH") => "235 welcome\r\n",
            _ => "250 ok\r\n",
        };
        stream.write_all(answer.as_bytes()).ok()?;
    }
    None
}

#[test]
fn a_missing_worker_is_told_by_an_event_and_by_mail_once_for_each_absence() {
    let site = Site::new();
    let listener = TcpListener::bind((Site::address(), 0)).unwrap();
    let smtp = listener.local_addr().unwrap();
    let mails = sink(listener);
    std::fs::create_dir(site.path("secrets")).unwrap();
    site.write("secrets/smtp", "s3cret");
    for (path, mode) in [("secrets", 0o700), ("secrets/smtp", 0o600)] {
        std::fs::set_permissions(site.path(path), Permissions::from_mode(mode)).unwrap();
    }
    let config = format!(
        r#"
from buildbot.plugins import reporters, secrets

c["secretsProviders"] = [secrets.SecretInAFile(dirname="{}")]
c["workers"] = [worker.Worker("w1", "secret", missing_timeout=2, notify_on_missing="ann@example.org")]
c["services"] = [
    reporters.MailNotifier(
        fromaddr="ci@example.org", relayhost="{}", smtpPort={},
        smtpUser="ci", smtpPassword=util.Secret("smtp"),
        sendToInterestedUsers=False, extraRecipients=["all@example.org"],
        generators=[reporters.WorkerMissingGenerator(workers=["w1"])],
    )
]
builder("b", sh("true", name="true"))
"#,
        site.path("secrets").display(),
        smtp.ip(),
        smtp.port()
    );
    let mut master = Master::new(&site, &config);
    master.start();
    let mut events = TcpStream::connect(master.web).unwrap();
    events.set_read_timeout(Some(PATIENCE)).unwrap();
    events.write_all(b"GET /sse/listen/workers/*/missing HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();

    for _ in 0..2 {
        let mut worker = master.start_worker(&site);
        worker.kill();
        let mail = mails.recv_timeout(PATIENCE).unwrap();
        for part in [
            // \0ci\0s3cret in base 64.
            "AUTH PLAIN AGNpAHMzY3JldA==",
            "MAIL FROM:<ci@example.org>",
            "RCPT TO:<ann@example.org>",
            "worker w1 missing",
        ] {
            assert!(mail.contains(part), "{part}: {mail}");
        }
        assert_eq!(mail.matches("RCPT TO").count(), 1, "exactly those whom the worker names: {mail}");
    }
    let mut told = String::new();
    let mut buffer = [0; 4096];
    while told.matches("last_connection").count() < 2 {
        let count = events.read(&mut buffer).unwrap();
        assert!(count > 0, "the events ended: {told}");
        told += &String::from_utf8_lossy(&buffer[..count]);
    }
    assert!(told.contains("ann@example.org"), "{told}");
    assert_eq!(told.matches("last_connection").count(), 2, "{told}");
}

#[test]
fn a_mail_waits_for_its_server() {
    let (site, port) = (Site::new(), Site::free_port());
    let config = format!(
        r#"
from buildbot.plugins import reporters

c["workers"] = [worker.Worker("w1", "secret", missing_timeout=1, notify_on_missing="ann@example.org")]
c["services"] = [
    reporters.MailNotifier(
        fromaddr="ci@example.org", relayhost="{}", smtpPort={port},
        generators=[reporters.WorkerMissingGenerator(workers="all")],
    )
]
builder("b", sh("true", name="true"))
"#,
        Site::address(),
    );
    let mut master = Master::new(&site, &config);
    master.start();
    // It was never there, so it is missing.
    master.process().wait_for("could not be sent yet");
    let mails = sink(TcpListener::bind((Site::address(), port)).unwrap());
    // Two minutes later:
    master.database().execute("UPDATE muster_absent_workers SET told_at = told_at - 121 WHERE told = 1");
    assert!(mails.recv_timeout(PATIENCE).unwrap().contains("worker w1 missing"));
    until("the end of the report", || {
        (master.database().number("SELECT told FROM muster_absent_workers") == 2).then_some(())
    });
    assert!(mails.try_recv().is_err(), "one mail is enough");
}
