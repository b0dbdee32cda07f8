//! A model of your own: an ONNX file and a manifest beside it.

use std::path::{Path, PathBuf};

use crate::support::{JFIF, data, frame, runtime};
use moliceiro_messages::{Encoding, Frame};
use moliceiro_vision::{Detector, FrameError, Model, ModelError, Options};
use tempfile::TempDir;

/// The manifest of `planes.onnx`: each class's score is the mean of a plane of the tensor.
const MANIFEST: &str = r#"
labels = ["first", "second", "third"]
threshold = 0.5
iou = 0.5

[input]
name = "images"
size = [32, 32]
colors = "rgb"
scale = 0.00392156862745098

[output]
name = "output"

[family.nanodet]
strides = [32]
bins = 2
"#;

/// A folder with a copy of a model of `data/models` and a manifest.
fn installed(model: &str, manifest: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.onnx");
    std::fs::copy(data("models").join(model), &path).unwrap();
    std::fs::write(path.with_extension("toml"), manifest).unwrap();
    (folder, path)
}

fn load(path: &Path) -> Result<Detector, ModelError> {
    Detector::new(&runtime(), &Model::open(path)?, Options::default())
}

fn error(model: &str, manifest: &str) -> ModelError {
    let (_folder, path) = installed(model, manifest);
    let Err(error) = load(&path) else { panic!("{model} was accepted") };
    let text = error.to_string();
    assert!(text.contains("mine.") && !text.contains('\n'), "{text}");
    error
}

/// Full-range BT.601 red, which is 76, 85, 255.
fn red() -> Frame {
    frame(Encoding::I420, JFIF, (32, 32), [vec![76; 1024], vec![85; 256], vec![255; 256]].concat())
}

#[test]
fn a_model_of_your_own_is_an_onnx_file_and_a_manifest() {
    let (_folder, path) = installed("planes.onnx", MANIFEST);
    for path in [path.clone(), path.with_extension("toml")] {
        let found = load(&path).unwrap().detect(&red()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].label.as_str(), found[0].bounds), ("first", [0.0, 0.0, 32.0, 32.0]));
        assert!((found[0].score - 254.0 / 255.0).abs() < 2e-3, "{found:?}");
    }
}

#[test]
fn colour_order_and_normalisation_come_from_the_manifest() {
    let bgr = MANIFEST.replace("\"rgb\"", "\"bgr\"\nmean = [-0.1, 0, -0.2]\nstd = [1, 1, 2]");
    let (_folder, path) = installed("planes.onnx", &bgr);
    let found = load(&path).unwrap().detect(&red()).unwrap();
    assert_eq!(found[0].label, "third");
    assert!((found[0].score - (254.0 / 255.0 + 0.2) / 2.0).abs() < 2e-3, "{found:?}");
}

#[test]
fn labels_may_be_in_a_file_beside_the_manifest() {
    let (folder, path) = installed(
        "planes.onnx",
        &MANIFEST.replace(r#"["first", "second", "third"]"#, "\"colours.txt\""),
    );
    assert!(load(&path).err().unwrap().to_string().contains("colours.txt"));
    std::fs::write(folder.path().join("colours.txt"), "red\ngreen\nblue\n").unwrap();
    assert_eq!(load(&path).unwrap().detect(&red()).unwrap()[0].label, "red");
    std::fs::write(folder.path().join("colours.txt"), "red\ngreen\n").unwrap();
    assert!(matches!(load(&path), Err(ModelError::Labels { classes: 3, labels: 2, .. })));
}

#[test]
fn threshold_and_iou_can_be_set_within_bounds() {
    let (_folder, path) = installed("planes.onnx", MANIFEST);
    let model = Model::open(&path).unwrap();
    let with = |options: Options| Detector::new(&runtime(), &model, options);
    let mut strict = with(Options { threshold: Some(0.999), ..Options::default() }).unwrap();
    assert_eq!(strict.detect(&red()).unwrap(), []);
    for options in [
        Options { threshold: Some(1.5), ..Options::default() },
        Options { iou: Some(f32::NAN), ..Options::default() },
        Options { floor: Some(f32::NAN), ..Options::default() },
        Options { floor: Some(-0.1), ..Options::default() },
    ] {
        assert!(matches!(with(options), Err(ModelError::Option(_))));
    }
}

#[test]
fn a_missing_file_is_reported_by_its_name() {
    let (_folder, path) = installed("planes.onnx", MANIFEST);
    assert!(matches!(Model::open(&path.with_file_name("other.onnx")), Err(ModelError::Missing(_))));
    assert!(matches!(Model::open(&path.with_file_name("other.toml")), Err(ModelError::Missing(_))));
    assert!(matches!(Model::open(&path.with_extension("pt")), Err(ModelError::NotAModel(_))));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(Model::open(&path), Err(ModelError::NotAModel(_))));
}

