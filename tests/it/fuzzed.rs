//! REST, pages, calls and hooks under random requests, on the three engines: no answer of 500 or above but those of
//! Buildbot, no SQL in an answer, no hang, no panic (which [`muster_tests::Process`] looks for).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use fastrand::Rng;
use flate2::read::GzDecoder;
use muster_tests::{MariaDb, Master, Postgres, Results, Site};
use serde_json::{Value, json};

const CONFIG: &str = r#"
c['www']['change_hook_dialects'] = {'base': True}
builder('b', sh('echo hello; echo error: x >&2', name='works'))
"#;
/// Requests on each engine.
const REQUESTS: usize = 1_500;
/// An answer that takes longer hangs.
const HANGS: Duration = Duration::from_secs(20);
/// What Buildbot answers to calls with 500 or 501 in these words, and Muster as well.
const COMPATIBLE: [&str; 5] = [
    "is not supported",
    "is missing",
    "there is no ForceScheduler",
    "there is no build",
    "builderNames not specified",
];

#[test]
fn random_requests_on_sqlite() {
    fuzz("");
}

#[test]
fn random_requests_on_postgres() {
    let server = Postgres::start();
    fuzz(&format!("c['db'] = {{'db_url': {:?}}}\n", server.url("buildbot")));
}

#[test]
fn random_requests_on_mariadb() {
    let server = MariaDb::start();
    fuzz(&format!("c['db'] = {{'db_url': {:?}}}\n", server.url("buildbot")));
}

fn fuzz(database: &str) {
    let site = Site::new();
    let mut master = Master::new(&site, &format!("{CONFIG}{database}"));
    assert!(master.run("upgrade-master").status.success());
    let rest = master.start();
    let worker = master.start_worker(&site);
    for _ in 0..3 {
        rest.built(rest.force("b", json!({})), Results::Success);
    }
    drop(worker);
    let seed = std::env::var("MUSTER_FUZZ_SEED").map_or(14, |seed| seed.parse().unwrap());
    let mut random = Rng::with_seed(seed);
    let mut seen = [0_usize; 6];
    for number in 0..REQUESTS {
        let request = Request::random(&mut random);
        let context = || format!("seed {seed}, request {number}: {request:?}");
        let (status, body) =
            request.send(master.web).unwrap_or_else(|error| panic!("{error}: {}", context()));
        seen[usize::from(status / 100).min(5)] += 1;
        let compatible = request.method == "POST"
            && request.target.starts_with("/api/v2")
            && COMPATIBLE.iter().any(|words| body.contains(words));
        assert!(status < 500 || status < 502 && compatible, "{status} {body}\n{}", context());
        for words in ["SELECT ", "INSERT INTO", "UPDATE ", "DELETE FROM", "SQLSTATE"] {
            let is_shown = body.contains(words) && !request.body.contains(words);
            assert!(!is_shown, "SQL in an answer: {body}\n{}", context());
        }
    }
    assert!(seen[2] > REQUESTS / 10 && seen[4] > REQUESTS / 10, "{seen:?}");
    // It is as before.
    assert_eq!(rest.list("builds?limit=1").len(), 1);
    assert!(master.stop().success());
}

#[derive(Debug)]
struct Request {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

const LISTS: [&str; 16] = [
    "builds",
    "builders",
    "buildrequests",
    "buildsets",
    "changes",
    "changesources",
    "masters",
    "schedulers",
    "sourcestamps",
    "workers",
    "steps",
    "logs",
    "forceschedulers",
    "projects",
    "test_result_sets",
    "codebases",
];
const BELOW: [&str; 14] = [
    "builds",
    "steps",
    "logs",
    "contents",
    "raw",
    "raw_inline",
    "properties",
    "property_list",
    "changes",
    "workers",
    "data",
    "buildrequests",
    "stop",
    "triggered_builds",
];
const FIELDS: [&str; 18] = [
    "buildid",
    "number",
    "results",
    "complete",
    "complete_at",
    "state_string",
    "name",
    "builderid",
    "tags",
    "priority",
    "claimed",
    "revision",
    "branch",
    "files",
    "masterids",
    "connected_to",
    "order",
    "ssid",
];
const OPS: [&str; 10] = ["", "__eq", "__ne", "__lt", "__le", "__gt", "__ge", "__contains", "__in", "__bogus"];
const PAGES: [&str; 12] = [
    "/",
    "/builders",
    "/builders/b",
    "/builders/b/builds/1",
    "/builders/b/builds/1/steps/0/logs/stdio",
    "/builders/b/force/force-b",
    "/pending",
    "/workers",
    "/workers/w1",
    "/changes",
    "/static/site.css",
    "/config",
];
const FORMS: [&str; 8] = [
    "/builders/b/builds/1/stop",
    "/builders/b/builds/1/rebuild",
    "/pending/cancel",
    "/pending/first",
    "/theme",
    "/builders/b/force/force-b",
    "/change_hook/base",
    "/change_hook",
];
const METHODS: [&str; 10] =
    ["stop", "rebuild", "cancel", "set_priority", "enable", "force", "kill", "pause", "unpause", "nonsense"];

fn one_of<'a>(random: &mut Rng, of: &[&'a str]) -> &'a str {
    of[random.usize(..of.len())]
}

