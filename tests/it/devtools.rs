//! A headless Chromium, driven over its DevTools protocol.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use muster_tests::{Process, Site, until};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

/// How long one answer may take; the first page of a cold browser is the slowest.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The flags of every test: nothing that reaches out, nothing that needs a screen or a sandbox of its own.
const FLAGS: [&str; 11] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1200,900",
];

/// A browser with one page.
pub struct Browser {
    socket: WebSocket<TcpStream>,
    /// Whom calls are for, once there is a page.
    page: Option<Value>,
    last_id: u64,
    _process: Process,
}

impl Browser {
    /// Starts one.
    ///
    /// # Panics
    /// When there is no Chromium: a test that is left out silently is worse than one that fails.
    pub fn start(site: &Site) -> Browser {
        let mut command = Command::new(program());
        command.args(FLAGS).arg(format!("--user-data-dir={}", site.path("chromium").display()));
        command.current_dir(site.path(""));
        let mut process = Process::start(&mut command, &site.path("chromium.log"));
        let said = process.wait_for("DevTools listening on ws://");
        let (_, rest) = said.split_once("DevTools listening on ws://").unwrap();
        let address = rest.split_whitespace().next().unwrap();
        let stream = TcpStream::connect(address.split('/').next().unwrap()).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let (socket, _) = client(format!("ws://{address}"), stream).unwrap();
        let mut browser = Browser { socket, page: None, last_id: 0, _process: process };
        let page = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": page["targetId"], "flatten": true});
        browser.page = Some(browser.call("Target.attachToTarget", attach)["sessionId"].clone());
        browser
    }

    /// Goes to an address and waits until its document is there.
    pub fn go(&mut self, address: &str) {
        let went = self.call("Page.navigate", json!({"url": address}));
        assert!(went["errorText"].is_null(), "{address}: {went}");
        self.wait_for(&format!("document.readyState === 'complete' && location.href === {}", json!(address)));
    }

    /// Opens a page that leads elsewhere by itself.
    pub fn visit(&mut self, address: &str) {
        let went = self.call("Page.navigate", json!({"url": address}));
        assert!(went["errorText"].is_null(), "{address}: {went}");
    }

    /// The value of an expression in the page.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let answer = self.call("Runtime.evaluate", json!({"expression": expression, "returnByValue": true}));
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait_for(&mut self, expression: &str) {
        until(&format!("{expression} in the page"), || {
            // While a page gives way to the next one there is nobody to ask.
            let asked = json!({"expression": expression, "returnByValue": true});
            let answer = self.try_call("Runtime.evaluate", asked).ok()?;
            (answer["result"]["value"] == json!(true)).then_some(())
        });
    }

    /// Saves what the page shows as `target/screenshots/NAME.png`; answers the path.
    pub fn screenshot(&mut self, name: &str) -> PathBuf {
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let bytes = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/screenshots");
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.canonicalize().unwrap().join(format!("{name}.png"));
        std::fs::write(&path, bytes).unwrap();
        eprintln!("screenshot: {}", path.display());
        path
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.last_id += 1;
        let mut call = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(page) = &self.page {
            call["sessionId"] = page.clone();
        }
        self.socket.send(Message::text(call.to_string())).unwrap();
        loop {
            // Everything else are events that nobody waits for.
            let Message::Text(text) = self.socket.read().unwrap() else { continue };
            let mut answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == json!(self.last_id) {
                return match answer["error"].take() {
                    Value::Null => Ok(answer["result"].take()),
                    error => Err(error),
                };
            }
        }
    }
}

fn program() -> PathBuf {
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut candidates = std::env::split_paths(&directories).flat_map(|dir| names.map(|name| dir.join(name)));
    candidates.find(|path| path.is_file()).expect("this test needs Chromium: apt-get install chromium")
}