#[test]
fn an_invalid_manifest_is_reported_with_its_file_and_line() {
    let error = error("planes.onnx", &MANIFEST.replace("iou", "overlap"));
    assert!(matches!(error, ModelError::Manifest { .. }));
    assert!(
        error.to_string().contains("mine.toml: line 4: ") && error.to_string().contains("overlap"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_onnx_is_rejected() {
    let (_folder, path) = installed("planes.onnx", MANIFEST);
    let good = std::fs::read(&path).unwrap();
    for bytes in [&b""[..], b"a text", &good[..good.len() / 2], &[0xff; 100]] {
        std::fs::write(&path, bytes).unwrap();
        let error = load(&path).err().unwrap();
        assert!(
            matches!(error, ModelError::NotOnnx { .. }) && !error.to_string().contains('\n'),
            "{error}"
        );
    }
}

#[test]
fn a_model_that_does_not_fit_its_manifest_is_rejected_when_it_is_loaded() {
    for (model, from, to, part) in [
        ("of-another-shape.onnx", "", "", "classification"),
        ("of-integers.onnx", "", "", "segmentation"),
        ("of-two-inputs.onnx", "", "", "segmentation"),
        ("of-two-rows.onnx", "", "", "[1, 2, 11]"),
        ("planes.onnx", "\"images\"", "\"picture\"", "no input \"picture\", but \"images\""),
        ("planes.onnx", "\"output\"", "\"boxes\"", "no output \"boxes\", but \"output\""),
        ("planes.onnx", "[32, 32]", "[64, 32]", "not [1, 3, 32, 64]"),
        ("planes.onnx", "[32, 32]", "[32, 32]\nmultiple_of = 32", "multiple_of"),
        ("planes.onnx", "[32]", "[16]", "[1, 1, 11]"),
        ("planes.onnx", "bins = 2", "bins = 3", "not of the family nanodet"),
    ] {
        let error = error(model, &MANIFEST.replacen(from, to, 1));
        assert!(
            matches!(error, ModelError::Unrecognised { .. }) && error.to_string().contains(part),
            "{model}, {to}: {error}"
        );
    }
    let logits = error("without-sigmoid.onnx", MANIFEST);
    assert!(
        matches!(logits, ModelError::Mismatch { .. }) && logits.to_string().contains("sigmoid"),
        "{logits}"
    );
    let error = error("planes.onnx", &MANIFEST.replace(", \"third\"", ""));
    assert!(matches!(error, ModelError::Labels { classes: 3, labels: 2, .. }), "{error}");
}

#[test]
fn a_frame_of_a_size_that_the_model_does_not_take_fails_permanently() {
    let (_folder, path) = installed("planes.onnx", MANIFEST);
    let other = frame(Encoding::I420, JFIF, (64, 32), vec![0; 64 * 32 * 3 / 2]);
    let error = load(&path).unwrap().detect(&other).unwrap_err();
    assert!(matches!(error, FrameError::WrongSize { .. }) && error.is_permanent());
    assert!(error.to_string().contains("32×32") && error.to_string().contains("64×32"), "{error}");
}
