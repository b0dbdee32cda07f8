//! Debian's Chromium, headless, driven over WebDriver.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;
use url::Url;

use moliceiro_testing::paths::test_tool;
use moliceiro_testing::process::Process;
use moliceiro_testing::{HANG_GUARD, until};

/// The name of an element's id in the protocol.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Sends a command of the WebDriver protocol, <https://www.w3.org/TR/webdriver2/>, or of
/// chromedriver's own, and returns the value of the answer.
async fn post(http: &Client, url: &str, body: &Value) -> Value {
    answer(http.post(url).header("content-type", "application/json").body(body.to_string())).await
}

async fn answer(request: RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    let (url, status) = (answer.url().clone(), answer.status());
    let mut answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert!(status.is_success(), "{url}: {answer}");
    answer["value"].take()
}

pub struct Browser {
    http: Client,
    session: String,
    driver: String,
    _process: Process,
    pub downloads: TempDir,
}

impl Browser {
    pub async fn open(page: &str) -> Self {
        let (process, driver) = start_driver();
        // Chromium's own sandbox needs a user who is not root, or namespaces that containers lack.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--window-size=1360,1100",
        ];
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        });
        let http = Client::new();
        let capabilities = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let started = post(&http, &format!("http://{driver}/session"), &capabilities).await;
        let session = started["sessionId"].as_str().unwrap().to_owned();
        let downloads = tempfile::tempdir().unwrap();
        let browser = Self { http, session, driver, _process: process, downloads };
        let folder = json!({ "behavior": "allow", "downloadPath": browser.downloads.path() });
        browser.dev_tools("Browser.setDownloadBehavior", folder).await;
        browser.command("url", json!({ "url": page })).await;
        browser
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/session/{}/{path}", self.driver, self.session)
    }

    async fn command(&self, path: &str, body: Value) -> Value {
        post(&self.http, &self.url(path), &body).await
    }

    /// The path of the first element that the selector matches.
    async fn element(&self, css: &str) -> String {
        let found = json!({ "using": "css selector", "value": css });
        let found = self.command("element", found).await;
        format!("element/{}", found[ELEMENT].as_str().unwrap())
    }

    /// Entries since the last call: `browser` or `performance`.
    async fn log(&self, kind: &str) -> Vec<Value> {
        let Value::Array(entries) = self.command("se/log", json!({ "type": kind })).await else {
            panic!("a list")
        };
        entries
    }

    /// A command of the Chrome DevTools Protocol.
    pub async fn dev_tools(&self, command: &str, parameters: Value) -> Value {
        self.command("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// Runs a function's body in the page, and returns its result.
    pub async fn script(&self, body: &str) -> Value {
        self.command("execute/sync", json!({ "script": body, "args": [] })).await
    }

    pub async fn text(&self, css: &str) -> String {
        self.script(&format!("return document.querySelector({css:?})?.textContent ?? ''"))
            .await
            .as_str()
            .unwrap()
            .trim()
            .to_owned()
    }

    /// The texts of all elements, including hidden ones.
    pub async fn texts(&self, css: &str) -> Vec<String> {
        let texts = self
            .script(&format!(
                "return [...document.querySelectorAll({css:?})].map((e) => e.textContent.trim())"
            ))
            .await;
        serde_json::from_value(texts).unwrap()
    }

    pub async fn is_visible(&self, css: &str) -> bool {
        let path = format!("{}/displayed", self.element(css).await);
        answer(self.http.get(self.url(&path))).await == json!(true)
    }

    /// Waits until a JavaScript expression is true.
    pub async fn wait_for(&self, expression: &str) {
        let script = format!("return Boolean({expression})");
        let deadline = Instant::now() + HANG_GUARD;
        while self.script(&script).await != json!(true) {
            if Instant::now() > deadline {
                self.screenshot(&std::env::temp_dir().join("moliceiro-page.png"), false).await;
                panic!("{expression} does not become true: {}", self.text("body").await);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn wait_for_state(&self, state: &str) {
        self.wait_for(&format!("document.querySelector('#state').textContent === {state:?}")).await;
    }

    pub async fn click(&self, css: &str) {
        self.command(&format!("{}/click", self.element(css).await), json!({})).await;
    }

    pub async fn keys(&self, css: &str, keys: &str) {
        let path = format!("{}/value", self.element(css).await);
        self.command(&path, json!({ "text": keys })).await;
    }

    /// Presses keys for the element that has the focus.
    pub async fn press(&self, keys: &str) {
        let press =
            |key: char| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key }));
        let keyboard = keys.chars().flat_map(press).collect::<Vec<_>>();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": keyboard });
        self.command("actions", json!({ "actions": [keyboard] })).await;
    }

    /// Presses keys while another is held.
    pub async fn press_with(&self, held: &str, keys: &str) {
        let key = |kind: &str, key: &str| json!({ "type": kind, "value": key });
        let mut actions = vec![key("keyDown", held)];
        for pressed in keys.chars().map(String::from) {
            actions.extend(["keyDown", "keyUp"].map(|kind| key(kind, &pressed)));
        }
        actions.push(key("keyUp", held));
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.command("actions", json!({ "actions": [keyboard] })).await;
    }

    /// Clicks at places of an element, in shares of its width and height from its upper left
    /// corner.
    pub async fn click_at(&self, css: &str, places: &[[f64; 2]]) {
        for place in places {
            self.drag(css, *place, *place).await;
        }
    }

    /// Moves the mouse from one place of an element to another with its button held.
    pub async fn drag(&self, css: &str, from: [f64; 2], to: [f64; 2]) {
        let corner = format!(
            "const element = document.querySelector({css:?}); \
             element.scrollIntoView({{ block: 'center' }}); \
             const {{ left, top, width, height }} = element.getBoundingClientRect(); \
             return [left, top, width, height]"
        );
        let corner: [f64; 4] = serde_json::from_value(self.script(&corner).await).unwrap();
        let [left, top, width, height] = corner;
        let go = |[x, y]: [f64; 2]| {
            let (x, y) = ((left + x * width).round() as i64, (top + y * height).round() as i64);
            json!({ "type": "pointerMove", "duration": 0, "x": x, "y": y })
        };
        let button = |kind: &str| json!({ "type": kind, "button": 0 });
        let actions = [go(from), button("pointerDown"), go(to), button("pointerUp")];
        let mouse = json!({ "type": "pointer", "id": "mouse", "actions": actions });
        self.command("actions", json!({ "actions": [mouse] })).await;
    }

    /// The `id` of the element that has the focus, or else its text.
    pub async fn focus(&self) -> String {
        self.script(
            "const { id, textContent } = document.activeElement; return id || textContent.trim()",
        )
        .await
        .as_str()
        .unwrap()
        .to_owned()
    }

    pub async fn choose_files(&self, files: &[PathBuf]) {
        let files: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
        self.keys("#files", &files.join("\n")).await;
    }

    pub async fn choose(&self, css: &str, value: &str) {
        self.click(&format!("{css} option[value={value:?}]")).await;
    }

    pub async fn set_dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        self.dev_tools(
            "Emulation.setEmulatedMedia",
            json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] }),
        )
        .await;
    }

    pub async fn screenshot(&self, file: &Path, whole: bool) {
        let shot = self
            .dev_tools(
                "Page.captureScreenshot",
                json!({ "format": "png", "captureBeyondViewport": whole }),
            )
            .await;
        std::fs::write(file, BASE64_STANDARD.decode(shot["data"].as_str().unwrap()).unwrap())
            .unwrap();
    }

    /// Accessibility violations that axe-core finds.
    pub async fn barriers(&self) -> Vec<String> {
        let axe = std::fs::read_to_string(test_tool("axe.min.js")).unwrap();
        let done = "const done = arguments[0]; axe.run(document, { resultTypes: ['violations'] })\
                    .then((found) => done(found.violations));";
        let script = json!({ "script": format!("{axe};{done}"), "args": [] });
        let found = self.command("execute/async", script).await;
        let describe = |violation: &Value| {
            let places = violation["nodes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|node| format!("{} {}", node["target"], node["failureSummary"]));
            format!("{}: {}", violation["help"], places.collect::<Vec<_>>().join("; "))
        };
        found.as_array().unwrap().iter().map(describe).collect()
    }

    /// Errors on the console, including violations of the security policy.
    pub async fn errors(&self) -> Vec<String> {
        let log = self.log("browser").await;
        let entries = log.iter().filter(|entry| entry["level"] == "SEVERE");
        entries.map(|entry| entry["message"].to_string()).collect()
    }

    /// All URLs that the page has requested.
    pub async fn requests(&self) -> Vec<Url> {
        let log = self.log("performance").await;
        let request = |entry: &Value| {
            let message: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            let message = &message["message"];
            (message["method"] == "Network.requestWillBeSent")
                .then(|| message["params"]["request"]["url"].as_str().unwrap().parse().unwrap())
        };
        log.iter().filter_map(request).collect()
    }

    /// Waits for a file that the page saves. The browser reserves its name with an empty file.
    pub async fn saved(&self, name: &str) -> String {
        let path = self.downloads.path().join(name);
        let content = || std::fs::read_to_string(&path).ok().filter(|text| !text.is_empty());
        until(name, async || content()).await
    }
}

/// chromedriver chooses a port that is free for IPv6, and exits if it is in use for IPv4.
fn start_driver() -> (Process, String) {
    loop {
        let process = Process::start(Command::new("chromedriver").arg("--port=0"));
        let line = process.stdout_line_of(&["successfully on port", "port not available"]);
        if let Some((_, port)) = line.rsplit_once("successfully on port ") {
            let port = port.trim_end_matches('.');
            return (process, format!("127.0.0.1:{port}"));
        }
    }
}

/// If chromedriver alone is killed, the browser keeps running.
impl Drop for Browser {
    fn drop(&mut self) {
        let Ok(mut stream) = TcpStream::connect(&self.driver) else { return };
        // A session that cannot be deleted ends with the driver.
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok();
        let request = format!(
            "DELETE /session/{} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.session, self.driver
        );
        stream.write_all(request.as_bytes()).ok();
        stream.read_to_end(&mut Vec::new()).ok();
    }
}
