//! A cancelled decoding leaves no threads behind. It is a test binary of its own, because it checks
//! all threads of the process.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod videos;

use std::time::{Duration, Instant};

use moliceiro_decode::{DecodeSettings, start};
use videos::{H264, SOURCE, Videos, settings, uri};

/// Threads of the decoder and of its pipeline's queues and sources.
fn decoding_threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names
        .map(|name| name.trim().to_owned())
        .filter(|name| name == "decode" || name.contains(':'))
        .collect()
}

#[test]
fn dropping_a_decoding_ends_its_threads_even_while_its_queue_is_full() {
    let videos = Videos::new();
    let video = videos.make("a.mp4", &format!("{SOURCE} {H264}"));
    let decoding = start(&uri(&video), DecodeSettings { queue: 1, ..settings() });
    let clone = decoding.frames.clone();
    decoding.frames.recv_blocking().unwrap().unwrap();
    assert!(decoding_threads().contains(&"decode".to_owned()), "{:?}", decoding_threads());
    drop(decoding);
    let deadline = Instant::now() + Duration::from_secs(30);
    while !decoding_threads().is_empty() {
        assert!(Instant::now() < deadline, "{:?}", decoding_threads());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(clone.is_closed());
}