/// A word as nobody expects it, not yet encoded.
fn word(random: &mut Rng) -> String {
    let long = [255, 256, 257, 513, 1_025, 5_000][random.usize(..6)];
    match random.u8(..22) {
        0..6 => random.i64(-2..5).to_string(),
        6 => (1_i64 << 31).to_string(),
        7 => "-2147483649".to_owned(),
        8 => i64::MAX.to_string(),
        9 => "99999999999999999999999".to_owned(),
        10 => "x".repeat(long),
        11 => "é😀".repeat(long / 4),
        12 => "\u{0}".to_owned(),
        13 => "' OR 1=1 --".to_owned(),
        14 => "%_!\\".to_owned(),
        15 => "../../etc/passwd".to_owned(),
        16 => "<script>alert(1)</script>".to_owned(),
        17 => "1e309".to_owned(),
        18 => "true".to_owned(),
        19 => "\r\nX-Evil: 1".to_owned(),
        20 => String::new(),
        _ => one_of(random, &["b", "w1", "force-b", "works", "stdio", "main", "*"]).to_owned(),
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn rest_path(random: &mut Rng) -> String {
    let mut path = format!("/api/v2/{}", one_of(random, &LISTS));
    for _ in 0..random.u8(..4) {
        let part = if random.bool() { encoded(&word(random)) } else { one_of(random, &BELOW).to_owned() };
        path += &format!("/{part}");
    }
    path
}

fn query(random: &mut Rng) -> String {
    let parameter = |random: &mut Rng| {
        let value = encoded(&word(random));
        match random.u8(..8) {
            0 => format!("limit={value}"),
            1 => format!("offset={value}"),
            2 => format!("order={}{}", one_of(random, &["", "-"]), one_of(random, &FIELDS)),
            3 => format!("field={}", one_of(random, &FIELDS)),
            4 => format!("property={}", one_of(random, &["*", "owner", "revision"])),
            5 => format!("q={value}&from={value}&count={value}"),
            _ => format!("{}{}={value}", one_of(random, &FIELDS), one_of(random, &OPS)),
        }
    };
    let count = if random.u8(..50) == 0 { random.usize(100..1_200) } else { random.usize(..4) };
    let parameters: Vec<String> = (0..count).map(|_| parameter(random)).collect();
    // What a head may have; a longer one is refused before anybody looks at it.
    let mut query = parameters.join("&");
    query.truncate(20_000);
    query
}

fn value(random: &mut Rng, depth: u32) -> Value {
    match random.u8(..9) {
        0 => Value::Null,
        1 => random.bool().into(),
        2 => random.i64(..).into(),
        3 => json!(1e300),
        4 if depth < 4 => (0..random.u8(..4)).map(|_| value(random, depth + 1)).collect(),
        5 if depth < 4 => json!({word(random): value(random, depth + 1)}),
        _ => word(random).into(),
    }
}

fn call(random: &mut Rng) -> String {
    let mut params = json!({});
    let names = [
        "priority",
        "reason",
        "enabled",
        "builderid",
        "branch",
        "revision",
        "repository",
        "project",
        "username",
        "builderNames",
        "owner",
        "property",
    ];
    for _ in 0..random.u8(..6) {
        params[one_of(random, &names)] = value(random, 0);
    }
    let call =
        json!({"jsonrpc": "2.0", "id": 1, "method": one_of(random, &METHODS), "params": params}).to_string();
    match random.u8(..10) {
        0 => call[..call.len() / 2].to_owned(),
        1 => value(random, 0).to_string(),
        2 => "[".repeat(random.usize(..5_000)),
        _ => call,
    }
}

fn form(random: &mut Rng) -> String {
    let names = [
        "id",
        "only",
        "reason",
        "theme",
        "back",
        "branch",
        "revision",
        "repository",
        "project",
        "username",
        "priority",
        "who",
        "author",
        "comments",
        "files",
        "properties",
        "when",
        "category",
        "revlink",
        "codebase",
    ];
    let field = |random: &mut Rng| format!("{}={}", one_of(random, &names), encoded(&word(random)));
    let fields: Vec<String> = (0..random.usize(..8)).map(|_| field(random)).collect();
    fields.join("&")
}

impl Request {
    fn random(random: &mut Rng) -> Request {
        let mut headers = browser(random);
        let (method, target, body) = match random.u8(..10) {
            0..4 => ("GET", format!("{}?{}", rest_path(random), query(random)), String::new()),
            4..6 => ("GET", format!("{}?{}", one_of(random, &PAGES), query(random)), String::new()),
            6 => (one_of(random, &["HEAD", "OPTIONS", "PUT", "DELETE"]), rest_path(random), String::new()),
            7 => {
                headers.push(("Content-Type", "application/json".to_owned()));
                ("POST", rest_path(random), call(random))
            }
            8 => {
                headers.push(("Content-Type", "application/json".to_owned()));
                ("POST", "/api/v2/forceschedulers/force-b".to_owned(), call(random))
            }
            _ => {
                headers.push(("Content-Type", "application/x-www-form-urlencoded".to_owned()));
                ("POST", one_of(random, &FORMS).to_owned(), form(random))
            }
        };
        Request { method, target, headers, body }
    }

    /// The status, and the body as far as it is text.
    fn send(&self, server: SocketAddr) -> Result<(u16, String), String> {
        let tell = |error: std::io::Error| error.to_string();
        let mut stream = TcpStream::connect(server).map_err(tell)?;
        stream.set_read_timeout(Some(HANGS)).map_err(tell)?;
        let mut head =
            format!("{} {} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n{}", self.body.len(), self.body);
        stream.write_all(head.as_bytes()).map_err(tell)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(tell)?;
        let end =
            answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or("an answer without its head")?;
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let body = &answer[end + 4..];
        let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or("no status")?;
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let is_whole = match length {
            _ if self.method == "HEAD" => true,
            Some(length) => length == body.len(),
            None => !head.contains("chunked") || body.ends_with(b"0\r\n\r\n"),
        };
        if !is_whole {
            return Err(format!("the answer is cut: {head}"));
        }
        let body = if head.contains("transfer-encoding: chunked") { unchunked(body)? } else { body.to_vec() };
        let body = if head.contains("content-encoding: gzip") && self.method != "HEAD" {
            let mut plain = Vec::new();
            GzDecoder::new(body.as_slice()).read_to_end(&mut plain).map_err(tell)?;
            plain
        } else {
            body
        };
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// The bytes of a body that came in chunks.
fn unchunked(mut body: &[u8]) -> Result<Vec<u8>, String> {
    let mut whole = Vec::new();
    while !body.is_empty() {
        let end = body.windows(2).position(|bytes| bytes == b"\r\n").ok_or("a chunk without its length")?;
        let length =
            std::str::from_utf8(&body[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let length = length.ok_or("a chunk whose length is none")?;
        let chunk = body.get(end + 2..end + 2 + length).ok_or("a chunk that is cut")?;
        whole.extend_from_slice(chunk);
        body = body.get(end + 4 + length..).unwrap_or_default();
    }
    Ok(whole)
}

/// The headers of a browser, mostly.
fn browser(random: &mut Rng) -> Vec<(&'static str, String)> {
    let encodings = ["gzip, deflate, br, zstd", "gzip, deflate", "identity", "*;q=0.1", ""];
    let accept = ["text/html,application/xhtml+xml,*/*;q=0.8", "application/json", "*/*", "nonsense"];
    let mut headers = vec![
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0".to_owned()),
        ("Accept", one_of(random, &accept).to_owned()),
        ("Accept-Encoding", one_of(random, &encodings).to_owned()),
        ("Accept-Language", "en-US,en;q=0.5".to_owned()),
    ];
    match random.u8(..12) {
        0 => headers.push(("Origin", "http://evil.example".to_owned())),
        1 => headers.push(("Sec-Fetch-Site", "cross-site".to_owned())),
        2 => headers.push(("Cookie", format!("muster_theme={}", encoded(&word(random))))),
        3 => headers.push(("If-None-Match", "\"x\"".to_owned())),
        4 => headers.push(("Range", "bytes=0-1".to_owned())),
        _ => headers.push(("Sec-Fetch-Site", "same-origin".to_owned())),
    }
    headers
}
