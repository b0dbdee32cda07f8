//! Measures one aggregator, with more results waiting than any detectors could publish.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::StreamExt;
use moliceiro_analytics::VideoTotals;
use moliceiro_nats::messages::{
    Ended, Event, FrameResult, FrameSelection, Limits, Object, Objects, Progress, Score, Size,
    Started, Tracking, VideoEntry, VideoEvent, milliseconds_now, to_cbor,
};
use moliceiro_nats::videos::VideoChanges;
use moliceiro_nats::{VideoChange, VideoId, subjects};

use super::synthetic::{Message, publish};
use crate::part::PartContext;
use crate::pipeline::{Pipeline, ServiceSet};
use crate::report::Figure;
use crate::usage::Usage;

/// How many videos the results belong to.
pub(super) const VIDEOS: [u64; 2] = [1, 100];
/// How many videos are in progress while memory is measured.
const IN_PROGRESS: u64 = 1000;
/// Every Nth frame of those is not counted yet.
const MISSING: u64 = 97;
const WINDOW: usize = 256;
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) async fn measure(context: &PartContext<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut rates = VIDEOS.map(|_| vec![]);
    for _ in 0..context.repeat {
        for (videos, rates) in VIDEOS.into_iter().zip(&mut rates) {
            context.progress.begin(&format!("{} results of {videos} videos", context.messages));
            rates.push(rate(context, videos).await?);
            context.progress.done();
        }
    }
    context.progress.begin(&format!("{IN_PROGRESS} videos in progress"));
    let memory = memory(context).await?;
    context.progress.done();
    let rates = VIDEOS.into_iter().zip(rates).filter_map(|(videos, rates)| {
        Figure::of(
            "aggregator",
            format!("counted and written, results of {videos} videos"),
            "results/s",
            rates,
        )
    });
    let what =
        format!("peak memory with {IN_PROGRESS} videos of {} frames in progress", context.messages);
    Ok(rates.chain(Figure::of("aggregator", what, "MB", [memory])).collect())
}

fn only_aggregator() -> ServiceSet {
    ServiceSet { ingest: false, detectors: 0, aggregator: true, metrics: false }
}

/// Results per second from the first entry that is written to the last result counted. All results
/// are in the stream before the aggregator starts.
async fn rate(context: &PartContext<'_>, videos: u64) -> anyhow::Result<f64> {
    let mut pipeline =
        Pipeline::separate(context.setup, ServiceSet { aggregator: false, ..only_aggregator() })
            .await?;
    let frames = context.messages.div_ceil(videos);
    let messages = (0..videos).flat_map(|n| {
        let video = VideoId::for_name("bench", &n.to_string());
        let progress =
            Event::Progress(Progress { published: frames, frames: None, announced: None });
        let ended = Event::Ended(Ended {
            frames,
            decoded: frames,
            duration: None,
            problem: None,
            notices: vec![],
            skipped: None,
        });
        let head = [("started", Event::Started(started())), ("progress", progress)];
        let head = head.map(|(id, event)| message(&video, id, event));
        let last = message(&video, "ended", ended);
        let of_frames = (0..frames)
            .map(move |index| message(&video, &index.to_string(), Event::Frame(result(index))));
        head.into_iter().chain(of_frames).chain([last])
    });
    publish(&pipeline.streams.jetstream, messages, WINDOW).await?;

    let mut changes = pipeline.streams.videos().watch_all().await?;
    pipeline.start_aggregator(context.setup)?;
    let (mut counted, mut first) = (BTreeMap::new(), None);
    while counted.values().sum::<u64>() < frames * videos {
        let entry = next_entry(&mut changes).await?;
        counted.insert(entry.video.clone(), entry.counted);
        let sum = counted.values().sum();
        context.progress.frames(sum);
        if sum > 0 {
            first.get_or_insert((Instant::now(), sum));
        }
    }
    let (since, before) = first.context("nothing was counted")?;
    let (counted, seconds) = (frames * videos - before, since.elapsed().as_secs_f64());
    pipeline.stop().await;
    if counted == 0 {
        bail!("the first entry has all {} results: publish more with --messages", context.messages);
    }
    Ok(counted as f64 / seconds)
}

