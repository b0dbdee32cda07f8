//! `moliceiro run`: some videos on one machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use moliceiro_nats::messages::{Summary, VideoState};
use moliceiro_testing::eventually;
use moliceiro_testing::paths::{project, sample};
use moliceiro_testing::process::{Process, SLOWER, run, run_in_model_size, servers_of, summaries};
use moliceiro_testing::server::Server;
use moliceiro_testing::video::{ffmpeg, short_video};
use rustix::process::Signal;

fn count(data: &Path, arguments: &[&str]) -> Vec<Summary> {
    counted(&mut run(data), arguments)
}

/// As [`count`], with frames as large as the model takes them.
fn count_in_model_size(data: &Path, arguments: &[&str]) -> Vec<Summary> {
    counted(&mut run_in_model_size(data), arguments)
}

fn counted(run: &mut Command, arguments: &[&str]) -> Vec<Summary> {
    summaries(&Process::start(run.arg("--json").args(arguments)).expect_code(0))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What must not depend on speed or on faults.
fn counts(summary: &Summary) -> (VideoState, u64, u64, BTreeMap<String, u64>) {
    (summary.state, summary.processed_frames, summary.failed_frames, summary.classes.clone())
}

fn assert_close(what: &str, found: u64, expected: u64, per_cent: f64) {
    let off = (found as f64 - expected as f64).abs() / expected as f64 * 100.0;
    assert!(off <= per_cent, "{what}: {found}, not {expected} within {per_cent} %");
}

/// Totals by `reference.py`: see docs/performance.md.
#[test]
fn the_sample_is_counted_like_the_reference() {
    let (data, video) = (tempfile::tempdir().unwrap(), sample("bikes.mp4"));
    let [summary] = &count_in_model_size(data.path(), &[text(&video)])[..] else {
        panic!("one summary")
    };
    assert_eq!((summary.name.as_str(), summary.state), ("bikes.mp4", VideoState::Done));
    assert_eq!((summary.processed_frames, summary.failed_frames), (250, 0));
    assert_close("person", summary.count("person"), 85, 5.0);
    assert_close("bicycle", summary.count("bicycle"), 70, 5.0);
    assert_eq!(summary.top[..2], ["person", "bicycle"]);
    assert!(servers_of(data.path()).is_empty());
}

#[test]
fn each_fit_counts_the_sample_like_the_reference_whatever_the_encoding() {
    // One process encodes as I420 by itself.
    const JPEG: &str = "ingest.encoding=jpeg";
    let data = tempfile::tempdir().unwrap();
    let sample = sample("bikes.mp4");
    for (options, person, car) in [
        (&["--fast"][..], 84, 133),
        (&["--fit", "letterbox"], 109, 154),
        // Lossy, so it is compared with what I420 gives.
        (&["--fit", "letterbox", "--set", JPEG], 110, 147),
    ] {
        let options = [options, &[text(&sample)]].concat();
        let summary = count_in_model_size(data.path(), &options).remove(0);
        assert_eq!((summary.processed_frames, summary.failed_frames), (250, 0));
        assert_close("person", summary.count("person"), person, 5.0);
        assert_close("car", summary.count("car"), car, 5.0);
    }
}

#[test]
fn a_summary_is_printed_in_the_old_format_and_each_video_once() {
    let folder = tempfile::tempdir().unwrap();
    let videos = ["a.mp4", "b.mkv"].map(|name| short_video(folder.path(), name));
    let mut process = Process::start(run(&folder.path().join("data")).args(&videos));
    let lines = process.expect_code(0);
    assert_eq!(lines.len(), 12, "{lines:#?}");
    for block in lines.chunks(6) {
        assert!(["a.mp4", "b.mkv"].contains(&block[0].as_str()), "{block:#?}");
        assert_eq!(block[1], "Processed frames: 10");
        let milliseconds = block[2]
            .strip_prefix("Average processing time per frame: ")
            .and_then(|l| l.strip_suffix("ms"));
        assert!(milliseconds.unwrap().parse::<u32>().unwrap() > 0, "{block:#?}");
        assert!(
            block[3].strip_prefix("Person objects detected: ").unwrap().parse::<u32>().is_ok(),
            "{block:#?}"
        );
        assert!(
            block[4].strip_prefix("Total classes detected: ").unwrap().parse::<u32>().is_ok(),
            "{block:#?}"
        );
        assert!(block[5].starts_with("Top 3 objects detected: "), "{block:#?}");
    }
    assert_ne!(lines[0], lines[6]);
}

#[test]
fn options_change_what_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let video = sample("carphone_pristine.mp4");
    let sparse = count(&data, &["--every", "7", "--detectors", "1", text(&video)]).remove(0);
    assert_eq!(sparse.processed_frames, 120_u64.div_ceil(7));
    let part = count(&data, &["--fps", "5", "--start", "1", "--end", "3s", text(&video)]).remove(0);
    assert_eq!((part.processed_frames, part.duration_s.unwrap().round()), (10, 2.0));
    let strict = count(&data, &["--every", "7", "--threshold", "0.99", text(&video)]).remove(0);
    assert_eq!((strict.processed_frames, strict.classes.len(), strict.top.len()), (18, 0, 0));
    let [high, low] = ["0.9", "0.01"].map(|floor| {
        let counted = count(&data, &["--every", "7", "--floor", floor, text(&video)]).remove(0);
        (counted.classes, counted.most_at_once, counted.top)
    });
    assert_eq!(low.0, sparse.classes, "faint objects do not count");
    assert_eq!(high, low);
}

