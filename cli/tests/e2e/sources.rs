//! Sources other than a local file.

use std::path::Path;
use std::process::Command;

use moliceiro_nats::messages::VideoState;
use moliceiro_testing::paths::project;
use moliceiro_testing::process::{Process, run, summaries};
use moliceiro_testing::video::short_video;

/// Python's web server, and its URL.
fn web_server(folder: &Path) -> (Process, String) {
    let arguments = ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"];
    let server = Process::start(Command::new("python3").args(arguments).arg(folder));
    let line = server.wait_for_stdout(1).remove(0);
    let (_, rest) = line.split_once("(http").expect("it says where it serves");
    let address = format!("http{}", rest.split_once(')').unwrap().0);
    (server, address)
}

#[test]
fn a_video_on_a_web_server_is_counted_like_the_file() {
    let folder = tempfile::tempdir().unwrap();
    short_video(folder.path(), "a.mp4");
    let (_server, address) = web_server(folder.path());
    let videos = ["a.mp4", "missing.mp4"].map(|name| format!("{address}{name}"));
    let mut process = Process::start(run(&folder.path().join("data")).arg("--json").args(&videos));
    let found = summaries(&process.expect_code(1));
    let by_name = |name: &str| found.iter().find(|summary| summary.name == name).unwrap();
    assert_eq!((by_name("a.mp4").state, by_name("a.mp4").processed_frames), (VideoState::Done, 10));
    assert_eq!(by_name("missing.mp4").state, VideoState::Failed);
    let errors: Vec<_> =
        process.stderr().into_iter().filter(|line| line.starts_with("error: ")).collect();
    assert!(
        matches!(&errors[..], [line] if line.contains("missing.mp4: the server answers 404")),
        "{errors:#?}"
    );
}

/// Serves a folder over HTTPS and prints its port; the certificate is for `localhost`.
const HTTPS_SERVER: &str = "
import functools, http.server, ssl, sys
folder, certificate, key = sys.argv[1:]
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
";

#[test]
fn https_sources_need_a_certificate_that_the_system_trusts() {
    let folder = tempfile::tempdir().unwrap();
    short_video(folder.path(), "a.mp4");
    let [certificate, key] =
        ["certificate.pem", "key.pem"].map(|name| project().join("cli/tests/data").join(name));
    let mut command = Command::new("python3");
    let server = Process::start(
        command.args(["-c", HTTPS_SERVER]).arg(folder.path()).arg(&certificate).arg(&key),
    );
    let port = server.wait_for_stdout(1).remove(0);
    let uri = format!("https://localhost:{port}/a.mp4");
    let mut trusting = run(&folder.path().join("trusting"));
    let found = summaries(
        &Process::start(trusting.args(["--json", &uri]).env("SSL_CERT_FILE", &certificate))
            .expect_code(0),
    );
    assert_eq!((found[0].state, found[0].processed_frames), (VideoState::Done, 10));
    let mut others = run(&folder.path().join("others"));
    let found = summaries(
        &Process::start(others.args(["--json", &uri]).env_remove("SSL_CERT_FILE")).expect_code(1),
    );
    assert_eq!((found[0].state, found[0].processed_frames), (VideoState::Failed, 0));
    assert!(
        found[0].problem.as_ref().unwrap().contains("not trusted (invalid peer certificate"),
        "{:?}",
        found[0].problem
    );
}
