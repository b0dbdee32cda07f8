//! One aggregator with more results than any detector gives.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use async_nats::jetstream::kv::Watch;
use bytes::Bytes;
use futures_util::StreamExt;
use moliceiro_analytics::VideoCount;
use moliceiro_nats::messages::{
    Detection, Ended, Event, FrameResult, FrameSelection, Progress, Started, VideoEntry,
    VideoEvent, from_json, milliseconds_now, to_cbor, to_json,
};
use moliceiro_nats::{VideoId, subjects};

use super::Work;
use super::synthetic::{Message, publish};
use crate::pipeline::{Pipeline, Wanted};
use crate::report::Figure;
use crate::usage::Usage;

/// Videos that the results are of.
pub(super) const VIDEOS: [u64; 2] = [1, 100];
/// Videos in progress when memory is measured.
const IN_PROGRESS: u64 = 1000;
/// Each how many-th frame of those is not counted yet.
const MISSING: u64 = 97;
const WINDOW: usize = 256;
const SILENCE: Duration = Duration::from_secs(60);

pub(super) async fn measure(work: &Work<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut rates = VIDEOS.map(|_| vec![]);
    for _ in 0..work.repeat {
        for (videos, rates) in VIDEOS.into_iter().zip(&mut rates) {
            work.progress.begin(&format!("{} results of {videos} videos", work.messages));
            rates.push(rate(work, videos).await?);
            work.progress.done();
        }
    }
    work.progress.begin(&format!("{IN_PROGRESS} videos in progress"));
    let memory = memory(work).await?;
    work.progress.done();
    let rates = VIDEOS.into_iter().zip(rates).filter_map(|(videos, rates)| {
        Figure::of(
            "aggregator",
            format!("counted and written, results of {videos} videos"),
            "results/s",
            rates,
        )
    });
    let what =
        format!("peak memory with {IN_PROGRESS} videos of {} frames in progress", work.messages);
    Ok(rates.chain(Figure::of("aggregator", what, "MB", [memory])).collect())
}

fn only_aggregator() -> Wanted {
    Wanted { ingest: false, detectors: 0, aggregator: true, metrics: false }
}

/// Results per second from the first entry that is written to the last result counted; all of them
/// were there before.
async fn rate(work: &Work<'_>, videos: u64) -> anyhow::Result<f64> {
    let mut pipeline =
        Pipeline::separate(work.setup, Wanted { aggregator: false, ..only_aggregator() }).await?;
    let frames = work.messages.div_ceil(videos);
    let messages = (0..videos).flat_map(|n| {
        let video = VideoId::for_name("bench", &n.to_string());
        let progress =
            Event::Progress(Progress { published: frames, frames: None, announced: None });
        let ended = Event::Ended(Ended { frames, decoded: frames, duration: None, problem: None });
        let head = [("started", Event::Started(started())), ("progress", progress)];
        let head = head.map(|(id, event)| message(&video, id, event));
        let last = message(&video, "ended", ended);
        let of_frames = (0..frames)
            .map(move |index| message(&video, &index.to_string(), Event::Frame(result(index))));
        head.into_iter().chain(of_frames).chain([last])
    });
    publish(&pipeline.streams.jetstream, messages, WINDOW).await?;

    let mut entries = pipeline.streams.videos.watch_all().await?;
    pipeline.start_aggregator(work.setup)?;
    let (mut counted, mut first) = (BTreeMap::new(), None);
    while counted.values().sum::<u64>() < frames * videos {
        let entry = next_entry(&mut entries).await?;
        counted.insert(entry.video.clone(), entry.counted);
        let sum = counted.values().sum();
        work.progress.frames(sum);
        if sum > 0 {
            first.get_or_insert((Instant::now(), sum));
        }
    }
    let (since, before) = first.context("nothing was counted")?;
    let (counted, seconds) = (frames * videos - before, since.elapsed().as_secs_f64());
    pipeline.stop().await;
    if counted == 0 {
        bail!("{} results are counted at once: make more with --messages", work.messages);
    }
    Ok(counted as f64 / seconds)
}

/// Megabytes at most, once each of the videos in progress has got one more result.
async fn memory(work: &Work<'_>) -> anyhow::Result<f64> {
    let pipeline = Pipeline::separate(work.setup, only_aggregator()).await?;
    let count = tokio::task::spawn_blocking({
        let frames = work.messages;
        move || in_progress(frames)
    });
    let count = count.await?;
    let videos: Vec<_> =
        (0..IN_PROGRESS).map(|n| VideoId::for_name("bench", &n.to_string())).collect();
    for video in &videos {
        pipeline
            .streams
            .videos
            .put(video.as_str(), to_json(&count.to_entry(video, false)).into())
            .await?;
    }
    let mut entries = pipeline.streams.videos.watch_all().await?;
    let messages = videos.iter().map(|video| message(video, "0", Event::Frame(result(0))));
    publish(&pipeline.streams.jetstream, messages, WINDOW).await?;
    for seen in 0..IN_PROGRESS {
        next_entry(&mut entries).await?;
        work.progress.frames(seen);
    }
    let subjects = pipeline.subjects()?;
    let aggregator = subjects
        .iter()
        .find(|subject| subject.name == "aggregator")
        .context("there is no aggregator")?;
    let peak = Usage::of(aggregator.pid)?.peak_rss as f64 / 1e6;
    pipeline.stop().await;
    Ok(peak)
}

/// A video of which some frames are not counted yet, the first of them among those.
fn in_progress(frames: u64) -> VideoCount {
    let mut count = VideoCount::new(started(), &[]);
    count.apply(
        &Event::Progress(Progress { published: frames, frames: None, announced: Some(frames) }),
        0,
    );
    for index in (0..frames).filter(|index| !index.is_multiple_of(MISSING)) {
        count.apply(&Event::Frame(result(index)), 0);
    }
    count
}

async fn next_entry(entries: &mut Watch) -> anyhow::Result<VideoEntry> {
    let next = tokio::time::timeout(SILENCE, entries.next())
        .await
        .context("the aggregator writes nothing")?;
    Ok(from_json(&next.context("the server gives no entries")??.value)?)
}

fn message(video: &VideoId, id: &str, event: Event) -> Message {
    let payload = to_cbor(&VideoEvent::new(video.clone(), event), 512);
    (subjects::results(video), format!("{video}/{id}"), Bytes::from(payload))
}

fn started() -> Started {
    let (name, uri, uploaded_at) = ("bench".into(), "file:///bench".into(), milliseconds_now());
    Started {
        name,
        uri,
        selection: FrameSelection::every(1),
        uploaded_at,
        alarms: None,
        labels: vec![],
    }
}

fn result(index: u64) -> FrameResult {
    let detection = |label: &str| Detection {
        label: label.into(),
        score: 0.7,
        bounds: [10.0, 20.0, 110.0, 220.0],
    };
    let detections = ["car", "person", "person"].map(detection).to_vec();
    FrameResult {
        index,
        pts: Some(index * 40_000_000),
        decoded_at: Some(milliseconds_now()),
        size: None,
        detections,
        processing_us: 40_000,
        detector: "bench".into(),
        model: Some("nanodet".into()),
    }
}
