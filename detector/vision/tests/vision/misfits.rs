//! Models that are refused, each with the reason; and outputs that no model should have.

use std::path::{Path, PathBuf};

use crate::support::{JFIF, data, frame, runtime};
use moliceiro_messages::{Encoding, Frame};
use moliceiro_vision::{
    Detector, FrameError, InferenceError, Model, ModelError, Options, Unrecognised,
};
use proptest::prelude::*;

fn path(name: &str) -> PathBuf {
    data("misfits").join(format!("{name}.onnx"))
}

fn load(path: &Path) -> Result<Detector, ModelError> {
    Detector::new(&runtime(), &Model::open(path)?, Options::default())
}

fn refused(path: &Path) -> ModelError {
    let Err(error) = load(path) else { panic!("{} was accepted", path.display()) };
    let text = error.to_string();
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(text.contains(name) && !text.contains('\n'), "{text}");
    error
}

/// A picture of one brightness.
fn grey(luma: u8) -> Frame {
    let pixels = [vec![luma; 96 * 64], vec![128; 96 * 64 / 2]].concat();
    frame(Encoding::I420, JFIF, (96, 64), pixels)
}

#[test]
fn models_that_do_not_find_objects_are_refused_by_their_kind() {
    for (name, kind) in [
        ("classes", "a classification model"),
        ("pose", "a keypoint model"),
        ("heat-maps", "a segmentation or keypoint model"),
        ("segments", "a segmentation model"),
        ("rotated", "a rotated box model"),
    ] {
        let error = refused(&path(name));
        let is_kind = matches!(
            &error,
            ModelError::Unrecognised { source, .. } if matches!(**source, Unrecognised::Kind { .. })
        );
        assert!(is_kind && error.to_string().contains(kind), "{error}");
    }
}

#[test]
fn an_unknown_model_is_refused_with_what_it_has_and_what_a_manifest_may_say() {
    let text = refused(&path("nothing-known")).to_string();
    for part in ["\"images\" float32 [1, 3, 64, 96]", "[1, 5, 7, 9, 11]", "family = ", "yolov8"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_file_that_is_truncated_too_large_or_not_onnx_is_refused_before_it_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let mine = folder.path().join("mine.onnx");
    let whole = std::fs::read(data("layouts").join("yolov8.onnx")).unwrap();
    for length in [1, 10, whole.len() / 3, whole.len() - 1] {
        std::fs::write(&mine, &whole[..length]).unwrap();
        assert!(matches!(refused(&mine), ModelError::NotOnnx { .. }), "{length}");
    }
    std::fs::File::create(&mine).unwrap().set_len(4 << 30).unwrap();
    let error = refused(&mine);
    assert!(error.to_string().contains("less than 2 GiB"), "{error}");
    let mut many = vec![0x3a; 100_000];
    many.extend(&whole);
    std::fs::write(&mine, many).unwrap();
    refused(&mine);
}

#[test]
fn weights_in_other_files_have_to_be_beside_the_model() {
    let error = refused(&path("external"));
    assert!(matches!(&error, ModelError::ExternalData { file, .. } if file == "weights.bin"));
}

#[test]
fn what_onnx_runtime_lacks_is_refused_with_its_reason() {
    for (name, part) in [("operator", "Unheard"), ("opset", "opset")] {
        let error = refused(&path(name));
        assert!(matches!(error, ModelError::Rejected { .. }), "{error}");
        assert!(error.to_string().to_lowercase().contains(&part.to_lowercase()), "{error}");
    }
}

#[test]
fn nan_is_an_error_and_not_an_empty_picture() {
    let error = refused(&path("nan-always"));
    assert!(error.to_string().contains("NaN"), "{error}");
    let mut detector = load(&path("nan-if-bright")).unwrap();
    detector.detect(&grey(20)).unwrap();
    let error = detector.detect(&grey(250)).unwrap_err();
    assert!(matches!(error, FrameError::Inference(InferenceError::Unexpected(_))), "{error}");
    detector.detect(&grey(20)).unwrap();
}

#[test]
fn a_hundred_thousand_candidates_are_read_and_suppressed() {
    let mut detector = load(&path("many")).unwrap();
    assert_eq!(detector.detect(&grey(10)).unwrap(), []);
    assert_eq!(detector.detect(&grey(250)).unwrap().len(), 1, "all are the same box");
}

#[test]
fn boxes_are_clipped_and_those_outside_are_not_objects() {
    let mut detector = load(&path("boxes-outside")).unwrap();
    let found = detector.detect(&grey(100)).unwrap();
    let found: Vec<_> = found.iter().map(|d| (d.label.as_str(), d.bounds)).collect();
    assert_eq!(
        found,
        [
            ("person", [0.0, 0.0, 20.0, 20.0]),
            ("toothbrush", [80.0, 50.0, 96.0, 64.0]),
            ("class 500", [10.0, 10.0, 40.0, 30.0]),
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_damaged_file_is_read_or_refused(
        file in prop::sample::select(vec!["nanodet-six", "yolov8", "detr", "tensorflow-open"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        at_the_end in any::<bool>(),
    ) {
        let mut bytes = std::fs::read(data("layouts").join(format!("{file}.onnx"))).unwrap();
        // Inputs, outputs and metadata are at the end.
        let from = if at_the_end { bytes.len() - 1000 } else { 0 };
        for (index, value) in changes {
            let length = bytes.len() - from;
            bytes[from + index.index(length)] = value;
        }
        Model::from_bytes("damaged", bytes.into(), None).map(drop).ok();
    }
}
