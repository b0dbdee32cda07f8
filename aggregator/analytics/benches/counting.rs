//! Counting the results of one video and of many:
//! `cargo bench -p moliceiro-analytics --bench counting`.

#![expect(clippy::cast_possible_truncation, reason = "the numbers are the constants below")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use moliceiro_analytics::VideoTotals;
use moliceiro_messages::{
    Event, FrameResult, FrameSelection, Limits, Object, Objects, Progress, Score, Size, Started,
    Tracking, VideoId, to_json,
};

const RESULTS: u64 = 10_000;
const MANY_VIDEOS: u64 = 10_000;

fn result(index: u64) -> Event {
    let size = Size { width: 1280, height: 720 };
    let limits = Limits { floor: Score::nearest(0.1), threshold: Score::nearest(0.35) };
    let mut objects = Objects::new(limits);
    for (class, label) in [(2, "car"), (0, "person"), (0, "person"), (1, "bicycle")] {
        let bounds = [10.0, 20.0, 110.0, 220.0];
        objects.push(size, Object { class, label, score: 0.7, bounds });
    }
    Event::Frame(FrameResult {
        index,
        pts: Some(index * 40_000_000),
        decoded_at: Some(1_700_000_000_000),
        size: Some(size),
        objects,
        processing_us: 42_123,
        detector: "harbour-1234".into(),
        model: Some("nanodet".into()),
    })
}

/// A video whose frames are all confirmed, and whose first `counted` frames are counted.
fn video(frames: u64, counted: u64) -> VideoTotals {
    let started = Started {
        name: "bikes.mp4".into(),
        uri: "file:///bikes.mp4".into(),
        selection: FrameSelection::every(1),
        uploaded_at: 0,
        alarms: None,
        tracking: Tracking::default(),
        window: None,
        labels: vec![],
        fingerprint: None,
        model: None,
    };
    let mut totals = VideoTotals::new(started, &[]);
    totals.apply(
        &Event::Progress(Progress { published: frames, frames: None, announced: Some(frames) }),
        0,
    );
    for index in 0..counted {
        totals.apply(&result(index), 0);
    }
    totals
}

fn counting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("count results");
    group.sample_size(20).throughput(Throughput::Elements(RESULTS));
    let results: Vec<_> = (0..RESULTS).map(result).collect();
    let count_one = |totals: &mut VideoTotals| {
        results.iter().for_each(|result| _ = black_box(totals.apply(result, 0)))
    };
    group.bench_function("of 1 video", |bencher| {
        bencher.iter_batched_ref(|| video(RESULTS, 0), count_one, BatchSize::LargeInput)
    });
    let next_result = result(5);
    let count_each = |videos: &mut Vec<VideoTotals>| {
        videos.iter_mut().for_each(|totals| _ = black_box(totals.apply(&next_result, 0)))
    };
    let videos = vec![video(10, 5); MANY_VIDEOS as usize];
    group.bench_function("of 10,000 videos", |bencher| {
        bencher.iter_batched_ref(|| videos.clone(), count_each, BatchSize::LargeInput)
    });
}

fn entries(criterion: &mut Criterion) {
    let id = VideoId::for_name("bikes.mp4", "1");
    for frames in [1_000, 100_000] {
        let mut totals = video(frames, 0);
        // Every third frame is missing, so that the bitmap has no long runs.
        for index in (0..frames).filter(|index| index % 3 != 0) {
            totals.apply(&result(index), 0);
        }
        criterion
            .bench_function(&format!("entry of a video of {frames} frames as JSON"), |bencher| {
                bencher.iter(|| to_json(&black_box(&totals).to_entry(&id, false)))
            });
    }
}

criterion_group!(benches, counting, entries);
criterion_main!(benches);
