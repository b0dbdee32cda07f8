//! Each video is decoded in a process of its own, and a file that changes is another video.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use moliceiro_nats::messages::{Summary, VideoState};
use moliceiro_testing::eventually;
use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{Process, moliceiro, run, summaries};
use moliceiro_testing::video::{ffmpeg, short_video};
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
    // One that ends before its first frame is replaced.
    process.wait_for_stderr("frame done video=bad-mp4", 1);
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

/// Name, and how it is encoded.
const CONTAINERS: &[(&str, &str)] = &[
    ("a.mp4", "-c:v libx264 -preset ultrafast -bf 2"),
    ("a.mkv", "-c:v libx264 -preset ultrafast -bf 2"),
    ("a.avi", "-c:v mpeg4 -bf 2 -q:v 3"),
    ("a.ts", "-c:v libx264 -preset ultrafast -bf 2"),
    ("a.mpg", "-c:v mpeg2video -bf 2 -q:v 3"),
    ("a.webm", "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 1M"),
    ("a.wmv", "-c:v wmv2 -q:v 3"),
    ("a.flv", "-c:v flv1 -q:v 3"),
];

/// The objects of each frame of each video that a run counts.
fn objects(data: &Path, found: &[Summary]) -> BTreeMap<String, Vec<String>> {
    let objects_of = |summary: &Summary| {
        let mut command = moliceiro();
        command.args(["detections", summary.video.as_str(), "--data"]).arg(data);
        (summary.name.clone(), Process::start(&mut command).expect_code(0))
    };
    found.iter().map(objects_of).collect()
}

#[test]
fn a_run_that_is_killed_in_the_middle_of_videos_finds_the_same_in_each_frame() {
    const FRAMES: u64 = 30;
    let folder = tempfile::tempdir().unwrap();
    let source = sample("carphone_pristine.mp4");
    let make = |(name, codec): &(&str, &str)| {
        let path = folder.path().join(name);
        let frames = FRAMES.to_string();
        let input = ["-i", source.to_str().unwrap(), "-an", "-frames:v", &frames];
        ffmpeg(&input.into_iter().chain(codec.split(' ')).collect::<Vec<_>>(), &path);
        path
    };
    let videos: Vec<_> = CONTAINERS.iter().map(make).collect();
    let start = |data: &Path| {
        // Each video is decoded as far as its frames are analysed, and all of them together.
        let few = ["--set", "streams.frames_max_per_video=4", "--set", "ingest.videos=8"];
        Process::start(run(data).args(["--json", "--log", "debug"]).args(few).args(&videos))
    };
    let data = ["undisturbed", "disturbed"].map(|name| folder.path().join(name));
    let undisturbed = summaries(&start(&data[0]).expect_code(0));
    let mut first = start(&data[1]);
    first.wait_for_stderr("frame done", CONTAINERS.len() * 10);
    first.signal(Signal::KILL);
    first.wait();
    let mut second = start(&data[1]);
    let disturbed = summaries(&second.expect_code(0));
    let resumed = second.stderr();
    let from = resumed.iter().filter(|line| line.contains("decoding")).filter_map(|line| {
        let (_, first) = line.split_once("first=")?;
        first.split_whitespace().next()?.parse::<u64>().ok()
    });
    let in_the_middle = from.filter(|first| (1..FRAMES).contains(first)).count();
    assert_eq!(in_the_middle, CONTAINERS.len(), "{resumed:#?}");
    for found in [&undisturbed, &disturbed] {
        let counted: Vec<_> =
            found.iter().map(|found| (found.state, found.processed_frames)).collect();
        assert_eq!(counted, [(VideoState::Done, FRAMES)].repeat(CONTAINERS.len()), "{found:#?}");
    }
    let expected = objects(&data[0], &undisturbed);
    assert!(expected.values().all(|objects| objects.len() > 5), "{expected:#?}");
    assert_eq!(objects(&data[1], &disturbed), expected);
}
