//! Where a video may be, beside a file.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::path::Path;
use std::process::Command;

use moliceiro_nats::messages::VideoState;
use support::{Process, run, short_video, summaries};

/// Python's own web server, and where it serves a folder.
fn web_server(folder: &Path) -> (Process, String) {
    let arguments = ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"];
    let server = Process::start(Command::new("python3").args(arguments).arg(folder));
    let line = server.wait_for_stdout(1).remove(0);
    let (_, rest) = line.split_once("(http").expect("it says where it serves");
    let address = format!("http{}", rest.split_once(')').unwrap().0);
    (server, address)
}

#[test]
fn a_video_on_a_web_server_is_counted_as_the_file_is() {
    let folder = tempfile::tempdir().unwrap();
    short_video(folder.path(), "a.mp4");
    let (_server, address) = web_server(folder.path());
    let videos = ["a.mp4", "missing.mp4"].map(|name| format!("{address}{name}"));
    let mut process = Process::start(run(&folder.path().join("data")).arg("--json").args(&videos));
    let found = summaries(&process.expect_code(1));
    let by_name = |name: &str| found.iter().find(|summary| summary.name == name).unwrap();
    assert_eq!((by_name("a.mp4").state, by_name("a.mp4").processed_frames), (VideoState::Done, 10));
    assert_eq!(by_name("missing.mp4").state, VideoState::Failed);
    let errors: Vec<_> = process.stderr().into_iter().filter(|line| line.starts_with("error: ")).collect();
    assert!(matches!(&errors[..], [line] if line.contains("missing.mp4: the server answers 404")), "{errors:#?}");
}
