//! Writing and reading what travels: `cargo bench -p moliceiro-nats --bench cbor`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark may panic")]

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{
    Color, Detection, Encoding, Event, Frame, FrameResult, Letterbox, Limits, Matrix, Object,
    Objects, Score, Size, VERSION, VideoEvent, from_cbor, to_cbor,
};

const SIZE: Size = Size { width: 416, height: 416 };

fn frame(encoding: Encoding, pixels: Vec<u8>) -> Frame {
    Frame {
        version: VERSION,
        video: VideoId::for_name("bikes.mp4", "6tPophtKDyovJh2txo1oKE"),
        index: 80,
        pts: Some(3_200_000_000),
        decoded_at: Some(1_700_000_000_000),
        encoding,
        size: SIZE,
        letterbox: Letterbox { source: SIZE, left: 0, top: 0, content: SIZE },
        color: Color { matrix: Matrix::Bt709, full_range: false },
        pixels,
    }
}

fn frames(criterion: &mut Criterion) {
    let jpeg = std::fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../detector/vision/tests/data/frames/bikes-80.jpg"),
    )
    .unwrap();
    let i420 = vec![90; SIZE.i420_len().unwrap()];
    for (name, frame) in
        [("JPEG", frame(Encoding::Jpeg, jpeg)), ("I420", frame(Encoding::I420, i420))]
    {
        let bytes = frame.to_cbor();
        let mut group = criterion.benchmark_group(format!("{name} frame"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("write", |bencher| bencher.iter(|| black_box(&frame).to_cbor()));
        group.bench_function("read", |bencher| {
            bencher.iter(|| Frame::from_cbor(black_box(&bytes)).unwrap())
        });
    }
}

fn results(criterion: &mut Criterion) {
    let limits = Limits { floor: Score::nearest(0.1), threshold: Score::nearest(0.35) };
    let bounds = |left: u8| [f32::from(left), 20.5, 110.25, 220.125];
    let compact = |objects: u8, classes: u8| {
        let mut found = Objects::new(limits);
        for left in 0..objects {
            let class = u16::from(left % classes);
            let label = ["person", "bicycle", "car", "motorcycle", "bus"][usize::from(class)];
            found.push(SIZE, Object { class, label, score: 0.7, bounds: bounds(left) });
        }
        found
    };
    let detection =
        |left: u8| Detection { label: "person".into(), score: 0.7, bounds: bounds(left) };
    let plain = (0..5).map(detection).collect::<Vec<_>>().try_into().unwrap();
    for (name, objects) in [
        ("result with 5 objects", compact(5, 1)),
        ("result with 40 objects of 5 classes", compact(40, 5)),
        ("result of before 0.2 with 5 objects", plain),
    ] {
        let result = FrameResult {
            index: 80,
            pts: Some(3_200_000_000),
            decoded_at: Some(1_700_000_000_000),
            size: Some(SIZE),
            objects,
            processing_us: 42_123,
            detector: "harbour-1234".into(),
            model: Some("nanodet".into()),
        };
        let video = VideoId::for_name("bikes.mp4", "6tPophtKDyovJh2txo1oKE");
        let event = VideoEvent::new(video, Event::Frame(result));
        let bytes = to_cbor(&event, 512);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("write", |bencher| bencher.iter(|| to_cbor(black_box(&event), 512)));
        group.bench_function("read", |bencher| {
            bencher.iter(|| from_cbor::<VideoEvent>(black_box(&bytes)).unwrap())
        });
    }
}

criterion_group!(benches, frames, results);
criterion_main!(benches);