/// Peak memory in megabytes, after each of the videos in progress got one more result.
async fn memory(context: &PartContext<'_>) -> anyhow::Result<f64> {
    let pipeline = Pipeline::separate(context.setup, only_aggregator()).await?;
    let count = tokio::task::spawn_blocking({
        let frames = context.messages;
        move || in_progress(frames)
    });
    let count = count.await?;
    let videos: Vec<_> =
        (0..IN_PROGRESS).map(|n| VideoId::for_name("bench", &n.to_string())).collect();
    for video in &videos {
        pipeline.streams.videos().write(&count.to_entry(video, false), None).await?;
    }
    let mut changes = pipeline.streams.videos().watch_all().await?;
    while next_change(&mut changes).await? != VideoChange::Loaded {}
    let messages = videos.iter().map(|video| message(video, "0", Event::Frame(result(0))));
    publish(&pipeline.streams.jetstream, messages, WINDOW).await?;
    for seen in 0..IN_PROGRESS {
        next_entry(&mut changes).await?;
        context.progress.frames(seen);
    }
    let processes = pipeline.measured_processes()?;
    let aggregator = processes
        .iter()
        .find(|process| process.name == "aggregator")
        .context("the pipeline has no aggregator")?;
    let peak = Usage::of(aggregator.pid)?.peak_rss as f64 / 1e6;
    pipeline.stop().await;
    Ok(peak)
}

/// A video with some frames not counted yet, among them the first.
fn in_progress(frames: u64) -> VideoTotals {
    let mut count = VideoTotals::new(started(), &[]);
    count.apply(
        &Event::Progress(Progress { published: frames, frames: None, announced: Some(frames) }),
        0,
    );
    for index in (0..frames).filter(|index| !index.is_multiple_of(MISSING)) {
        count.apply(&Event::Frame(result(index)), 0);
    }
    count
}

async fn next_entry(changes: &mut VideoChanges) -> anyhow::Result<VideoEntry> {
    loop {
        if let VideoChange::Written(stored) = next_change(changes).await? {
            return Ok(stored.entry);
        }
    }
}

async fn next_change(changes: &mut VideoChanges) -> anyhow::Result<VideoChange> {
    let next = tokio::time::timeout(IDLE_TIMEOUT, changes.next())
        .await
        .context("the aggregator wrote nothing")?;
    Ok(next.context("the server stopped sending entries")??)
}

fn message(video: &VideoId, id: &str, event: Event) -> Message {
    let subject = subjects::event(video, &event);
    let payload = to_cbor(&VideoEvent::new(video.clone(), event), 512);
    (subject, format!("{video}/{id}"), Bytes::from(payload))
}

fn started() -> Started {
    let (name, uri, uploaded_at) = ("bench".into(), "file:///bench".into(), milliseconds_now());
    Started {
        name,
        uri,
        selection: FrameSelection::every(1),
        uploaded_at,
        alarms: None,
        tracking: Tracking::default(),
        window: None,
        labels: vec![],
        fingerprint: None,
        model: None,
    }
}

fn result(index: u64) -> FrameResult {
    let size = Size { width: 1280, height: 720 };
    let limits = Limits { floor: Score::nearest(0.1), threshold: Score::nearest(0.35) };
    let mut objects = Objects::new(limits);
    // Three of them count.
    for (class, label, score) in
        [(2, "car", 0.7), (0, "person", 0.7), (0, "person", 0.7), (0, "person", 0.2)]
    {
        objects.push(size, Object { class, label, score, bounds: [10.0, 20.0, 110.0, 220.0] });
    }
    FrameResult {
        index,
        pts: Some(index * 40_000_000),
        decoded_at: Some(milliseconds_now()),
        size: Some(size),
        objects,
        processing_us: 40_000,
        detector: "bench".into(),
        model: Some("nanodet".into()),
    }
}
