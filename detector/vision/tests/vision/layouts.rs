//! A tiny model of each layout that toolkits export, made by `data/layouts.py`: the same pictures
//! give the same boxes as a plain reference.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::{JFIF, data, frame, overlap, runtime};
use moliceiro_messages::{Detection, Encoding, Frame};
use moliceiro_vision::{
    Colors, Detector, Element, FamilyName, Fit, Layout, Model, ModelError, Options, Size,
    Unrecognised,
};
use serde_json::Value;

const SCORE: f32 = 1e-3;
const IOU: f32 = 0.99;

fn layouts() -> PathBuf {
    data("layouts")
}

fn expected() -> serde_json::Map<String, Value> {
    let bytes = std::fs::read(layouts().join("expected.json")).unwrap();
    serde_json::from_slice::<Value>(&bytes).unwrap().as_object().unwrap().clone()
}

fn open(name: &str, manifest: &str) -> Result<Model, ModelError> {
    let bytes: Arc<[u8]> = std::fs::read(layouts().join(format!("{name}.onnx"))).unwrap().into();
    Model::from_bytes(name, bytes, Some(manifest))
}

fn settled(name: &str, manifest: &str) -> Result<Model, ModelError> {
    open(name, manifest)?.settled(&runtime())
}

fn picture(file: &Path) -> Frame {
    frame(Encoding::I420, JFIF, (96, 64), std::fs::read(file).unwrap())
}

fn same(found: &Detection, wanted: &Value) -> bool {
    let number = |value: &Value| value.as_f64().unwrap() as f32;
    let bounds = [0, 1, 2, 3].map(|side| number(&wanted["box"][side]));
    found.label == wanted["label"].as_str().unwrap()
        && (found.score - number(&wanted["score"])).abs() < SCORE
        && overlap(&found.bounds, &bounds) > IOU
}

/// Compares what a model finds with the reference.
fn assert_same(name: &str) {
    let all = expected();
    let entry = &all[name];
    let model = open(name, entry["manifest"].as_str().unwrap()).unwrap();
    let mut detector = Detector::new(&runtime(), &model, Options::default()).unwrap();
    for pictured in entry["pictures"].as_array().unwrap() {
        let file = pictured["picture"].as_str().unwrap();
        let mut found = detector.detect(&picture(&layouts().join(file))).unwrap();
        for wanted in pictured["objects"].as_array().unwrap() {
            match found.iter().position(|found| same(found, wanted)) {
                Some(index) => drop(found.remove(index)),
                None => panic!("{name}, {file}: {wanted} is not among {found:#?}"),
            }
        }
        assert!(found.is_empty(), "{name}, {file}: too much {found:#?}");
    }
}

macro_rules! same_as_the_reference {
    ($($test:ident: $($name:literal),+;)+) => {
        const TESTED: &[&str] = &[$($($name),+),+];

        $(#[test]
        fn $test() {
            $(assert_same($name);)+
        })+
    };
}

same_as_the_reference! {
    nanodet_has_the_boxes_of_the_reference: "nanodet", "nanodet-plus", "nanodet-six";
    picodet_has_the_boxes_of_the_reference: "picodet-eight", "picodet-inside";
    paddle_has_the_boxes_of_the_reference: "paddle", "paddle-shares";
    yolov5_to_7_have_the_boxes_of_the_reference: "yolov5", "yolov6", "yolov7";
    yolov8_has_the_boxes_of_the_reference: "yolov8", "yolov8-half", "yolov8-open";
    yolo_with_suppression_has_the_boxes_of_the_reference:
        "yolo-end2end", "yolov7-end2end", "yolo-counted";
    yolox_has_the_boxes_of_the_reference: "yolox", "yolox-decoded";
    detr_has_the_boxes_of_the_reference:
        "detr", "rt-detr", "rt-detr-open", "rf-detr", "rf-detr-own",
        "ultralytics-rtdetr", "ultralytics-rtdetr-rows";
    exports_of_rt_detr_have_the_boxes_of_the_reference:
        "rt-detr-export", "rt-detr-export-squeezed";
    torchvision_has_the_boxes_of_the_reference: "torchvision", "torchvision-unnamed";
    tensorflow_has_the_boxes_of_the_reference:
        "tensorflow", "tensorflow-open", "tensorflow-lite";
}

#[test]
fn every_layout_is_tested() {
    let mut names: Vec<String> = expected().keys().cloned().collect();
    names.sort();
    let mut tested: Vec<&str> = TESTED.to_vec();
    tested.sort_unstable();
    assert_eq!(names, tested);
}

#[test]
fn a_description_tells_how_the_model_is_fed() {
    let yolo = settled("yolov8-half", "").unwrap().description();
    assert_eq!(
        (yolo.family, yolo.fit, yolo.padding),
        (FamilyName::Yolov8, Fit::LetterboxWithin, [114; 3])
    );
    assert_eq!((yolo.element, yolo.multiple_of), (Element::Float16, Some(32)));
    assert_eq!((yolo.size.width, yolo.size.height), (96, 64));
    assert!(yolo.nms && yolo.labels_from.contains("names"), "{yolo}");
    let yolox = settled("yolox", "").unwrap().description();
    assert_eq!(
        (yolox.family, yolox.fit, yolox.colors),
        (FamilyName::Yolox, Fit::UpperLeft, Colors::Bgr)
    );
    let tensorflow = settled("tensorflow", "").unwrap().description();
    assert_eq!((tensorflow.layout, tensorflow.element), (Layout::Nhwc, Element::Uint8));
    assert!(!tensorflow.nms && tensorflow.to_string().contains("does it itself"), "{tensorflow}");
}

