//! The fold over a video's results: `cargo bench -p moliceiro-analytics --bench fold`.

#![expect(clippy::cast_possible_truncation, reason = "the numbers are the constants below")]
#![expect(clippy::expect_used, reason = "the rules below are well-formed")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use moliceiro_analytics::{Fold, FrameObservations, Observation, Rules};
use moliceiro_messages::{Size, TrackerKind};

const SIZE: Size = Size { width: 1920, height: 1080 };
const FRAMES: u64 = 100;

/// So many objects that walk through the picture; a fifth of the boxes is missing.
fn frames(objects: u64) -> Vec<Vec<Observation<'static>>> {
    let mut state = 1_u64;
    let mut random = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    let actors: Vec<_> = (0..objects)
        .map(|n| (random() * 1920.0, 100.0 + random() * 900.0, random() * 6.0 - 3.0, n % 4 == 0))
        .collect();
    let mut frame = |n: u64| {
        let of = |(x, y, speed, is_car): &(f32, f32, f32, bool)| {
            let x = (x + speed * n as f32).rem_euclid(1920.0) + random() * 6.0;
            let label = if *is_car { "car" } else { "person" };
            let (score, bounds) = (0.5 + random() / 2.0, [x - 20.0, y - 90.0, x + 20.0, *y]);
            (random() > 0.2).then_some(Observation { label, score, bounds })
        };
        actors.iter().filter_map(of).collect()
    };
    (0..2 * FRAMES).map(&mut frame).collect()
}

fn rules(tracker: TrackerKind) -> Rules {
    let line = |text: &str| text.parse().expect("a line");
    let zone = |text: &str| text.parse().expect("a zone");
    Rules {
        tracker,
        lines: vec![line("gate: 0.5,1 0.5,0"), line("door: 0.1,0.5 0.9,0.5")],
        zones: vec![zone("quay: 0,0.5 1,0.5 1,1 0,1")],
        alarms: vec!["person in quay for 10s".parse().expect("a rule")],
        labels: vec![],
    }
}

fn add(fold: &mut Fold, index: u64, objects: &[Observation<'_>]) {
    let (pts, size) = (Some(index * 40_000_000), Some(SIZE));
    let frame = FrameObservations { index, pts, size, threshold: 0.3, objects };
    fold.frame(&frame, &mut |finding| _ = black_box(finding));
}

fn fold(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fold");
    group.sample_size(20).throughput(Throughput::Elements(FRAMES));
    for tracker in [TrackerKind::Bytetrack, TrackerKind::Ocsort] {
        for objects in [10, 100] {
            let frames = frames(objects);
            let (first, then) = frames.split_at(FRAMES as usize);
            let mut warm = Fold::new(&rules(tracker));
            (0..).zip(first).for_each(|(index, objects)| add(&mut warm, index, objects));
            group.bench_function(
                format!("100 frames of {objects} objects, {tracker}"),
                |bencher| {
                    bencher.iter_batched_ref(
                        || warm.clone(),
                        |fold| {
                            (FRAMES..)
                                .zip(then)
                                .for_each(|(index, objects)| add(fold, index, objects));
                        },
                        BatchSize::LargeInput,
                    );
                },
            );
            group.bench_function(format!("state with {objects} objects, {tracker}"), |bencher| {
                bencher.iter(|| black_box(&warm).to_bytes());
            });
        }
    }
}

criterion_group!(benches, fold);
criterion_main!(benches);
