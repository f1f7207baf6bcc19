//! The lab's page as a browser lays it out: on a phone and in a window, light and dark.
//!
//! Chromium is driven over its own protocol (DevTools), because that sets the width to the pixel and the colour scheme;
//! the window of a headless one cannot be narrower than a few hundred pixels. What is wrong is looked for in the page
//! itself (`lab_page/check.js`): anything beside the window or wider than its box, texts of a chart that touch. The pictures
//! are left in the target folder, to be looked at.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

use crate::lab_report::page_in;

const CHECK: &str = include_str!("lab_page/check.js");

/// How long the browser may take for one answer before it counts as hung.
const DEADLINE: Duration = Duration::from_secs(120);

/// A browser with one empty page. It ends with this.
struct Browser {
    child: Child,
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    calls: u64,
    _profile: TempDir,
}

impl Browser {
    /// None where there is no Chromium.
    fn start() -> Option<Self> {
        let profile = tempfile::tempdir().expect("a temporary directory");
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--remote-debugging-port=0",
        ];
        let started = ["chromium", "chromium-browser"].into_iter().find_map(|name| {
            let mut command = Command::new(name);
            command.args(flags).arg(format!("--user-data-dir={}", profile.path().display()));
            command.arg("about:blank").stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(Stdio::piped()).spawn().ok()
        });
        let mut child = started?;
        let errors = BufReader::new(child.stderr.take().expect("piped"));
        let said = |line: std::io::Result<String>| {
            let line = line.expect("it writes text");
            line.split_once("DevTools listening on ws://").map(|(_, address)| address.to_owned())
        };
        let mut lines = errors.lines();
        let Some(address) = lines.by_ref().find_map(said) else {
            panic!("chromium ends before it listens: {}", child.wait().expect("our child"));
        };
        // It must never wait for us to read on.
        std::thread::spawn(move || lines.for_each(drop));
        let (host, _) = address.split_once('/').expect("an address and a path");
        let stream = TcpStream::connect(host).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        let (socket, _) = tungstenite::client(format!("ws://{address}"), stream).expect("DevTools");
        let mut browser = Self { child, socket, session: None, calls: 0, _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser.call("Page.enable", json!({}));
        Some(browser)
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        let id = self.send(method, parameters);
        loop {
            let mut told = self.read();
            if told["id"] == id {
                assert!(told["error"].is_null(), "{method}: {told}");
                return told["result"].take();
            }
            // What else it tells of is not asked for.
        }
    }

    /// Goes to `page`, and returns when it is loaded.
    fn open(&mut self, page: &Path) {
        let address = format!("file://{}", page.display());
        let id = self.send("Page.navigate", json!({ "url": address }));
        // In either order.
        let (mut is_there, mut is_loaded) = (false, false);
        while !(is_there && is_loaded) {
            let told = self.read();
            assert!(told["result"]["errorText"].is_null(), "{address}: {told}");
            is_there |= told["id"] == id;
            is_loaded |= told["method"] == "Page.loadEventFired";
        }
    }

    /// Returns the number that the answer will have.
    fn send(&mut self, method: &str, parameters: Value) -> u64 {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            call["sessionId"] = session.as_str().into();
        }
        self.socket.send(Message::text(call.to_string())).expect("it reads");
        self.calls
    }

    /// The next answer or event.
    fn read(&mut self) -> Value {
        loop {
            let message = self.socket.read().expect("it says something within the deadline");
            if let Message::Text(text) = message {
                return serde_json::from_str(&text).expect("JSON");
            }
        }
    }

    /// What a body of JavaScript returns.
    fn evaluate(&mut self, body: &str) -> Value {
        let ask = json!({ "expression": format!("(() => {{ {body} }})()"), "returnByValue": true });
        let mut told = self.call("Runtime.evaluate", ask);
        assert!(told["exceptionDetails"].is_null(), "{told}");
        told["result"]["value"].take()
    }

    fn picture(&mut self) -> Vec<u8> {
        let taken = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends its own processes; killed, it would leave them.
        self.session = None;
        let close = json!({ "id": 0, "method": "Browser.close" });
        if self.socket.send(Message::text(close.to_string())).is_err() {
            // Fails if it has ended, which is as well.
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

#[test]
fn the_page_fits_phones_and_windows_light_and_dark() {
    let Some(mut browser) = Browser::start() else {
        eprintln!("skipped: no chromium to lay the page out; apt-get install chromium");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let page = page_in(folder.path());
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab-page");
    fs::create_dir_all(&pictures).expect("the target folder can be written");
    let mut grounds = Vec::new();
    for (width, height) in [(360, 800), (1280, 800)] {
        for scheme in ["light", "dark"] {
            let size = json!({
                "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500,
            });
            browser.call("Emulation.setDeviceMetricsOverride", size);
            let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
            browser.call("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
            browser.open(&page);
            let place = format!("{width}x{height}-{scheme}");
            fs::write(pictures.join(format!("{place}.png")), browser.picture()).expect("written");
            let open = "for (const one of document.querySelectorAll('details')) one.open = true;";
            let wrong = browser.evaluate(&format!("{open}{CHECK}"));
            assert_eq!(wrong, json!([]), "{place}");
            grounds.push(browser.evaluate("return getComputedStyle(document.body).color"));
        }
    }
    assert_eq!((&grounds[0], &grounds[1]), (&grounds[2], &grounds[3]));
    assert_ne!(grounds[0], grounds[1], "dark is dark");
}
