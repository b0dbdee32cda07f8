//! Each step of analysing a frame, on real frames: `cargo bench -p moliceiro-vision --bench steps`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark may panic")]
#![expect(clippy::cast_possible_truncation, reason = "frames are small")]

#[path = "../tests/vision/support.rs"]
mod support;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use moliceiro_messages::{Encoding, Frame};
use moliceiro_vision::{Options, Steps};
use support::{JFIF, data, detector, frame, jpeg};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// A busy street: 416 × 416 pixels, many objects.
const PICTURE: &str = "frames/bikes-80.jpg";
/// A threshold so low that hundreds of boxes overlap.
const LOW: f32 = 0.05;

fn steps(threshold: Option<f32>) -> Steps {
    Steps::of(detector(Options { threshold, ..Options::default() }))
}

/// The same picture as JPEG and as I420.
fn frames() -> [Frame; 2] {
    let bytes = std::fs::read(data(PICTURE)).unwrap();
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::YCbCr);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&bytes), options);
    let triples = decoder.decode().unwrap();
    let (width, height) = decoder.dimensions().unwrap();
    let mut planes: Vec<u8> = triples.iter().step_by(3).copied().collect();
    for channel in 1..3 {
        let at = |x: usize, y: usize| triples[3 * (y * width + x) + channel];
        planes.extend(
            (0..height)
                .step_by(2)
                .flat_map(|y| (0..width).step_by(2).map(move |x| (x, y)))
                .map(|(x, y)| at(x, y)),
        );
    }
    let size = (width as u32, height as u32);
    [jpeg(size, bytes), frame(Encoding::I420, JFIF, size, planes)]
}

fn each_step(criterion: &mut Criterion) {
    let [jpeg, i420] = frames();
    let mut usual = steps(None);
    criterion.bench_function("payload of a JPEG", |bencher| {
        bencher.iter(|| usual.payload(black_box(&jpeg)).map(drop).unwrap())
    });
    for (name, frame) in [("tensor of a JPEG", &jpeg), ("tensor of I420", &i420)] {
        let mut samples = usual.payload(frame).unwrap();
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| black_box(&mut samples).tensor().len())
        });
    }
    let output = usual.output(&i420).unwrap();
    criterion.bench_function("boxes", |bencher| {
        bencher.iter(|| usual.boxes(black_box(&output), i420.size).unwrap())
    });
    assert!(usual.boxes(&output, i420.size).unwrap() > 0, "the picture has objects");
    criterion
        .bench_function("non-maximum suppression", |bencher| bencher.iter(|| usual.suppress()));
    let mut low = steps(Some(LOW));
    low.boxes(&output, i420.size).unwrap();
    criterion.bench_function("non-maximum suppression, many boxes", |bencher| {
        bencher.iter(|| low.suppress())
    });
}

fn whole(criterion: &mut Criterion) {
    let [jpeg, i420] = frames();
    let mut detector = detector(Options::default());
    for (name, frame) in [("a whole JPEG frame", &jpeg), ("a whole I420 frame", &i420)] {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| detector.detect(black_box(frame)).unwrap().len())
        });
    }
}

criterion_group! {
    name = fast;
    config = Criterion::default();
    targets = each_step
}
criterion_group! {
    name = slow;
    config = Criterion::default().sample_size(20);
    targets = whole
}
criterion_main!(fast, slow);
