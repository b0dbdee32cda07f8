//! Sends videos through a pipeline and times each step from outside, by what passes over NATS.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::StreamExt;
use moliceiro_nats::messages::{
    Event, FrameResult, RequestedSelection, Summary, Upload, VideoEntry, VideoEvent, VideoState,
    from_cbor, from_json, milliseconds_now, to_json,
};
use moliceiro_nats::subjects::{ALL_DETECTIONS, ALL_SUMMARIES, UPLOAD_SUBJECT};
use moliceiro_nats::{VideoChange, VideoId};
use tokio::task::JoinHandle;
use url::Url;

use crate::pipeline::Pipeline;
use crate::progress::Progress;
use crate::scrape;
use crate::statistics::Latency;
use crate::usage::{Meter, ProcessUsage};

/// A pipeline that does nothing for this long is broken.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What one run of the pipeline measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct PipelineRun {
    pub(crate) frames: u64,
    pub(crate) failed: u64,
    pub(crate) objects: u64,
    /// From the first upload to the last summary.
    pub(crate) seconds: f64,
    /// From the first upload until the first frame is in its video's entry.
    pub(crate) first_seen: Option<Duration>,
    /// From the first upload until the first frame is in the totals for good.
    pub(crate) first_counted: Option<Duration>,
    pub(crate) stages: Vec<(String, Latency)>,
    pub(crate) usage: Vec<ProcessUsage>,
}

/// How far a video is.
#[derive(Default)]
struct ObservedVideo {
    /// When each result arrived.
    done: Vec<Instant>,
    /// How many of them are in the entry.
    counted: usize,
    summary: Option<Summary>,
}

/// Milliseconds that each frame spent in each stage.
#[derive(Default)]
struct Times {
    waiting: Vec<f64>,
    detecting: Vec<f64>,
    counting: Vec<f64>,
}

/// Uploads all videos to a warmed-up pipeline and follows them to their summaries.
pub(crate) async fn run(
    pipeline: &mut Pipeline,
    videos: &[Url],
    scrape: bool,
    progress: &Progress,
) -> anyhow::Result<PipelineRun> {
    let streams = pipeline.streams.clone();
    let client = streams.jetstream.client();
    let mut results = client.subscribe(ALL_DETECTIONS).await?;
    let mut summaries = client.subscribe(ALL_SUMMARIES).await?;
    let mut changes = streams.videos().watch_all().await.context("cannot follow the videos")?;
    client.flush().await?;
    let scraping =
        scrape.then(|| Scraping(tokio::spawn(scrape::every_second(pipeline.endpoints.clone()))));

    let meter = Meter::start(pipeline.measured_processes()?)?;
    let started_at = Instant::now();
    let mut followed = BTreeMap::new();
    for uri in videos {
        let id = VideoId::for_name("bench", &nuid::next());
        let upload = Upload {
            id: Some(id.clone()),
            selection: RequestedSelection { every: Some(1), ..Default::default() },
            ..Upload::of(uri.clone())
        };
        streams
            .publisher
            .publish(UPLOAD_SUBJECT, &format!("upload/{id}"), to_json(&upload).into())
            .await?;
        followed.insert(id, ObservedVideo::default());
    }
    let (mut run, mut times, mut last) = (PipelineRun::default(), Times::default(), Instant::now());
    while followed.values().any(|video| video.summary.is_none()) {
        let mut checks =
            tokio::time::interval_at(tokio::time::Instant::now() + CHECK_INTERVAL, CHECK_INTERVAL);
        tokio::select! {
            Some(message) = results.next() => {
                record_result(&mut followed, &mut times, &from_cbor(&message.payload)?);
            }
            Some(change) = changes.next() => if let VideoChange::Written(stored) = change? {
                record_entry(&mut followed, &mut times, &mut run, started_at, &stored.entry)?;
            },
            Some(message) = summaries.next() => {
                let summary: Summary = from_json(&message.payload)?;
                if let Some(video) = followed.get_mut(&summary.video) {
                    video.summary = Some(summary);
                }
            }
            _ = checks.tick() => {
                pipeline.check()?;
                if last.elapsed() >= IDLE_TIMEOUT {
                    bail!("the pipeline did nothing for {} s", IDLE_TIMEOUT.as_secs());
                }
                continue;
            }
        }
        last = Instant::now();
        progress.frames(followed.values().map(|video| video.done.len() as u64).sum());
    }
    run.seconds = started_at.elapsed().as_secs_f64();
    run.usage = meter.read()?;
    drop(scraping);
    for summary in followed.into_values().filter_map(|video| video.summary) {
        if summary.state == VideoState::Failed {
            bail!(
                "{}",
                summary.problem.unwrap_or_else(|| format!("cannot count {}", summary.name))
            );
        }
        run.frames += summary.processed_frames;
        run.failed += summary.failed_frames;
        run.objects += summary.classes.values().sum::<u64>();
    }
    run.stages = times.stages();
    Ok(run)
}

/// Stops scraping when it is dropped.
struct Scraping(JoinHandle<()>);

impl Drop for Scraping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn record_result(
    followed: &mut BTreeMap<VideoId, ObservedVideo>,
    times: &mut Times,
    event: &VideoEvent,
) {
    let (Some(video), Event::Frame(FrameResult { decoded_at, processing_us, .. })) =
        (followed.get_mut(&event.video), &event.event)
    else {
        return;
    };
    let detecting = *processing_us as f64 / 1e3;
    times.detecting.push(detecting);
    if let Some(decoded_at) = decoded_at {
        times
            .waiting
            .push((milliseconds_now().saturating_sub(*decoded_at) as f64 - detecting).max(0.0));
    }
    video.done.push(Instant::now());
}

/// One aggregator counts results in the order of their arrival, so the first N are those counted.
fn record_entry(
    followed: &mut BTreeMap<VideoId, ObservedVideo>,
    times: &mut Times,
    run: &mut PipelineRun,
    started_at: Instant,
    entry: &VideoEntry,
) -> anyhow::Result<()> {
    let Some(video) = followed.get_mut(&entry.video) else { return Ok(()) };
    let settled = usize::try_from(entry.progress().settled())?.min(video.done.len());
    let now = Instant::now();
    for done in &video.done[video.counted.min(settled)..settled] {
        times.counting.push((now - *done).as_secs_f64() * 1e3);
    }
    video.counted = video.counted.max(settled);
    if settled > 0 {
        run.first_seen.get_or_insert(now - started_at);
    }
    if entry.counted > 0 {
        run.first_counted.get_or_insert(now - started_at);
    }
    Ok(())
}

impl Times {
    fn stages(self) -> Vec<(String, Latency)> {
        let stages =
            [("waiting", self.waiting), ("detecting", self.detecting), ("counting", self.counting)];
        stages
            .into_iter()
            .filter_map(|(name, times)| Some((name.to_owned(), Latency::of(times)?)))
            .collect()
    }
}
