//! A video that cannot be counted is reported in one line, and harms nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use moliceiro_nats::messages::VideoState;
use moliceiro_testing::paths::{project, sample};
use moliceiro_testing::process::{Process, run, summaries};
use moliceiro_testing::video::{ffmpeg, short_video};

/// Bad videos, each with a part of its error.
fn bad_videos(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let audio = folder.join("audio.mp4");
    ffmpeg(&["-f", "lavfi", "-i", "sine=duration=1"], &audio);
    let whole = fs::read(short_video(folder, "whole.mp4")).unwrap();
    let subfolder = folder.join("folder.mp4");
    fs::create_dir(&subfolder).unwrap();
    let no_frames = folder.join("noframes.mkv");
    ffmpeg(
        &["-i", folder.join("whole.mp4").to_str().unwrap(), "-frames:v", "0", "-c", "copy"],
        &no_frames,
    );
    vec![
        (folder.join("missing.mp4"), "no such file"),
        (file("empty.mp4", b""), "empty"),
        (file("text.mp4", b"not a video\n"), "is not a video but a text"),
        (audio, "no video"),
        (file("truncated.mp4", &whole[..whole.len() / 2]), "damaged"),
        (no_frames, "fram"),
        (subfolder, "folder without pictures"),
    ]
}

#[test]
fn each_bad_video_is_one_error_line_and_the_good_ones_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let bad = bad_videos(folder.path());
    let good = short_video(folder.path(), "good.mkv");
    let mut process = Process::start(
        run(&folder.path().join("data"))
            .arg("--json")
            .args(bad.iter().map(|(path, _)| path))
            .arg(&good)
            .arg(sample("carphone_pristine.mp4")),
    );
    let found = summaries(&process.expect_code(1));
    let errors = process.stderr();
    for (path, part) in &bad {
        let name = path.file_name().unwrap().to_str().unwrap();
        let about: Vec<_> = errors
            .iter()
            .filter(|line| line.starts_with("error: ") && line.contains(name))
            .collect();
        assert!(
            matches!(&about[..], [line] if line.contains(part)),
            "{name} {part:?}: {errors:#?}"
        );
        let summary = found.iter().find(|s| s.name == name).unwrap();
        assert_eq!(
            (summary.state, summary.processed_frames),
            (VideoState::Failed, 0),
            "{summary:?}"
        );
    }
    for (name, frames) in [("good.mkv", 10), ("carphone_pristine.mp4", 120)] {
        let summary = found.iter().find(|s| s.name == name).unwrap();
        assert_eq!(
            (summary.state, summary.processed_frames),
            (VideoState::Done, frames),
            "{summary:?}"
        );
    }
    assert!(!errors.iter().any(|line| line.contains("panicked")), "{errors:#?}");
}

#[test]
fn a_truncated_video_is_incomplete() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.mp4");
    let source = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x240:rate=25:duration=4",
        "-pix_fmt",
        "yuv420p",
        "-g",
        "10",
        "-movflags",
        "+faststart",
    ];
    ffmpeg(&source, &whole);
    let bytes = fs::read(&whole).unwrap();
    let cut = folder.path().join("cut.mp4");
    fs::write(&cut, &bytes[..bytes.len() * 6 / 10]).unwrap();

    let mut process = Process::start(run(&folder.path().join("data")).arg(&cut));
    let lines = process.expect_code(1);
    assert!(lines[0].starts_with("cut.mp4 (incomplete: "), "{lines:#?}");
    let frames: u64 = lines[1].strip_prefix("Processed frames: ").unwrap().parse().unwrap();
    assert!((1..100).contains(&frames), "{lines:#?}");
    assert!(
        process.stderr().iter().any(|line| line.starts_with("error: cut.mp4 is incomplete: ")),
        "{:#?}",
        process.stderr()
    );
}

#[test]
fn a_video_shorter_than_its_header_claims_is_incomplete() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.avi");
    let source = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=4", "-c:v", "mjpeg"];
    ffmpeg(&source, &whole);
    let bytes = fs::read(&whole).unwrap();
    let cut = folder.path().join("lying.avi");
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let mut process = Process::start(run(&folder.path().join("data")).args(["--json"]).arg(&cut));
    let [summary] = &summaries(&process.expect_code(1))[..] else { panic!("one summary") };
    assert_eq!(summary.state, VideoState::Incomplete, "{summary:?}");
    assert!((1..100).contains(&summary.processed_frames), "{summary:?}");
}

fn refused(arguments: &[&str], code: i32, part: &str) {
    let folder = tempfile::tempdir().unwrap();
    let video = sample("bikes.mp4");
    let mut process = Process::start(run(&folder.path().join("data")).args(arguments).arg(&video));
    let out = process.expect_code(code);
    let errors = process.stderr();
    assert!(out.is_empty(), "{out:#?}");
    assert!(
        matches!(&errors[..], [line] if line.starts_with("error: ") && line.contains(part)),
        "{part:?}: {errors:#?}"
    );
}

#[test]
fn an_unusable_model_is_reported_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = project().join("detector/vision/models/nanodet.toml");
    let manifest = fs::read_to_string(manifest).unwrap().replace("coco-labels.txt", &labels());
    let model = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::write(path.with_extension("toml"), &manifest).unwrap();
        path.to_str().unwrap().to_owned()
    };
    refused(&["--model", "/nonexistent/model.onnx"], 1, "/nonexistent/model.onnx");
    refused(&["--model", &model("text.onnx", b"not a model")], 1, "text.onnx");
    let shape = project().join("detector/vision/tests/data/models");
    let other = fs::read_dir(&shape)
        .unwrap()
        .flatten()
        .find(|f| f.path().extension().is_some_and(|e| e == "onnx"))
        .unwrap();
    refused(&["--model", &model("shape.onnx", &fs::read(other.path()).unwrap())], 1, "shape.onnx");
}

fn labels() -> String {
    project().join("detector/vision/models/coco-labels.txt").to_str().unwrap().to_owned()
}

#[test]
fn an_unusable_server_is_reported() {
    refused(&["--nats-server", "/nonexistent/nats-server"], 1, "/nonexistent/nats-server");
    refused(&["--nats-server", "/bin/false"], 1, "nats-server exited while starting");
    refused(&["--nats", "nats://127.0.0.1:1"], 1, "127.0.0.1:1");
}

#[test]
fn wrong_usage_exits_with_64() {
    let choices = [
        &["--every", "2", "--fps", "1"][..],
        &["--fps", "0"],
        &["--start", "soon"],
        &["--start", "2", "--end", "1"],
    ];
    for arguments in choices.into_iter().chain([
        &["--every", "0"][..],
        &["--threshold", "2"],
        &["--detectors", "many"],
        &["--frobnicate"],
        &["--set", "nonsense"],
    ]) {
        let folder = tempfile::tempdir().unwrap();
        let mut process =
            Process::start(run(&folder.path().join("data")).args(arguments).arg("a.mp4"));
        process.expect_code(64);
        assert!(!process.stderr().is_empty());
        assert!(!folder.path().join("data").exists());
    }
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(&mut run(folder.path()));
    process.expect_code(64);
    assert!(
        process.stderr().iter().any(|line| line.contains("no VIDEO is given")),
        "{:?}",
        process.stderr()
    );
}