#[test]
fn the_fields_of_interlaced_video_are_frames_if_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let video = project().join("ingest/decode/tests/media/h264-interlaced-25i.mp4");
    for (how, frames) in [("auto", 10), ("fields", 20)] {
        let options = ["--deinterlace", how, "--end", "0.4", text(&video)];
        let counted = count(&folder.path().join("data"), &options).remove(0);
        assert_eq!(counted.processed_frames, frames, "{how}");
    }
}

#[test]
fn the_same_video_twice_is_two_videos() {
    let folder = tempfile::tempdir().unwrap();
    let video = short_video(folder.path(), "a.mp4");
    let data = folder.path().join("data");
    let both = count(&data, &[text(&video), text(&video)]);
    assert_eq!(both.len(), 2);
    assert_ne!(both[0].video, both[1].video);
    assert_eq!(counts(&both[0]), counts(&both[1]));
    assert_eq!(count(&data, &[text(&video)]).len(), 1, "a third run prints the third only");
}

#[test]
fn an_existing_server_is_used() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let video = short_video(folder.path(), "a.mp4");
    let data = folder.path().join("data");
    let url = server.url();
    let summary = count(&data, &["--nats", &url, text(&video)]).remove(0);
    assert_eq!(summary.processed_frames, 10);
    assert!(!data.exists(), "no private server was needed");
}

/// A run that was stopped before the video was counted.
fn interrupted(data: &Path, video: &Path, signal: Signal) -> Process {
    let mut process =
        Process::start(run(data).args(["--json", "--log", "debug", text(video)]).args(SLOWER));
    process.wait_for_stderr("frame done", 20);
    process.signal(signal);
    process.wait();
    assert!(process.stdout().is_empty(), "it was stopped too late: {:#?}", process.stdout());
    process
}

#[test]
fn a_killed_run_leaves_nothing_running_and_the_next_one_finishes_it() {
    let folder = tempfile::tempdir().unwrap();
    let video = sample("carphone_pristine.mp4");
    let whole =
        count(&folder.path().join("whole"), &[&SLOWER[..], &[text(&video)]].concat()).remove(0);
    let data = folder.path().join("data");
    for _ in 0..2 {
        interrupted(&data, &video, Signal::KILL);
        let stopped = eventually(|| servers_of(&data).is_empty().then_some(()));
        assert!(stopped.is_some(), "nats-server outlives the run: {:?}", servers_of(&data));
    }
    let resumed = count(&data, &SLOWER).remove(0);
    assert_eq!(counts(&resumed), counts(&whole));
    assert_eq!(resumed.name, "carphone_pristine.mp4");
}

#[test]
fn ctrl_c_stops_cleanly_and_the_same_command_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let video = sample("carphone_pristine.mp4");
    let data = folder.path().join("data");
    let mut stopped = interrupted(&data, &video, Signal::INT);
    stopped.expect_code(130);
    assert!(
        stopped.stderr().iter().any(|line| line.contains("not finished: carphone_pristine.mp4")),
        "{:#?}",
        stopped.stderr()
    );
    assert!(servers_of(&data).is_empty());
    let summaries = count(&data, &[&SLOWER[..], &[text(&video)]].concat());
    assert_eq!(summaries.len(), 1, "the video is resumed, not restarted");
    assert_eq!((summaries[0].processed_frames, summaries[0].failed_frames), (120, 0));
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_leaves_nothing_running() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // A server that does not answer delays the first Ctrl-C.
    let mut process =
        Process::start(run(&data).args(["--log", "debug", text(&sample("bikes.mp4"))]));
    process.wait_for_stderr("frame done", 5);
    let server: i32 = servers_of(&data)[0].parse().unwrap();
    let server = rustix::process::Pid::from_raw(server).unwrap();
    rustix::process::kill_process(server, Signal::STOP).unwrap();
    process.signal(Signal::INT);
    process.wait_for_stderr("a second signal stops at once", 1);
    process.signal(Signal::INT);
    process.expect_code(130);
    let stopped = eventually(|| servers_of(&data).is_empty().then_some(()));
    assert!(stopped.is_some(), "nats-server outlives the run");
}

#[test]
fn a_summary_that_could_not_be_written_is_printed_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let video = short_video(folder.path(), "a.mp4");
    let data = folder.path().join("data");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let failed = run(&data).arg(&video).stdout(full).output().unwrap();
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8(failed.stderr).unwrap();
    assert!(said.contains("cannot write the summary of a.mp4"), "{said}");
    assert_eq!(count(&data, &[])[0].processed_frames, 10);
    Process::start(&mut run(&data)).expect_code(64);
}

#[test]
fn a_folder_of_pictures_is_one_video_and_a_bad_one_is_a_failed_frame() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    for (number, size) in [(1, "640x480"), (2, "320x240"), (10, "100x300")] {
        let source = format!("testsrc2=size={size}");
        ffmpeg(
            &["-f", "lavfi", "-i", &source, "-frames:v", "1"],
            &pictures.join(format!("p{number}.png")),
        );
    }
    std::fs::write(pictures.join("p3.jpg"), "not a picture").unwrap();
    let mut process = Process::start(run(&folder.path().join("data")).arg("--json").arg(&pictures));
    let [summary] = &summaries(&process.expect_code(1))[..] else { panic!("one summary") };
    assert_eq!((summary.name.as_str(), summary.state), ("pictures", VideoState::Done));
    assert_eq!((summary.processed_frames, summary.failed_frames), (3, 1));
    assert_eq!(summary.failed[0].index, 2);
    assert!(summary.failed[0].reason.contains("p3.jpg"), "{summary:?}");
}
