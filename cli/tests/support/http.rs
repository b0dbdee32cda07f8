//! As much of HTTP as a test needs to be in control of every byte.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::Command;

use async_nats::jetstream;
use futures_util::StreamExt;
use moliceiro_nats::{NatsSettings, Patience, connect};
use serde_json::Value;

use super::{LONG, Process, Server, program};

pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    /// Reads until the server closes the connection.
    pub fn read(mut stream: impl Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        let end =
            bytes.windows(4).position(|w| w == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(Self { status, head, body: bytes[end + 4..].to_vec() })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}\n{}", self.head, self.text()))
    }

    /// Asserts that it is a problem of this status, as RFC 9457 has it.
    pub fn is_problem(&self, status: u16, part: &str) {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.head);
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().unwrap().contains(part), "{problem} lacks {part:?}");
    }
}

/// An ingest that takes HTTP at a port of its own.
pub struct Http {
    pub process: Process,
    pub address: String,
}

impl Http {
    pub fn start(server: &Server, settings: &[&str]) -> Self {
        Self::start_at(&server.url(), settings)
    }

    /// As [`Self::start`], with any server.
    pub fn start_at(url: &str, settings: &[&str]) -> Self {
        let mut command = Command::new(program("moliceiro-ingest"));
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
        process.wait_for_stderr("listening for HTTP", 1);
        let line =
            process.stderr().into_iter().find(|line| line.contains("listening for HTTP")).unwrap();
        let log: Value = serde_json::from_str(&line).unwrap();
        Self { process, address: log["address"].as_str().unwrap().to_owned() }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// `first` is the request's method and path, and headers after it if there are any. With
    /// HTTP/1.0 an answer has no chunks.
    pub fn send(&self, first: &[&str], body: &[u8]) -> Reply {
        self.send_to(&self.address, first, body)
    }

    /// As [`Self::send`], by another name of the service.
    pub fn send_to(&self, host: &str, first: &[&str], body: &[u8]) -> Reply {
        let mut stream = self.connect();
        let mut head =
            format!("{} HTTP/1.0\r\nhost: {host}\r\ncontent-length: {}\r\n", first[0], body.len());
        first[1..].iter().for_each(|header| head += &format!("{header}\r\n"));
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A server that refuses a request need not read all of it.
        let _ = stream.write_all(body);
        Reply::read(stream).unwrap()
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send(&[&format!("GET {path}")], b"")
    }

    /// Uploads a body, and gives the video's id.
    pub fn upload(&self, first: &[&str], body: &[u8]) -> String {
        let reply = self.send(first, body);
        assert_eq!(reply.status, 202, "{}\n{}", reply.head, reply.text());
        let id = reply.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(reply.header("location"), Some(format!("/videos/{id}").as_str()));
        id
    }

    /// Follows a video to its end, and gives the data of its events by kind.
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

/// A form with files, as curl sends it, each in a field of another name.
pub fn form(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (number, (name, bytes)) in files.iter().enumerate() {
        let head = "--limit\r\ncontent-disposition: form-data; name=";
        body.extend_from_slice(
            format!("{head}\"field {number}\"; filename=\"{name}\"\r\ncontent-type: application/octet-stream\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--limit--\r\n");
    body
}

pub const FORM: &str = "content-type: multipart/form-data; boundary=limit";

pub async fn jetstream(server: &Server) -> jetstream::Context {
    let settings = NatsSettings { url: server.url(), credentials: None };
    jetstream::new(connect(&settings, "test", Patience::FailAtOnce).await.unwrap())
}

/// Of how many objects the store holds bytes.
pub async fn objects(jetstream: &jetstream::Context) -> usize {
    let stream = jetstream.get_stream("OBJ_uploads").await.unwrap();
    stream.info_with_subjects("$O.uploads.C.*").await.unwrap().count().await
}
