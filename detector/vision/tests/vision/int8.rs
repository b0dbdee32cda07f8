//! The built-in 8-bit model, compared with the float32 one that it was made from.

use std::path::Path;

use crate::support::{JFIF, data, detector, frame, jpeg, overlap, runtime};
use moliceiro_messages::{Detection, Encoding, Frame};
use moliceiro_vision::{Detector, Model, Options};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;

const THRESHOLD: f32 = 0.45;
/// The two models' scores of one object differ by less. The greatest difference in 382 frames of
/// the samples was 0.111.
const SAME_SCORE: f32 = 0.12;
/// Scores this far above the threshold are objects for both models.
const CLEAR: f32 = SAME_SCORE;

fn int8(options: Options) -> Detector {
    Detector::new(&runtime(), &Model::builtin_int8(), options).unwrap()
}

fn pictures() -> Vec<(String, Frame)> {
    let files = std::fs::read_dir(data("frames")).unwrap().map(|entry| entry.unwrap().path());
    let mut pictures: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "jpg"))
        .map(|path| picture(&path))
        .collect();
    pictures.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(pictures.len() > 5, "{}", pictures.len());
    pictures
}

fn picture(path: &Path) -> (String, Frame) {
    let pixels = std::fs::read(path).unwrap();
    let mut decoder = JpegDecoder::new(ZCursor::new(&pixels));
    decoder.decode_headers().unwrap();
    let (width, height) = decoder.dimensions().unwrap();
    (
        path.file_name().unwrap().to_string_lossy().into_owned(),
        jpeg((width as u32, height as u32), pixels),
    )
}

/// How many of `wanted` score clearly, and how many of those are missing from `found`.
fn clear_and_missing(wanted: &[Detection], found: &[Detection]) -> (usize, usize) {
    let clear: Vec<_> = wanted.iter().filter(|d| d.score >= THRESHOLD + CLEAR).collect();
    let same = |a: &Detection, b: &Detection| {
        a.label == b.label
            && overlap(&a.bounds, &b.bounds) > 0.5
            && (a.score - b.score).abs() < SAME_SCORE
    };
    let is_found = |w: &Detection| found.iter().any(|f| same(w, f));
    (clear.len(), clear.iter().filter(|w| !is_found(w)).count())
}

#[test]
fn both_models_find_what_either_of_them_finds_clearly() {
    let (mut exact, mut fast) = (detector(Options::default()), int8(Options::default()));
    let (mut differs, mut compared) = (false, 0);
    for (file, frame) in pictures() {
        let (exact, fast) = (exact.detect(&frame).unwrap(), fast.detect(&frame).unwrap());
        differs |= exact != fast;
        for (by, wanted, found) in [("float32", &exact, &fast), ("int8", &fast, &exact)] {
            let (clear, missing) = clear_and_missing(wanted, found);
            compared += clear;
            assert_eq!(
                missing, 0,
                "{file}: only {by} finds some of {wanted:?}; the other finds {found:?}"
            );
        }
    }
    assert!(differs, "these are two models");
    assert!(compared > 12, "{compared}");
}

#[test]
fn the_same_frame_has_the_same_detections_to_the_last_bit_in_8_bits_too() {
    let pictures = pictures();
    let options = Options { threshold: Some(0.05), ..Options::default() };
    let mut first = int8(options);
    let once: Vec<_> = pictures.iter().map(|(_, frame)| first.detect(frame).unwrap()).collect();
    assert!(once.iter().all(|detections| detections.len() > 5));
    for intra_threads in [1, 2] {
        let mut second = int8(Options { intra_threads, ..options });
        for ((file, frame), once) in pictures.iter().zip(&once).rev() {
            assert_eq!(&second.detect(frame).unwrap(), once, "{file}");
        }
    }
}

#[test]
fn the_8_bit_model_takes_the_sizes_of_wide_video() {
    let mut detector = int8(Options::default());
    for (width, height) in [(416, 320), (416, 256), (416, 192)] {
        let grey = frame(
            Encoding::I420,
            JFIF,
            (width, height),
            vec![128; (width * height * 3 / 2) as usize],
        );
        assert_eq!(detector.detect(&grey).unwrap(), [], "{width}×{height}");
    }
}

#[test]
fn built_in_models_are_chosen_by_name_and_float32_without_one() {
    let chosen = |model: Option<&str>| {
        Model::resolve(model.map(Path::new)).map(|model| model.name().to_owned())
    };
    assert_eq!(chosen(None).unwrap(), "nanodet");
    assert_eq!(chosen(Some("nanodet")).unwrap(), "nanodet");
    assert_eq!(chosen(Some("nanodet-int8")).unwrap(), "nanodet-int8");
    let error = chosen(Some("nanodet-int4")).unwrap_err().to_string();
    assert!(error.contains("nanodet-int4"), "{error}");
}
