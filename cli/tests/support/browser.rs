//! Debian's Chromium, headless, as a person's hands and eyes: driven over WebDriver.

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
use url::{ParseError, Url};

use super::{LONG, Process, project};

const LOOK: Duration = Duration::from_millis(50);

/// What chromedriver has beside the standard's commands.
#[derive(Debug)]
enum Own {
    /// A command of the Chrome DevTools Protocol.
    DevTools(&'static str, Value),
    /// What was logged since it was asked last: `browser` or `performance`.
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
        // A folder that is gone when the test is, wherever the program that is behind the name
        // keeps its own.
        let process = Process::start(Command::new("chromedriver").arg("--port=0"));
        let enough =
            |lines: &[String]| lines.iter().any(|line| line.contains("successfully on port"));
        let lines = process
            .out
            .wait(enough)
            .unwrap_or_else(|| panic!("chromedriver does not start: {:?}", process.stdout()));
        let port = lines
            .iter()
            .find_map(|line| line.split("successfully on port ").nth(1))
            .unwrap()
            .trim_end_matches('.');
        let driver = format!("127.0.0.1:{port}");
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

    /// Runs a function's body in the page, and gives what it returns.
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

    /// The texts of all elements, those that are hidden too.
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
        let deadline = Instant::now() + LONG;
        while self.script(&format!("return Boolean({expression})")).await != json!(true) {
            if Instant::now() > deadline {
                self.screenshot(&std::env::temp_dir().join("moliceiro-page.png"), false).await;
                panic!("{expression} does not become true: {}", self.text("body").await);
            }
            tokio::time::sleep(LOOK).await;
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

    /// Keys for whatever has the focus.
    pub async fn press(&self, keys: &str) {
        let press = |actions: KeyActions, value| {
            actions.then(KeyAction::Down { value }).then(KeyAction::Up { value })
        };
        let actions = keys.chars().fold(KeyActions::new("keyboard".to_owned()), press);
        self.client.perform_actions(actions).await.unwrap();
    }

    /// The `id` of what has the focus, or else its text.
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

    /// What axe-core finds wrong with the page for people who do not see it, or use no mouse.
    pub async fn barriers(&self) -> Vec<String> {
        let axe = project().join(".deps-tests/axe.min.js");
        let axe = std::fs::read_to_string(&axe)
            .unwrap_or_else(|e| panic!("{}: {e}; run `make setup-tests`", axe.display()));
        let done = "const done = arguments[0]; axe.run(document, { resultTypes: ['violations'] }).then((found) => done(found.violations));";
        let found = self.client.execute_async(&format!("{axe};{done}"), vec![]).await.unwrap();
        let tell = |violation: &Value| {
            let places = violation["nodes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|node| format!("{} {}", node["target"], node["failureSummary"]));
            format!("{}: {}", violation["help"], places.collect::<Vec<_>>().join("; "))
        };
        found.as_array().unwrap().iter().map(tell).collect()
    }

    /// Errors on the console, refusals of the security policy among them.
    pub async fn errors(&self) -> Vec<String> {
        let log = self.client.issue_cmd(Own::Log("browser")).await.unwrap();
        let entries = log.as_array().unwrap().iter().filter(|entry| entry["level"] == "SEVERE");
        entries.map(|entry| entry["message"].to_string()).collect()
    }

    /// What the page has asked for, wherever.
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
        let (path, deadline) = (self.downloads.path().join(name), Instant::now() + LONG);
        loop {
            match std::fs::read_to_string(&path) {
                Ok(text) => return text,
                Err(error) => assert!(Instant::now() < deadline, "{}: {error}", path.display()),
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Killed alone, chromedriver would leave the browser behind.
impl Drop for Browser {
    fn drop(&mut self) {
        let Ok(mut stream) = TcpStream::connect(&self.driver) else { return };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
        let request = format!(
            "DELETE /session/{} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.session, self.driver
        );
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_end(&mut Vec::new());
    }
}