#[test]
fn a_wide_frame_has_no_more_border_than_strides_need_if_ultralytics_exported_open_sides() {
    let wide = Size { width: 960, height: 240 };
    let place = |name: &str| settled(name, "").unwrap().place(wide);
    let (letterbox, picture) = place("yolov8-half");
    assert_eq!(picture, Size { width: 96, height: 32 });
    assert_eq!((letterbox.top, letterbox.content), (4, Size { width: 96, height: 24 }));
    let (letterbox, picture) = place("yolov8");
    assert_eq!(picture, Size { width: 96, height: 64 }, "it takes one size only");
    assert_eq!((letterbox.top, letterbox.content), (20, Size { width: 96, height: 24 }));
}

#[test]
fn the_manifest_of_a_settled_model_is_enough_to_read_it_in_the_same_way() {
    for (name, entry) in expected() {
        let settled = settled(&name, entry["manifest"].as_str().unwrap()).unwrap();
        let manifest = settled.manifest();
        let again = self::settled(&name, &manifest).unwrap_or_else(|e| panic!("{e}: {manifest}"));
        assert_eq!(again.manifest(), manifest, "{name}");
        let (found, again) = (settled.description(), again.description());
        assert_eq!((found.outputs, found.labels), (again.outputs, again.labels), "{name}");
    }
}

#[test]
fn a_manifest_overrides_what_the_file_says() {
    let manifest = "threshold = 0.6\nnms = false\n[input]\nfit = \"stretch\"\ncolors = \"bgr\"\n\
                    padding = [1, 2, 3]\n";
    let description = settled("yolov8", manifest).unwrap().description();
    assert_eq!((description.threshold, description.nms), (0.6, false));
    assert_eq!((description.fit, description.padding), (Fit::Stretch, [1, 2, 3]));
    assert_eq!(description.colors, Colors::Bgr);
    let error = settled("yolov8", "input.fit = \"area\"").unwrap_err();
    assert!(error.to_string().contains("fit \"area\""), "one size only: {error}");
    let error = settled("yolov8", "family = \"yolox\"").unwrap_err();
    assert!(error.to_string().contains("not of the family yolox"), "{error}");
    let error = settled("yolov8", "labels = [\"a\"]").unwrap_err();
    assert!(matches!(error, ModelError::Labels { classes: 80, labels: 1, .. }), "{error}");
}

#[test]
fn of_several_readings_a_manifest_has_to_choose_and_the_error_says_how() {
    for (name, manifest, parts) in [
        ("rt-detr", "", ["rt-detr", "family = \"rf-detr\""]),
        ("paddle", "", ["[input] mean = [0, 0, 0]", "0.485"]),
        (
            "picodet-inside",
            "input.size = [96, 64]",
            ["family = \"picodet\"", "family = \"nanodet-plus\""],
        ),
    ] {
        let Err(error) = settled(name, manifest) else { panic!("{name} was accepted") };
        let is_ambiguous = matches!(
            &error,
            ModelError::Unrecognised { source, .. } if matches!(**source, Unrecognised::Ambiguous(_))
        );
        let text = error.to_string();
        assert!(is_ambiguous && parts.iter().all(|part| text.contains(part)), "{name}: {text}");
    }
}

#[test]
fn files_of_hugging_face_beside_a_model_tell_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::copy(layouts().join("rf-detr.onnx"), &path).unwrap();
    let labels: Vec<String> = (0..80).map(|class| format!("\"{class}\": \"c{class}\"")).collect();
    let config =
        format!("{{\"model_type\": \"rt_detr\", \"id2label\": {{{}}}}}", labels.join(", "));
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let preprocessor = "{\"do_normalize\": true, \"image_mean\": [0.1, 0.2, 0.3], \
                        \"image_std\": [1.0, 2.0, 3.0]}";
    std::fs::write(folder.path().join("preprocessor_config.json"), preprocessor).unwrap();
    let description = Model::open(&path).unwrap().settled(&runtime()).unwrap().description();
    assert_eq!(description.family, FamilyName::RtDetr);
    assert_eq!((description.mean, description.std), ([0.1, 0.2, 0.3], [1.0, 2.0, 3.0]));
    assert_eq!((description.labels.len(), description.labels[79].as_str()), (80, "c79"));
    assert!(description.labels_from.contains("config.json"), "{description}");
}

#[test]
fn a_file_of_hugging_face_has_the_size_of_a_model_that_takes_several() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::copy(layouts().join("rt-detr-open.onnx"), &path).unwrap();
    std::fs::write(folder.path().join("config.json"), "{\"model_type\": \"d_fine\"}").unwrap();
    let describe = |preprocessor: &str| {
        std::fs::write(folder.path().join("preprocessor_config.json"), preprocessor).unwrap();
        Model::open(&path).unwrap().description()
    };
    let fixed = describe(
        "{\"size\": {\"height\": 64, \"width\": 96}, \"do_normalize\": false, \
         \"rescale_factor\": 0.5}",
    );
    assert_eq!((fixed.size.width, fixed.size.height, fixed.multiple_of), (96, 64, None));
    assert_eq!((fixed.scale, fixed.fit), (0.5, Fit::Stretch));
    let bytes = describe("{\"size\": {\"shortest_edge\": 800}, \"do_rescale\": false}");
    assert_eq!((bytes.size.width, bytes.size.height, bytes.multiple_of), (1056, 800, Some(32)));
    assert_eq!(bytes.scale, 1.0);
    for unusable in ["{\"size\": 0}", "{\"size\": {\"height\": -1, \"width\": 1e9}}", "[]"] {
        let usual = describe(unusable);
        assert_eq!((usual.size.width, usual.size.height), (640, 640), "{unusable}");
    }
}
