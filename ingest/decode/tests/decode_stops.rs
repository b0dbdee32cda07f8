//! A decoding that nobody wants any more leaves nothing behind. This is alone in its program: it
//! looks at all threads.
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
fn dropping_a_decoding_ends_its_threads_also_while_it_waits_for_room() {
    let videos = Videos::new();
    let video = videos.make("a.mp4", &format!("{SOURCE} {H264}"));
    let decoding = start(&uri(&video), DecodeSettings { queue: 1, ..settings() });
    let clone = decoding.frames.clone();
    decoding.frames.recv_blocking().unwrap().unwrap();
    assert!(decoding_threads().contains(&"decode".to_owned()), "{:?}", decoding_threads());
    drop(decoding);
    let patience = Instant::now() + Duration::from_secs(30);
    while !decoding_threads().is_empty() {
        assert!(Instant::now() < patience, "{:?}", decoding_threads());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(clone.is_closed());
}
