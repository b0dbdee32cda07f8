//! Uploads that are too large, too slow, too many, truncated or not allowed.

use std::io::{Read, Write};
use std::sync::Arc;

use moliceiro_testing::http::{FORM, Reply, form, form_with};
use moliceiro_testing::ingest::{IngestApi, stored_objects};
use moliceiro_testing::paths::project;
use moliceiro_testing::process::{self, Process};
use moliceiro_testing::server::Server;
use moliceiro_testing::until;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;

#[test]
fn an_invalid_upload_is_answered_with_a_problem() {
    let server = Server::start();
    let http = IngestApi::start(&server, &["http.upload_max_bytes=100000"]);
    let large = vec![7; 100_001];
    http.send(&["POST /videos"], &large).is_problem(413, "100000 bytes");
    http.send(&["POST /", FORM], &form(&[("a.mp4", &large)])).is_problem(413, "100000 bytes");
    let mut chunked = http.connect();
    chunked
        .write_all(
            b"POST /videos HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
              transfer-encoding: chunked\r\n\r\n",
        )
        .unwrap();
    for _ in 0..3 {
        // It fails once the server has refused the upload.
        chunked
            .write_all(
                &[format!("{:x}\r\n", 50_000).as_bytes(), &large[..50_000], b"\r\n"].concat(),
            )
            .ok();
    }
    Reply::read(chunked).unwrap().is_problem(413, "100000 bytes");
    http.send(&["POST /videos"], b"").is_problem(422, "empty");
    http.send(&["POST /", FORM], &form(&[("a.mp4", b"")])).is_problem(422, "empty");
    http.send(&["POST /", FORM], &form(&[])).is_problem(422, "no file");
    http.send(&["POST /", FORM], b"--limit\r\nnonsense").is_problem(400, "form");
    http.send(&["POST /", FORM], &form(&[("a.mp4", b"x")])[..90]).is_problem(400, "form");
    http.send(&["POST /", "content-type: video/mp4"], b"x").is_problem(415, "POST /videos");
    http.send(&["POST /videos", FORM], &form(&[("a.mp4", b"x")])).is_problem(415, "POST / takes");
    http.send(&["POST /videos?every=0"], b"x").is_problem(422, "every");
    http.send(&["POST /videos?every=x"], b"x").is_problem(400, "every");
    http.send(&["POST /videos?fps=0"], b"x").is_problem(400, "frames per second");
    http.send(&["POST /videos?fps=1&every=2"], b"x").is_problem(422, "fps");
    http.send(&["POST /?start=1m&end=60", FORM], &form(&[("a.mp4", b"x")]))
        .is_problem(422, "later than start");
    http.send(&["POST /videos?name=a%0ab"], b"x").is_problem(422, "name");
    // What would have no effect is refused, with the nearest name.
    for (request, part) in [
        ("POST /videos?evry=5", "did you mean every?"),
        ("GET /videos?limt=5", "did you mean limit?"),
        ("GET /videos/a?x=1", "has no query parameter"),
        ("DELETE /videos/a?forgt=true", "did you mean forget?"),
    ] {
        http.send(&[request], b"").is_problem(400, part);
    }
    let file: &[(&str, &[u8])] = &[("a.mp4", b"x")];
    for (field, status, part) in [
        (("evry", "5"), 400, "did you mean every?"),
        (("video", "a.mp4"), 400, "-F 'video=@FILE'"),
        (("every", "five"), 400, "every"),
        (("alarms", "boat"), 422, "alarm rule"),
    ] {
        for body in [form_with(&[field], file, &[]), form_with(&[], file, &[field])] {
            http.send(&["POST /", FORM], &body).is_problem(status, part);
        }
    }
    http.send(&["POST /?every=2", FORM], &form_with(&[("every", "3")], file, &[]))
        .is_problem(422, "every is given twice");
    let two = form_with(&[("name", "a")], &[file[0], file[0]], &[]);
    http.send(&["POST /", FORM], &two).is_problem(422, "one file");
    const JSON: &str = "content-type: application/json";
    http.send(&["POST /videos", JSON], br#"{"uri": "file:///a", "evry": 5}"#)
        .is_problem(400, "did you mean every?");
    // A compressed file is not a video.
    for coding in ["gzip", "identity, br"] {
        let coding = format!("content-encoding: {coding}");
        http.send(&["POST /videos", &coding], b"x").is_problem(415, "Content-Encoding");
        http.send(&["POST /", FORM, &coding], &form(file)).is_problem(415, "Content-Encoding");
        http.send(&["POST /videos", JSON, &coding], b"{}").is_problem(415, "Content-Encoding");
    }
    for (hosts, part) in [
        ("", "needs a Host"),
        ("host: a\r\nhost: a\r\n", "one Host line"),
        ("host: a b\r\n", "Host must be"),
    ] {
        let mut stream = http.connect();
        let request = format!("GET /videos HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        Reply::read(stream).unwrap().is_problem(400, part);
    }
    http.get("/videos?limit=0").is_problem(400, "limit");
    http.get("/videos?state=lost").is_problem(400, "lost");
    http.get("/videos?after=x").is_problem(400, "after");
    http.get("/nothing").is_problem(404, "openapi.json");
    http.send(&["PUT /videos"], b"").is_problem(405, "openapi.json");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_disconnects_or_stalls_leaves_nothing_behind() {
    let server = Server::start();
    let http = IngestApi::start(&server, &["http.idle_timeout=500ms", "http.header_timeout=500ms"]);
    let jetstream = server.jetstream().await;
    let empty = async || {
        until("the bytes of a truncated upload are deleted", async || {
            (stored_objects(&jetstream).await == 0).then_some(())
        })
        .await;
    };
    let start = async |head: &str| {
        let mut stream = http.connect();
        stream
            .write_all(
                format!("{head} HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n").as_bytes(),
            )
            .unwrap();
        let part = form(&[("a.mp4", &vec![7; 2_000_000])]);
        stream
            .write_all(&[format!("{FORM}\r\n\r\n").as_bytes(), &part[..1_900_000]].concat())
            .unwrap();
        until("a part is stored", async || (stored_objects(&jetstream).await > 0).then_some(()))
            .await;
        stream
    };
    drop(start("POST /").await);
    empty().await;
    let mut silent = start("POST /").await;
    let mut answer = [0; 12];
    silent.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    empty().await;

    // A header that arrives byte by byte, and one that never starts.
    let (mut slow, mut mute) = (http.connect(), http.connect());
    until("the server closes the connection", async || slow.write_all(b"x").err()).await;
    assert!(matches!(mute.read(&mut answer), Ok(0)), "a connection without a request is closed");
    assert_eq!(http.get("/videos").json(), json!({ "videos": [], "next": null }));
}

#[test]
fn uploads_beyond_the_limit_are_asked_to_retry_later() {
    let server = Server::start();
    let http = IngestApi::start(&server, &["http.uploads=1"]);
    let mut first = http.connect();
    let head = "POST /videos HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         expect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    first.write_all(head.as_bytes()).unwrap();
    // The server asks for the body when it starts to read.
    let mut proceed = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    first.read_exact(&mut proceed).unwrap();
    first.write_all(b"ab").unwrap();
    let refused = http.send(&["POST /videos"], b"x");
    refused.is_problem(429, "http.uploads");
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(http.get("/videos").status, 200);
    first.write_all(b"cd").unwrap();
    assert_eq!(Reply::read(first).unwrap().status, 202);
}

#[test]
fn requests_without_a_token_or_from_another_origin_are_refused() {
    let server = Server::start();
    let http = IngestApi::start(
        &server,
        &["http.tokens=first-token,second-token", "http.origins=https://friend.example"],
    );
    for wrong in [
        "x: y",
        "authorization: Bearer first",
        "authorization: Bearer first-token2",
        "authorization: Basic first-token",
    ] {
        for request in
            ["GET /videos", "POST /videos", "POST /", "DELETE /videos/a", "GET /videos/a/events"]
        {
            let reply = http.send(&[request, wrong], b"");
            reply.is_problem(401, "http.tokens");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        }
    }
    const TOKEN: &str = "authorization: bearer second-token";
    assert_eq!(http.send(&["GET /videos", TOKEN], b"").status, 200);
    assert_eq!(http.get("/openapi.json").json()["security"], json!([{ "token": [] }]));
    assert!(!http.process.stderr().join("\n").contains("second-token"));

    let own = format!("origin: http://{}", http.address);
    http.send(&["POST /videos", TOKEN, "origin: https://foe.example"], b"x")
        .is_problem(403, "http.origins");
    assert_eq!(http.send(&["POST /videos", TOKEN, &own], b"x").status, 202);
    let friend = http.send(&["POST /videos", TOKEN, "origin: https://friend.example"], b"x");
    assert_eq!(
        (friend.status, friend.header("access-control-allow-origin")),
        (202, Some("https://friend.example"))
    );
    assert_eq!(
        http.send(&["GET /videos", TOKEN, "origin: https://foe.example"], b"")
            .header("access-control-allow-origin"),
        None
    );
}

/// DNS rebinding: anyone who has a domain can point it at this machine, and a browser then treats
/// the service as part of that site.
#[test]
fn an_unknown_host_name_is_refused_unless_it_is_configured_or_a_token_is_sent() {
    let server = Server::start();
    let http = IngestApi::start(&server, &["http.origins=http://videos.example:5000"]);
    for host in ["foe.example", "foe.example:5000", "videos.example"] {
        for request in ["GET /videos", "POST /videos", "GET /", "GET /page/app.js"] {
            http.send_to(host, &[request], b"x").is_problem(421, "http.origins");
        }
    }
    for host in ["localhost:1", "127.0.0.1", "[::1]:5000", "server", "videos.example:5000"] {
        let reply = http.send_to(host, &["GET /videos"], b"");
        assert_eq!(
            (reply.status, reply.header("access-control-allow-origin")),
            (200, None),
            "{host}"
        );
    }
    let guarded = IngestApi::start(&server, &["http.tokens=first-token"]);
    assert_eq!(
        guarded
            .send_to("any.example", &["GET /videos", "authorization: Bearer first-token"], b"")
            .status,
        200
    );
}

/// CORS is off: a browser withholds every answer from pages of other sites.
#[test]
fn pages_of_other_origins_read_nothing_by_default() {
    let server = Server::start();
    let http = IngestApi::start(&server, &[]);
    let preflight =
        ["OPTIONS /videos", "origin: https://foe.example", "access-control-request-method: POST"];
    for first in [&["GET /videos", "origin: https://foe.example"][..], &preflight] {
        assert_eq!(http.send(first, b"").header("access-control-allow-origin"), None, "{first:?}");
    }
    assert!(http.get("/openapi.json").json()["openapi"].as_str().unwrap().starts_with("3.1."));
}

#[test]
fn a_listen_address_in_use_is_reported_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut process = Process::start(process::service("ingest").args([
        "--nats",
        "nats://127.0.0.1:1",
        "--listen",
        &address,
    ]));
    process.expect_code(1);
    let said = process.stderr().join("\n");
    assert!(said.contains(&format!("http.listen {address}: Address already in use")), "{said}");
}

#[test]
fn a_certificate_turns_on_https() {
    let server = Server::start();
    let data = project().join("cli/tests/data");
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| data.join(name));
    let settings = [
        format!("http.tls_certificate={}", certificate.display()),
        format!("http.tls_key={}", key.display()),
    ];
    let http = IngestApi::start(&server, &settings.each_ref().map(String::as_str));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let client =
        rustls::ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream = rustls::StreamOwned::new(client, http.connect());
    stream.write_all(b"GET /videos HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap();
    assert_eq!(Reply::read(stream).unwrap().json(), json!({ "videos": [], "next": null }));
    let plain = http.connect();
    (&plain).write_all(b"GET /videos HTTP/1.0\r\n\r\n").unwrap();
    assert!(Reply::read(plain).is_err(), "plain HTTP is not answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_two_gigabytes_needs_little_memory() {
    const SIZE: u64 = 2_000_000_000;
    const LIMIT_KIB: u64 = 150 * 1024;
    let server = Server::start();
    // It deletes the bytes.
    let _aggregator =
        Process::start(process::service("aggregator").args(["--nats", &server.url()]));
    let spool = tempfile::tempdir().unwrap();
    let http = IngestApi::start(
        &server,
        &[&format!("ingest.spool={}", spool.path().display()), "ingest.stall_timeout=1s"],
    );
    let mut stream = http.connect();
    stream
        .write_all(
            format!("POST /videos?name=large HTTP/1.0\r\ncontent-length: {SIZE}\r\n\r\n")
                .as_bytes(),
        )
        .unwrap();
    let piece = vec![b'x'; 1_000_000];
    for _ in 0..SIZE / piece.len() as u64 {
        stream.write_all(&piece).unwrap();
    }
    let reply = Reply::read(stream).unwrap();
    assert_eq!(reply.status, 202, "{}", reply.text());
    let taken = peak_kib(&http.process);
    // Since it is not a video, it is spooled completely, fails, and is deleted.
    http.process.wait_for_stderr("all frames are published", 1);
    let jetstream = server.jetstream().await;
    until("the bytes are deleted", async || (stored_objects(&jetstream).await == 0).then_some(()))
        .await;
    let peak = peak_kib(&http.process);
    println!("peak memory {taken} KiB at the answer, {peak} KiB when it was deleted");
    assert!(peak < LIMIT_KIB, "peak memory {peak} KiB");
}

fn peak_kib(process: &Process) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", process.pid().as_raw_nonzero()))
            .unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}
