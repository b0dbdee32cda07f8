//! A service as its metrics and health endpoint shows it.

use serde_json::Value;

use crate::process::{self, Process};
use crate::{eventually, http};

/// A service with its endpoint on a port that the system chose.
pub struct ObservedService {
    pub process: Process,
    pub address: String,
}

impl ObservedService {
    pub fn start(service: &str, url: &str) -> Self {
        Self::start_with(service, url, &[])
    }

    pub fn start_with(service: &str, url: &str, settings: &[&str]) -> Self {
        let arguments =
            ["--nats", url, "--set", "metrics.listen=127.0.0.1:0", "--set", "log.format=text"];
        let process = Process::start(process::service(service).args(arguments).args(settings));
        let line = process.stderr_line("metrics and health on http://");
        let address = line.rsplit_once("http://").unwrap().1.trim().to_owned();
        Self { process, address }
    }

    /// The status and the body of a path.
    pub fn get(&self, path: &str) -> (u16, String) {
        let reply = http::get(&self.address, path);
        (reply.status, reply.text())
    }

    pub fn wait_until_ready(&self) {
        self.wait_for(|body| body["ready"] == true);
    }

    /// Waits until it is not ready because of a condition, for a reason that contains `part`.
    pub fn wait_until_not_ready(&self, condition: &str, part: &str) {
        self.wait_for(|body| {
            body["ready"] == false
                && body["conditions"][condition]
                    .as_str()
                    .is_some_and(|reason| reason.contains(part))
        });
    }

    fn wait_for(&self, reached: impl Fn(&Value) -> bool) {
        let check = || {
            let (status, body) = self.get("/readyz");
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["ready"], status == 200, "{status} {body}");
            reached(&body).then_some(())
        };
        eventually(check)
            .unwrap_or_else(|| panic!("{}\n{:#?}", self.get("/readyz").1, self.process.stderr()));
    }
}
