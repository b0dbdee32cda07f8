//! `moliceiro model check`: what it says about a file, and its exit codes.

use std::path::{Path, PathBuf};
use std::process::Output;

use moliceiro_testing::process::{Process, moliceiro, run_in_model_size, summaries};
use moliceiro_testing::video::short_video;

fn vision(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../detector/vision").join(path)
}

fn check(model: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        moliceiro().args(["model", "check"]).arg(model).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn a_model_is_described_and_what_it_finds_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("street.jpg");
    std::fs::copy(vision("models/trial.jpg"), &image).unwrap();
    let (code, out, errors) = check(Path::new("nanodet"), &[image.to_str().unwrap()]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    for part in ["family      nanodet", "416 × 416", "80: person", "person 0.", "ms to run"] {
        assert!(out.contains(part), "{out}");
    }
    let drawn = std::fs::read(folder.path().join("street-nanodet.png")).unwrap();
    assert!(drawn.starts_with(b"\x89PNG"));
    // What is drawn can be read again, and a file of one's own needs no manifest.
    let drawn = folder.path().join("street-nanodet.png");
    let other = folder.path().join("other.png");
    let model = vision("tests/data/layouts/yolov8.onnx");
    let arguments = [drawn.to_str().unwrap(), "--output", other.to_str().unwrap()];
    let (code, out, errors) = check(&model, &arguments);
    assert_eq!(code, Some(0), "{errors}");
    assert!(out.contains("family      yolov8") && out.contains("metadata, names"), "{out}");
    assert!(other.exists());
}

#[test]
fn what_is_refused_has_an_exit_code_and_a_line_that_says_why() {
    for (file, code, part) in [
        ("misfits/segments.onnx", 1, "segmentation"),
        ("misfits/operator.onnx", 1, "Unheard"),
        ("misfits/none.onnx", 1, "does not exist"),
        ("layouts/rt-detr.onnx", 2, "family = \"rf-detr\""),
    ] {
        let (found, out, errors) = check(&vision("tests/data").join(file), &[]);
        assert_eq!((found, out.as_str()), (Some(code), ""), "{errors}");
        assert!(errors.starts_with("error: ") && errors.contains(part), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
    let (code, _, errors) = check(Path::new("nanodet"), &["Cargo.toml"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("Cargo.toml") && errors.contains("PNG"), "{errors}");
}

#[test]
fn a_model_without_a_manifest_counts_a_video() {
    let folder = tempfile::tempdir().unwrap();
    let video = short_video(folder.path(), "a.mp4");
    let data = folder.path().join("data");
    let model = vision("tests/data/layouts/tensorflow.onnx");
    let mut process =
        Process::start(run_in_model_size(&data).arg("--json").arg("--model").arg(model).arg(video));
    let found = summaries(&process.expect_code(0));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].processed_frames, 10);
    assert!(found[0].models.iter().eq(["tensorflow@1"]), "{:?}", found[0].models);
}
