//! Each step of analysing a frame, on real frames: `cargo bench -p moliceiro-vision --bench steps`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark may panic")]
#![expect(clippy::cast_possible_truncation, reason = "frames are small")]

#[path = "../tests/vision/support.rs"]
mod support;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use moliceiro_messages::{Encoding, Frame, Size};
use moliceiro_vision::{Decoding, Making, Options, Steps};
use support::{JFIF, data, detector, frame, jpeg};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// A busy street: 416 × 416 pixels, many objects.
const PICTURE: &str = "frames/bikes-80.jpg";
/// A threshold so low that hundreds of boxes overlap.
const LOW: f32 = 0.05;
/// The default of `detector.floor`.
const FLOOR: f32 = 0.1;

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
    for (name, floor) in [("threshold", None), ("floor", Some(FLOOR))] {
        let mut steps = Steps::of(detector(Options { floor, ..Options::default() }));
        criterion.bench_function(&format!("boxes and suppression above the {name}"), |bencher| {
            bencher.iter(|| {
                steps.boxes(black_box(&output), i420.size).unwrap();
                steps.suppress()
            })
        });
    }
    let mut low = steps(Some(LOW));
    low.boxes(&output, i420.size).unwrap();
    criterion.bench_function("non-maximum suppression, many boxes", |bencher| {
        bencher.iter(|| low.suppress())
    });
}

/// What is done besides inference, with the output of a model of 640 × 640 pixels: 80 classes and
/// 8,400 rows. The scores are those of a busy picture: few are above the threshold.
fn families(criterion: &mut Criterion) {
    const CLASSES: usize = 80;
    const ROWS: usize = 8400;
    let size = Size { width: 640, height: 640 };
    let noise = |index: usize| ((index * 7919) % 10_007) as f32 / 10_007.0;
    // One score in 10,000 is high.
    let score = |index: usize| if index % 10_000 == 77 { 0.9 } else { 0.2 * noise(index) };
    let place = |index: usize| 20.0 + 600.0 * noise(index);
    let row = |row: usize, objectness: bool| {
        let sides = [place(row), place(row + 1), 60.0, 80.0];
        let scores = (0..CLASSES).map(move |class| score(row * CLASSES + class));
        sides.into_iter().chain(objectness.then_some(0.95)).chain(scores).collect::<Vec<f32>>()
    };
    let rows = |objectness| (0..ROWS).map(|index| row(index, objectness)).collect::<Vec<_>>();
    let v5 = rows(true).concat();
    let v8: Vec<f32> = {
        let rows = rows(false);
        (0..4 + CLASSES).flat_map(|column| rows.iter().map(move |row| row[column])).collect()
    };
    let bins: Vec<f32> = (0..ROWS)
        .flat_map(|row| {
            let scores = (0..CLASSES).map(move |class| score(row * CLASSES + class));
            scores.chain((0..32).map(move |bin| 4.0 * noise(row + bin)))
        })
        .collect();
    let logits: Vec<f32> = (0..300 * CLASSES).map(|index| 8.0 * noise(index) - 9.0).collect();
    let boxes: Vec<f32> = (0..300 * 4).map(noise).collect();
    // What is left after a graph's own suppression: box, score, class, in the family's order.
    const FOUND: usize = 300;
    let object = |row: usize| {
        let (x, y) = (place(row), place(row + 1));
        let class = (row % CLASSES) as f32;
        [x - 30.0, y - 40.0, x + 30.0, y + 40.0, 1.0 - row as f32 / FOUND as f32, class]
    };
    let found = |order: [usize; 6]| {
        (0..FOUND).flat_map(|row| order.map(|at| object(row)[at])).collect::<Vec<f32>>()
    };
    let lists = || {
        let of = |columns: std::ops::Range<usize>| {
            (0..FOUND).flat_map(|row| object(row)[columns.clone()].to_vec()).collect::<Vec<f32>>()
        };
        let shape = vec![1, FOUND];
        vec![(vec![1, FOUND, 4], of(0..4)), (shape.clone(), of(5..6)), (shape, of(4..5))]
    };
    for (name, family, outputs) in [
        ("yolov5", "yolov5", vec![(vec![1, ROWS, 85], v5.clone())]),
        ("yolov8", "yolov8", vec![(vec![1, 84, ROWS], v8)]),
        ("yolox", "yolox", vec![(vec![1, ROWS, 85], v5)]),
        ("nanodet", "nanodet", vec![(vec![1, ROWS, 112], bins)]),
        (
            "rt-detr and rf-detr",
            "rt-detr",
            vec![(vec![1, 300, 80], logits.clone()), (vec![1, 300, 4], boxes.clone())],
        ),
        ("detr", "detr", vec![(vec![1, 300, 80], logits), (vec![1, 300, 4], boxes)]),
        ("yolo-end2end", "yolo-end2end", vec![(vec![1, FOUND, 6], found([0, 1, 2, 3, 4, 5]))]),
        ("paddle", "paddle", vec![(vec![FOUND, 6], found([5, 4, 0, 1, 2, 3]))]),
        ("rt-detr-export", "rt-detr-export", lists()),
        ("torchvision", "torchvision", lists()),
        ("tensorflow", "tensorflow", lists()),
    ] {
        let Some(decoding) = Decoding::of(family, outputs) else { panic!("no family {name}") };
        let mut decoding = decoding;
        criterion.bench_function(&format!("boxes and suppression of {name}"), |bencher| {
            bencher.iter(|| black_box(&mut decoding).objects(size).unwrap())
        });
    }
}

/// What is done with each frame for a model of 640 × 640 pixels of each kind of input.
fn inputs(criterion: &mut Criterion) {
    const SIDE: u32 = 640;
    let samples = (0..SIDE * SIDE * 3 / 2).map(|index| (index % 256 * 31 % 256) as u8).collect();
    let frame = frame(Encoding::I420, JFIF, (SIDE, SIDE), samples);
    for (name, file) in [
        ("float32", "nanodet-plus"),
        ("float16", "yolov8-half"),
        ("bytes, colours last", "tensorflow"),
    ] {
        let Some(mut making) = Making::of(&data("layouts").join(format!("{file}.onnx"))) else {
            panic!("{file} is no model")
        };
        criterion.bench_function(&format!("input of {name}, 640 × 640"), |bencher| {
            bencher.iter(|| making.input(black_box(&frame)).unwrap())
        });
    }
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
    targets = each_step, families, inputs
}
criterion_group! {
    name = slow;
    config = Criterion::default().sample_size(20);
    targets = whole
}
criterion_main!(fast, slow);
