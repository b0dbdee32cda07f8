//! The web page, in a real browser.

mod counting;
mod keyboard;
mod models;
mod options;
mod places;
mod problems;
mod served;

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::browser::Browser;
use moliceiro_testing::ingest::IngestApi;
use moliceiro_testing::process::{self, Process};
use moliceiro_testing::server::Server;
use serde_json::Value;

const TAB: &str = "\u{E004}";
const ENTER: &str = "\u{E007}";
const RIGHT: &str = "\u{E014}";

/// The services behind the page.
struct Site {
    _services: [Process; 2],
    http: IngestApi,
    folder: tempfile::TempDir,
    _server: Server,
}

impl Site {
    fn start(settings: &[&str]) -> Self {
        let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
        let config = folder.path().join("moliceiro.toml");
        fs::write(&config, "[aggregator]\nalarms = [\"person >= 3\"]\n").unwrap();
        let services = ["aggregator", "detector"].map(|name| {
            let mut command = process::service(name);
            let process = Process::start(
                command.arg("--config").arg(&config).args(["--nats", &server.url()]),
            );
            process.wait_for_stderr("is ready", 1);
            process
        });
        Self {
            _services: services,
            http: IngestApi::start(&server, settings),
            folder,
            _server: server,
        }
    }

    fn url(&self) -> String {
        format!("http://{}/", self.http.address)
    }

    /// The only video there is.
    fn video(&self) -> Value {
        let videos = self.http.get("/videos").json()["videos"].as_array().unwrap().clone();
        assert_eq!(videos.len(), 1, "{videos:?}");
        videos[0].clone()
    }
}

/// Takes screenshots for the documentation if `MOLICEIRO_SCREENSHOTS` names a folder.
async fn picture(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os("MOLICEIRO_SCREENSHOTS") {
        browser.script("scrollTo(0, 0)").await;
        // Animations end.
        tokio::time::sleep(Duration::from_secs(1)).await;
        browser.screenshot(&Path::new(&folder).join(name), false).await;
    }
}
