//! The log of requests, as tools read it, and the address of a socket in the file system.

use muster_tests::{Master, Site, http, until};

/// The log's lines, once there are `count`.
fn lines(master: &Master, name: &str, count: usize) -> Vec<String> {
    until(&format!("{count} lines in {name}"), || {
        let text = std::fs::read_to_string(master.path(name)).ok()?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
}

#[test]
fn requests_are_logged_in_the_combined_format() {
    let site = Site::new();
    let mut master = Master::new(&site, "builder('one', sh('true'))\n");
    master.start();
    http::request(master.web, "GET", "/builders?tag=%22%0a", None).unwrap();
    http::request(master.web, "GET", "/nothing", None).unwrap();
    let lines = lines(&master, "http.log", 2);
    let at = lines.iter().position(|line| line.contains("/builders?tag")).unwrap();
    assert!(lines[at].starts_with("127.") && lines[at].contains(" - - ["), "{}", lines[at]);
    assert!(lines[at].contains("+0000] \"GET /builders?tag=%22%0a HTTP/1.0\" 200 "), "{}", lines[at]);
    assert!(lines[at].ends_with(" \"-\" \"-\""), "{}", lines[at]);
    assert!(lines.iter().any(|line| line.contains("\"GET /nothing HTTP/1.0\" 404 ")), "{lines:?}");
    assert!(master.stop().success());
}

#[test]
fn the_access_log_is_rotated_renamed_and_left_out() {
    let site = Site::new();
    let own = "c['www'].update(logfileName='web.log', logRotateLength=1000, maxRotatedFiles=2)\nbuilder('one', sh('true'))\n";
    let mut master = Master::new(&site, own);
    master.start();
    for _ in 0..60 {
        http::request(master.web, "GET", "/livez", None).unwrap();
    }
    // Between two renames a number is missing for a moment.
    let size = |name: &str| std::fs::metadata(master.path(name)).ok().map(|file| file.len());
    let full = until("two full files", || size("web.log.1").filter(|_| size("web.log.2").is_some()));
    assert!(full < 1200, "{full} bytes in a file of 1 000");
    assert!(!master.path("web.log.3").exists() && !master.path("http.log").exists());
    assert!(master.stop().success());
    master.configure("c['www']['logfileName'] = None\nbuilder('one', sh('true'))\n");
    std::fs::remove_file(master.path("web.log")).unwrap();
    master.start();
    http::request(master.web, "GET", "/livez", None).unwrap();
    assert!(master.stop().success());
    assert!(!master.path("web.log").exists() && !master.path("http.log").exists());
}

#[test]
fn a_socket_in_the_file_system_is_told_by_its_file() {
    let site = Site::new();
    let config = "c['www']['port'] = 'unix:www.sock'\nbuilder('one', sh('true'))\n";
    let mut master = Master::new(&site, config);
    master.launch();
    let told = format!("the pages are at unix:{}", master.path("www.sock").display());
    master.process().wait_for(&told);
    master.process().wait_for("BuildMaster is running");
    assert!(std::os::unix::net::UnixStream::connect(master.path("www.sock")).is_ok());
    assert!(master.stop().success());
}
