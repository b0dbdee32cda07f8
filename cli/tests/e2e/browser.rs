//! Debian's Chromium, headless, driven over WebDriver.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;
use url::{ParseError, Url};

use moliceiro_testing::paths::test_tool;
use moliceiro_testing::process::Process;
use moliceiro_testing::{HANG_GUARD, until};

/// Commands of chromedriver that the standard does not have.
#[derive(Debug)]
enum Own {
    /// A command of the Chrome DevTools Protocol.
    DevTools(&'static str, Value),
    /// Log entries since the last call: `browser` or `performance`.
    Log(&'static str),
}

impl WebDriverCompatibleCommand for Own {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        let command = match self {
            Self::DevTools(..) => "goog/cdp/execute",
            Self::Log(_) => "se/log",
        };
        base.join(&format!("session/{}/{command}", session.unwrap()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = match self {
            Self::DevTools(command, parameters) => json!({ "cmd": command, "params": parameters }),
            Self::Log(kind) => json!({ "type": kind }),
        };
        (Method::POST, Some(body.to_string()))
    }
}

pub struct Browser {
    client: Client,
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
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities.as_object().unwrap().clone());
        let client = builder.connect(&format!("http://{driver}")).await.unwrap();
        let session = client.session_id().await.unwrap().unwrap();
        let downloads = tempfile::tempdir().unwrap();
        let browser = Self { client, session, driver, _process: process, downloads };
        let folder = json!({ "behavior": "allow", "downloadPath": browser.downloads.path() });
        browser.dev_tools("Browser.setDownloadBehavior", folder).await;
        browser.client.goto(page).await.unwrap();
        browser
    }

    pub async fn dev_tools(&self, command: &'static str, parameters: Value) -> Value {
        self.client.issue_cmd(Own::DevTools(command, parameters)).await.unwrap()
    }

    /// Runs a function's body in the page, and returns its result.
    pub async fn script(&self, body: &str) -> Value {
        self.client.execute(body, vec![]).await.unwrap()
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
        self.client.find(Locator::Css(css)).await.unwrap().is_displayed().await.unwrap()
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
        self.client.find(Locator::Css(css)).await.unwrap().click().await.unwrap();
    }

    pub async fn keys(&self, css: &str, keys: &str) {
        self.client.find(Locator::Css(css)).await.unwrap().send_keys(keys).await.unwrap();
    }

    /// Presses keys for the element that has the focus.
    pub async fn press(&self, keys: &str) {
        let press = |actions: KeyActions, value| {
            actions.then(KeyAction::Down { value }).then(KeyAction::Up { value })
        };
        let actions = keys.chars().fold(KeyActions::new("keyboard".to_owned()), press);
        self.client.perform_actions(actions).await.unwrap();
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
        self.client.find(Locator::Css(css)).await.unwrap().select_by_value(value).await.unwrap();
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
        let found = self.client.execute_async(&format!("{axe};{done}"), vec![]).await.unwrap();
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
        let log = self.client.issue_cmd(Own::Log("browser")).await.unwrap();
        let entries = log.as_array().unwrap().iter().filter(|entry| entry["level"] == "SEVERE");
        entries.map(|entry| entry["message"].to_string()).collect()
    }

    /// All URLs that the page has requested.
    pub async fn requests(&self) -> Vec<Url> {
        let log = self.client.issue_cmd(Own::Log("performance")).await.unwrap();
        let request = |entry: &Value| {
            let message: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            let message = &message["message"];
            (message["method"] == "Network.requestWillBeSent")
                .then(|| message["params"]["request"]["url"].as_str().unwrap().parse().unwrap())
        };
        log.as_array().unwrap().iter().filter_map(request).collect()
    }

    /// Waits for a file that the page saves.
    pub async fn saved(&self, name: &str) -> String {
        let path = self.downloads.path().join(name);
        until(name, async || std::fs::read_to_string(&path).ok()).await
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
