//! Each step of looking at a frame, on real frames: `cargo bench -p moliceiro-detector --bench
//! steps`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark may panic")]

use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::{Criterion, criterion_group, criterion_main};
use moliceiro_messages::VideoId;
use moliceiro_messages::{Color, Encoding, Frame, Letterbox, Matrix, Size};
use moliceiro_vision::{Detector, Model, Options, Runtime, Steps};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// A busy street: 416 × 416 pixels, many objects.
const PICTURE: &str = "tests/data/frames/bikes-80.jpg";
/// So low that boxes overlap by the hundred.
const LOW: f32 = 0.05;

fn steps(threshold: Option<f32>) -> Steps {
    let options = Options { threshold, ..Options::default() };
    Steps::of(
        Detector::new(&Runtime::load(None, bundled()).unwrap(), &Model::builtin(), options)
            .unwrap(),
    )
}

fn frame(encoding: Encoding, size: Size, pixels: Vec<u8>) -> Frame {
    let letterbox = Letterbox { source: size, left: 0, top: 0, content: size };
    let color = Color { matrix: Matrix::Bt601, full_range: true };
    Frame {
        version: 1,
        video: VideoId::for_name("bench", "1"),
        index: 0,
        pts: None,
        decoded_at: None,
        encoding,
        size,
        letterbox,
        color,
        pixels,
    }
}

/// The same picture as JPEG and as I420.
fn frames() -> [Frame; 2] {
    let jpeg = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(PICTURE)).unwrap();
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::YCbCr);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&jpeg), options);
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
    let size = Size { width: width as u32, height: height as u32 };
    [frame(Encoding::Jpeg, size, jpeg), frame(Encoding::I420, size, planes)]
}

fn each_step(criterion: &mut Criterion) {
    let [jpeg, i420] = frames();
    let mut usual = steps(None);
    criterion.bench_function("payload of a JPEG", |bencher| {
        bencher.iter(|| usual.payload(black_box(&jpeg)).unwrap())
    });
    criterion.bench_function("tensor of a JPEG", |bencher| {
        bencher.iter(|| usual.tensor(black_box(&jpeg)).len())
    });
    usual.payload(&i420).unwrap();
    criterion.bench_function("tensor of I420", |bencher| {
        bencher.iter(|| usual.tensor(black_box(&i420)).len())
    });
    let output = usual.output(&i420).unwrap();
    criterion.bench_function("boxes", |bencher| {
        bencher.iter(|| usual.boxes(black_box(&output), i420.size))
    });
    assert!(usual.boxes(&output, i420.size) > 0, "there is something in the picture");
    criterion
        .bench_function("non-maximum suppression", |bencher| bencher.iter(|| usual.suppress()));
    let mut low = steps(Some(LOW));
    low.boxes(&output, i420.size);
    criterion.bench_function("non-maximum suppression, many boxes", |bencher| {
        bencher.iter(|| low.suppress())
    });
}

fn whole(criterion: &mut Criterion) {
    let [jpeg, i420] = frames();
    let mut detector = Detector::new(
        &Runtime::load(None, bundled()).unwrap(),
        &Model::builtin(),
        Options::default(),
    )
    .unwrap();
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

/// The library that `make setup` installs.
fn bundled() -> Option<PathBuf> {
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.deps/lib/libonnxruntime.so"))
}
