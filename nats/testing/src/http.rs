//! As much of HTTP as a test needs to control every byte.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

/// The header of a form that [`form`] made.
pub const FORM: &str = "content-type: multipart/form-data; boundary=limit";

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

    /// Asserts that it is a problem with this status (RFC 9457) whose detail contains `part`.
    pub fn is_problem(&self, status: u16, part: &str) {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.head);
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().unwrap().contains(part), "{problem} lacks {part:?}");
    }
}

/// Requests a path with HTTP/1.0: the answer has no chunks, and ends with the connection.
pub fn get(address: &str, path: &str) -> Reply {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    Reply::read(stream).unwrap()
}

/// A form with files as curl sends it, each in a field with its own name.
pub fn form(files: &[(&str, &[u8])]) -> Vec<u8> {
    [&parts(files)[..], b"--limit--\r\n"].concat()
}

/// As [`form`], with text fields before and after the files.
pub fn form_with(
    before: &[(&str, &str)],
    files: &[(&str, &[u8])],
    after: &[(&str, &str)],
) -> Vec<u8> {
    let text = |fields: &[(&str, &str)]| {
        let part = |(name, value): &(&str, &str)| {
            format!("--limit\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        fields.iter().map(part).collect::<String>().into_bytes()
    };
    [text(before), parts(files), text(after), b"--limit--\r\n".to_vec()].concat()
}

fn parts(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (number, (name, bytes)) in files.iter().enumerate() {
        body.extend_from_slice(
            format!(
                "--limit\r\ncontent-disposition: form-data; name=\"field {number}\"; \
                 filename=\"{name}\"\r\ncontent-type: application/octet-stream\r\n\r\n"
            )
            .as_bytes(),
        );
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body
}
