//! Frames that are not what they claim to be: a permanent error, never a panic, never a guess.

use std::sync::{Mutex, OnceLock};

use crate::support::{JFIF, data, detector, frame, jpeg};
use moliceiro_messages::{Detection, Encoding, Frame, Letterbox, Size};
use moliceiro_vision::{Detector, FrameError, Options};
use proptest::prelude::*;

const SIZE: (u32, u32) = (64, 64);

/// One detector for all cases, which also shows that a bad frame does not affect the next.
fn detect(frame: &Frame) -> Result<Vec<Detection>, FrameError> {
    static DETECTOR: OnceLock<Mutex<Detector>> = OnceLock::new();
    DETECTOR.get_or_init(|| Mutex::new(detector(Options::default()))).lock().unwrap().detect(frame)
}

fn picture(file: &str) -> Vec<u8> {
    std::fs::read(data("pictures").join(file)).unwrap()
}

fn rejected(frame: &Frame) {
    let error = detect(frame).unwrap_err();
    assert!(matches!(error, FrameError::Undecodable(_)) && error.is_permanent(), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[test]
fn baseline_progressive_and_grey_jpegs_are_decoded() {
    for file in ["baseline.jpg", "progressive.jpg", "grey.jpg"] {
        detect(&jpeg(SIZE, picture(file))).unwrap();
    }
}

#[test]
fn a_jpeg_truncated_anywhere_is_rejected() {
    let whole = picture("baseline.jpg");
    for length in 0..whole.len() {
        rejected(&jpeg(SIZE, whole[..length].to_vec()));
    }
}

#[test]
fn a_jpeg_of_another_size_than_its_frame_is_rejected() {
    for size in [(32, 64), (64, 32), (96, 64), (64, 96), (2048, 2048)] {
        rejected(&jpeg(size, picture("baseline.jpg")));
    }
}

#[test]
fn a_jpeg_that_claims_to_be_huge_is_rejected_by_its_header() {
    let mut bytes = picture("baseline.jpg");
    let header = bytes.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    bytes[header + 5..][..4].fill(0xff);
    rejected(&jpeg(SIZE, bytes));
}

#[test]
fn sizes_that_the_model_does_not_take_are_rejected_before_decoding() {
    for size in [(0, 0), (0, 64), (64, 65), (4096, 4096), (u32::MAX, u32::MAX), (u32::MAX - 31, 32)]
    {
        for encoding in [Encoding::Jpeg, Encoding::I420] {
            let error = detect(&frame(encoding, JFIF, size, vec![0; 100])).unwrap_err();
            assert!(
                matches!(error, FrameError::WrongSize { .. }) && error.is_permanent(),
                "{error}"
            );
        }
    }
}

#[test]
fn a_letterbox_without_pixels_is_rejected() {
    let none = Size { width: 0, height: 64 };
    let some = Size { width: 64, height: 64 };
    for (source, content) in [(none, some), (some, none)] {
        let mut frame = jpeg(SIZE, picture("baseline.jpg"));
        frame.letterbox = Letterbox { source, left: 0, top: 0, content };
        rejected(&frame);
    }
}

#[test]
fn i420_of_another_length_is_rejected() {
    for length in [0, 1, 64 * 64, 64 * 64 * 3 / 2 - 1, 64 * 64 * 3 / 2 + 1] {
        rejected(&frame(Encoding::I420, JFIF, SIZE, vec![128; length]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_bytes_are_rejected(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        rejected(&jpeg(SIZE, bytes));
    }

    #[test]
    fn a_jpeg_with_some_bytes_changed_is_decoded_or_rejected(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        file in prop::sample::select(vec!["baseline.jpg", "progressive.jpg", "grey.jpg"]),
        headers_only in any::<bool>(),
    ) {
        let mut bytes = picture(file);
        let length = if headers_only { 700.min(bytes.len()) } else { bytes.len() };
        for (index, value) in changes {
            bytes[index.index(length)] = value;
        }
        match detect(&jpeg(SIZE, bytes)) {
            Ok(_) => {}
            Err(error) => prop_assert!(matches!(error, FrameError::Undecodable(_)), "{}", error),
        }
    }

    #[test]
    fn i420_with_a_letterbox_beyond_its_picture_is_rejected(
        numbers in prop::array::uniform4(prop_oneof![0u32..100, any::<u32>()]),
        length in 0usize..7000,
    ) {
        let [left, top, width, height] = numbers;
        let mut frame = frame(Encoding::I420, JFIF, SIZE, vec![]);
        let content = Size { width, height };
        frame.letterbox = Letterbox { left, top, content, ..frame.letterbox };
        let right = frame.letterbox.sampled(frame.size).size.i420_len().unwrap();
        let fits = frame.letterbox.fits(frame.size);
        for length in [length, right] {
            frame.pixels = vec![0; length];
            if fits && length == right {
                detect(&frame).unwrap();
            } else {
                rejected(&frame);
            }
        }
    }

    #[test]
    fn any_i420_is_analysed_wherever_in_its_picture_the_frame_lies(
        pixels in prop::collection::vec(any::<u8>(), 64 * 64 * 3 / 2),
        (left, top) in (0u32..64, 0u32..64),
        (width, height) in (1u32..65, 1u32..65),
        (a, b) in (1u32.., 1u32..),
    ) {
        let mut frame = frame(Encoding::I420, JFIF, SIZE, pixels);
        let content = Size { width: width.min(64 - left), height: height.min(64 - top) };
        frame.letterbox = Letterbox { source: Size { width: a, height: b }, left, top, content };
        frame.pixels.truncate(frame.letterbox.sampled(frame.size).size.i420_len().unwrap());
        for found in detect(&frame).unwrap() {
            let [left, top, right, bottom] = found.bounds;
            prop_assert!(0.0 <= left && left <= right && right <= a as f32);
            prop_assert!(0.0 <= top && top <= bottom && bottom <= b as f32);
        }
    }
}
