//! Each video is decoded in a process of its own, and a file that changes is another video.

use std::fs;
use std::path::Path;

use moliceiro_nats::messages::{Summary, VideoState};
use moliceiro_testing::eventually;
use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{Process, run, summaries};
use moliceiro_testing::video::short_video;
use rustix::process::{Pid, Signal, kill_process};

/// The process that has this video open, and is not the run itself.
fn decoder_of(run: &Process, video: &Path) -> Option<Pid> {
    let has_it_open = |pid: Pid| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let mut files = files.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        files.any(|file| file == video).then_some(pid)
    };
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| Pid::from_raw(entry.unwrap().file_name().to_str()?.parse().ok()?));
    pids.filter(|pid| *pid != run.pid()).find_map(has_it_open)
}

fn copy(folder: &Path, name: &str) -> std::path::PathBuf {
    let path = folder.canonicalize().unwrap().join(name);
    fs::copy(sample("carphone_pristine.mp4"), &path).unwrap();
    path
}

fn of<'a>(found: &'a [Summary], name: &str) -> &'a Summary {
    found.iter().find(|summary| summary.name == name).unwrap()
}

#[test]
fn a_crash_while_a_video_is_decoded_costs_that_video_only() {
    let folder = tempfile::tempdir().unwrap();
    let good = short_video(folder.path(), "good.mkv");
    let bad = copy(folder.path(), "bad.mp4");
    let good_too = short_video(folder.path(), "good-too.mkv");
    // Decoding stops in the middle of the video, until frames are analysed.
    let mut process = Process::start(
        run(&folder.path().join("data"))
            .args(["--json", "--log", "debug", "--set", "streams.frames_max_per_video=8"])
            .args([&good, &bad, &good_too]),
    );
    let decoder = eventually(|| decoder_of(&process, &bad)).unwrap();
    kill_process(decoder, Signal::ABORT).unwrap();
    let found = summaries(&process.expect_code(1));
    for name in ["good.mkv", "good-too.mkv"] {
        let summary = of(&found, name);
        assert_eq!((summary.state, summary.processed_frames), (VideoState::Done, 10), "{name}");
    }
    let bad = of(&found, "bad.mp4");
    let reason = bad.problem.as_deref().unwrap();
    assert!(reason.contains("the decoder crashed (signal 6) on frame "), "{reason}");
    assert_ne!(bad.state, VideoState::Done);
    assert!(bad.processed_frames < 120);
    let retried = process.stderr().iter().any(|line| line.contains("will be retried"));
    assert!(!retried, "a crash is a verdict");
}

#[test]
fn a_file_that_is_replaced_between_two_runs_is_another_video() {
    let folder = tempfile::tempdir().unwrap();
    let (data, latest) = (folder.path().join("data"), copy(folder.path(), "latest.mp4"));
    // Decoding stops in the middle of the video, until frames are analysed.
    let mut first = Process::start(
        run(&data).args(["--log", "debug", "--set", "streams.frames_max_per_video=8"]).arg(&latest),
    );
    first.wait_for_stderr("frame done", 5);
    first.signal(Signal::KILL);
    first.wait();
    fs::rename(short_video(folder.path(), "new.mp4"), &latest).unwrap();
    let mut second = Process::start(run(&data).arg("--json").arg(&latest));
    let found = summaries(&second.expect_code(0));
    assert!(
        matches!(&found[..], [new] if new.name == "latest.mp4" && new.processed_frames == 10),
        "{found:#?}"
    );
    let errors = second.stderr();
    assert!(
        errors.iter().any(|line| line.contains("is incomplete: the file was replaced")),
        "{errors:#?}"
    );
}
