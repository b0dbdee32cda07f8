//! A service seen through its endpoint.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use super::{LONG, Process, eventually, program};

/// A service whose endpoint is on a port of its own choice.
pub struct Observed {
    pub process: Process,
    pub address: String,
}

impl Observed {
    pub fn start(service: &str, url: &str) -> Self {
        Self::start_with(service, url, &[])
    }

    pub fn start_with(service: &str, url: &str, settings: &[&str]) -> Self {
        let arguments =
            ["--nats", url, "--set", "metrics.listen=127.0.0.1:0", "--set", "log.format=text"];
        let process = Process::start(
            Command::new(program(&format!("moliceiro-{service}"))).args(arguments).args(settings),
        );
        process.wait_for_stderr("metrics and health on http://", 1);
        let line = process
            .stderr()
            .into_iter()
            .find(|line| line.contains("metrics and health on"))
            .unwrap();
        let address = line.rsplit_once("http://").unwrap().1.trim().to_owned();
        Self { process, address }
    }

    /// The status and the body that a path answers with.
    pub fn get(&self, path: &str) -> (u16, String) {
        http_get(&self.address, path)
    }

    pub fn wait_until_ready(&self) {
        self.wait_for(|body| body["ready"] == true);
    }

    /// Waits until it is not ready because of a condition, for a reason with `part` in it.
    pub fn wait_until_not_ready(&self, condition: &str, part: &str) {
        self.wait_for(|body| {
            body["ready"] == false
                && body["conditions"][condition]
                    .as_str()
                    .is_some_and(|reason| reason.contains(part))
        });
    }

    fn wait_for(&self, awaited: impl Fn(&Value) -> bool) {
        let look = || {
            let (status, body) = self.get("/readyz");
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["ready"], status == 200, "{status} {body}");
            awaited(&body).then_some(())
        };
        eventually(Instant::now() + LONG, look)
            .unwrap_or_else(|| panic!("{}\n{:#?}", self.get("/readyz").1, self.process.stderr()));
    }
}

/// Asks as HTTP/1.0 does: the answer comes in one piece, and ends with the connection.
pub fn http_get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
