//! The detector finds what `models/reference.py` finds, as `data/generate.py` recorded it.

use crate::support::{data, detector, frame, jpeg, overlap};
use moliceiro_messages::{Area, Color, Detection, Encoding, Frame, Letterbox, Matrix, Size};
use moliceiro_vision::Options;
use serde_json::Value;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;

/// The same JPEG, but another decoder: some values differ by one.
const SAME_PIXELS: Tolerance = Tolerance { score: 0.02, iou: 0.95 };
/// Colours at half the resolution and through another matrix change the scores, so that objects
/// near the threshold cross it.
const OTHER_COLORS: Tolerance = Tolerance { score: 0.06, iou: 0.9 };

#[derive(Clone, Copy)]
struct Tolerance {
    score: f32,
    iou: f32,
}

/// A committed picture, and the reference's detections in it at some thresholds.
struct Picture {
    file: String,
    frame: Frame,
    found: Vec<(f32, Vec<Detection>)>,
}

fn pictures() -> Vec<Picture> {
    let expected: Value =
        serde_json::from_slice(&std::fs::read(data("frames/expected.json")).unwrap()).unwrap();
    let pictures: Vec<_> = expected.as_array().unwrap().iter().map(picture).collect();
    assert_eq!(pictures.len(), 9);
    pictures
}

fn picture(entry: &Value) -> Picture {
    let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
    let size = |key: &str| Size { width: number(&entry[key][0]), height: number(&entry[key][1]) };
    let file = entry["file"].as_str().unwrap().to_owned();
    let Size { width, height } = size("size");
    let mut frame = jpeg((width, height), std::fs::read(data("frames").join(&file)).unwrap());
    frame.letterbox = Letterbox {
        source: size("source"),
        left: number(&entry["left"]),
        top: number(&entry["top"]),
        content: size("content"),
    };
    let found = entry["found"].as_array().unwrap().iter().map(|found| {
        let detections = found["detections"].as_array().unwrap().iter().map(detection).collect();
        (found["threshold"].as_f64().unwrap() as f32, detections)
    });
    Picture { file, frame, found: found.collect() }
}

fn detection(value: &Value) -> Detection {
    let float = |value: &Value| value.as_f64().unwrap() as f32;
    let bounds = [0, 1, 2, 3].map(|side| float(&value["box"][side]));
    Detection {
        label: value["label"].as_str().unwrap().to_owned(),
        score: float(&value["score"]),
        bounds,
    }
}

/// Removes each of `wanted` from `found`, and returns those that are missing.
fn remove(
    found: &mut Vec<Detection>,
    wanted: &[Detection],
    tolerance: Tolerance,
) -> Vec<Detection> {
    let mut missing = vec![];
    for wanted in wanted {
        let same = |d: &Detection| {
            let close = (d.score - wanted.score).abs() < tolerance.score
                && overlap(&d.bounds, &wanted.bounds) > tolerance.iou;
            d.label == wanted.label && close
        };
        match found.iter().position(same) {
            Some(index) => drop(found.remove(index)),
            None => missing.push(wanted.clone()),
        }
    }
    missing
}

#[test]
fn boxes_classes_and_scores_match_the_reference_on_the_same_pixels() {
    let mut total = 0;
    for Picture { file, frame, found } in pictures() {
        for (threshold, expected) in found {
            let mut found = detector(Options { threshold: Some(threshold), ..Options::default() })
                .detect(&frame)
                .unwrap();
            assert!(found.is_sorted_by(|a, b| a.score >= b.score), "{found:?}");
            total += found.len();
            let missing = remove(&mut found, &expected, SAME_PIXELS);
            assert!(
                missing.is_empty() && found.is_empty(),
                "{file} above {threshold}: missing {missing:?}, too many {found:?}"
            );
        }
    }
    assert!(total > 40, "{total}");
}

#[test]
fn the_models_own_threshold_matches_the_reference() {
    let mut detector = detector(Options::default());
    for Picture { file, frame, found } in pictures() {
        assert_eq!(found[0].0, 0.45);
        let mut detections = detector.detect(&frame).unwrap();
        assert!(
            remove(&mut detections, &found[0].1, SAME_PIXELS).is_empty() && detections.is_empty(),
            "{file}"
        );
    }
}

