//! An ingest, and a client of its HTTP API.

use std::io::Write;
use std::net::TcpStream;

use async_nats::jetstream;
use futures_util::StreamExt;
use serde_json::Value;

use crate::http::Reply;
use crate::process::{Process, service};
use crate::server::Server;
use crate::{HANG_GUARD, until};

/// An ingest with its HTTP API on a port that the system chose.
pub struct IngestApi {
    pub process: Process,
    pub address: String,
}

impl IngestApi {
    pub fn start(server: &Server, settings: &[&str]) -> Self {
        Self::start_at(&server.url(), settings)
    }

    /// As [`Self::start`], on any server.
    pub fn start_at(url: &str, settings: &[&str]) -> Self {
        let mut command = service("ingest");
        command.args([
            "--nats",
            url,
            "--log",
            "info",
            "--listen",
            "127.0.0.1:0",
            "--set",
            "streams.upload_ack_wait=1s",
        ]);
        let process =
            Process::start(command.args(settings.iter().flat_map(|setting| ["--set", setting])));
        let line = process.stderr_line("listening for HTTP");
        let log: Value = serde_json::from_str(&line).unwrap();
        Self { process, address: log["address"].as_str().unwrap().to_owned() }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(HANG_GUARD)).unwrap();
        stream
    }

    /// Sends a request. `first` is its method and path, then headers. With HTTP/1.0 an answer
    /// has no chunks.
    pub fn send(&self, first: &[&str], body: &[u8]) -> Reply {
        self.send_to(&self.address, first, body)
    }

    /// As [`Self::send`], with another `Host`.
    pub fn send_to(&self, host: &str, first: &[&str], body: &[u8]) -> Reply {
        let mut stream = self.connect();
        let mut head =
            format!("{} HTTP/1.0\r\nhost: {host}\r\ncontent-length: {}\r\n", first[0], body.len());
        first[1..].iter().for_each(|header| head += &format!("{header}\r\n"));
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A server that refuses a request need not read all of it.
        stream.write_all(body).ok();
        Reply::read(stream).unwrap()
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send(&[&format!("GET {path}")], b"")
    }

    /// Uploads a body, and returns the video's id.
    pub fn upload(&self, first: &[&str], body: &[u8]) -> String {
        let reply = self.send(first, body);
        assert_eq!(reply.status, 202, "{}\n{}", reply.head, reply.text());
        let id = reply.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(reply.header("location"), Some(format!("/videos/{id}").as_str()));
        id
    }

    /// Follows a video to its end, and returns kind and data of its events.
    pub fn events(&self, id: &str) -> Vec<(String, Value)> {
        let text = self.get(&format!("/videos/{id}/events")).text();
        let event = |block: &str| {
            let field =
                |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            Some((field("event:")?.to_owned(), serde_json::from_str(field("data:")?).unwrap()))
        };
        text.split("\n\n").filter_map(event).collect()
    }

    /// Waits for a video's summary.
    pub fn summary(&self, id: &str) -> Value {
        let events = self.events(id);
        let (kind, summary) = events.last().unwrap_or_else(|| panic!("no events of {id}"));
        assert_eq!(kind, "summary", "{events:?}");
        summary.clone()
    }
}

/// How many uploaded files the object store holds.
pub async fn stored_objects(jetstream: &jetstream::Context) -> usize {
    until("the server says what it holds", async || {
        // A server that writes gigabytes to a busy disk may not answer in time.
        let stream = jetstream.get_stream("OBJ_uploads").await.ok()?;
        Some(stream.info_with_subjects("$O.uploads.C.*").await.ok()?.count().await)
    })
    .await
}