#[test]
fn a_lower_floor_changes_nothing_above_the_threshold() {
    let mut faint = 0;
    for (threshold, floor) in [(0.45, 0.1), (0.2, 0.05), (0.3, 0.9)] {
        let options = Options { threshold: Some(threshold), ..Options::default() };
        let mut plain = detector(options);
        let mut low = detector(Options { floor: Some(floor), ..options });
        for Picture { file, frame, .. } in pictures() {
            let (objects, _) = low.find(&frame).unwrap();
            let rounded = |found: Detection| Detection {
                score: (found.score * 1e4).ceil() / 1e4,
                bounds: found.bounds.map(|side| (side * 16.0).round() / 16.0),
                ..found
            };
            let expected: Vec<_> = plain.detect(&frame).unwrap().into_iter().map(rounded).collect();
            let counted: Vec<_> = objects.counted().map(Detection::from).collect();
            assert_eq!(counted, expected, "{file}");
            assert_eq!(low.detect(&frame).unwrap(), plain.detect(&frame).unwrap(), "{file}");
            let limits = objects.limits().unwrap();
            assert_eq!(limits.threshold.value(), threshold);
            assert_eq!(limits.floor.value(), floor.min(threshold));
            assert!(objects.all().all(|object| object.score > limits.floor.value()));
            assert!(objects.all().all(|object| {
                low.model().description().labels[usize::from(object.class)] == object.label
            }));
            faint += objects.all().count() - counted.len();
        }
    }
    assert!(faint > 50, "{faint}");
}

#[test]
fn i420_of_the_same_pictures_has_the_same_boxes() {
    let mut detector =
        detector(Options { threshold: Some(0.45 - OTHER_COLORS.score), ..Options::default() });
    for Picture { file, frame: from, found } in pictures() {
        let color = Color { matrix: Matrix::Bt709, full_range: false };
        let size = (from.size.width, from.size.height);
        let mut frame = frame(Encoding::I420, color, size, to_bt709_i420(&from));
        frame.letterbox = from.letterbox;
        let mut detections = detector.detect(&frame).unwrap();
        let missing = remove(&mut detections, &found[0].1, OTHER_COLORS);
        assert!(missing.is_empty(), "{file}: {missing:?} are not among {detections:?}");
        detections.retain(|d| d.score > 0.45 + OTHER_COLORS.score);
        assert!(detections.is_empty(), "{file}: {detections:?} are too many");
    }
}

/// A picture as limited-range BT.709 I420, from R'G'B' by the equations of ITU-R BT.709. The
/// detector uses other equations.
fn to_bt709_i420(jpeg: &Frame) -> Vec<u8> {
    let rgb = JpegDecoder::new(ZCursor::new(&jpeg.pixels)).decode().unwrap();
    let Area { left, top, size } = jpeg.letterbox.sampled(jpeg.size);
    let (width, height) = (size.width as usize, size.height as usize);
    let at = |x: usize, y: usize| {
        let pixel =
            &rgb[3 * ((y + top as usize) * jpeg.size.width as usize + x + left as usize)..][..3];
        let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(|value| f64::from(value) / 255.0);
        let luma = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        [
            219.0 * luma + 16.0,
            224.0 * (b - luma) / 1.8556 + 128.0,
            224.0 * (r - luma) / 1.5748 + 128.0,
        ]
    };
    let luma = (0..width * height).map(|i| at(i % width, i / width)[0]);
    let chroma = |plane: usize| {
        (0..width / 2 * (height / 2)).map(move |i| {
            let (x, y) = (i % (width / 2) * 2, i / (width / 2) * 2);
            (at(x, y)[plane] + at(x + 1, y)[plane] + at(x, y + 1)[plane] + at(x + 1, y + 1)[plane])
                / 4.0
        })
    };
    luma.chain(chroma(1)).chain(chroma(2)).map(|value| value.round() as u8).collect()
}

#[test]
fn the_same_frame_has_the_same_detections_to_the_last_bit() {
    let pictures = pictures();
    let options = Options { threshold: Some(0.05), ..Options::default() };
    let mut first = detector(options);
    let once: Vec<_> = pictures.iter().map(|p| first.detect(&p.frame).unwrap()).collect();
    assert!(once.iter().all(|detections| detections.len() > 10));
    // In another order, to show that earlier frames have no effect; and on two threads.
    for intra_threads in [1, 2] {
        let mut second = detector(Options { intra_threads, ..options });
        for (picture, once) in pictures.iter().zip(&once).rev() {
            assert_eq!(&second.detect(&picture.frame).unwrap(), once, "{}", picture.file);
        }
    }
}
