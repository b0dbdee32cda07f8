//! Sends videos through a pipeline and times each step from outside, by what passes over NATS, and
//! by what is stored afterwards: following each result would take part of the time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, SystemTimeError, UNIX_EPOCH};

use anyhow::{Context, anyhow, bail};
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use futures_util::StreamExt;
use moliceiro_nats::messages::{
    Event, FrameResult, RequestedSelection, Summary, Upload, VideoEntry, VideoEvent, VideoState,
    from_cbor, from_json, to_json,
};
use moliceiro_nats::subjects::{ALL_DETECTIONS, ALL_SUMMARIES, UPLOAD_SUBJECT};
use moliceiro_nats::{Streams, VideoChange, VideoId};
use tokio::task::JoinHandle;
use tokio::time::timeout;
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
    /// How many analysed frames its entry had, and when.
    entries: Vec<(usize, SystemTime)>,
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
    let mut summaries = client.subscribe(ALL_SUMMARIES).await?;
    let mut changes = streams.videos().watch_all().await.context("cannot follow the videos")?;
    client.flush().await?;
    let first_result = streams.results.get_info().await?.state.last_sequence + 1;
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
    let (mut run, mut last) = (PipelineRun::default(), Instant::now());
    while followed.values().any(|video| video.summary.is_none()) {
        let mut checks =
            tokio::time::interval_at(tokio::time::Instant::now() + CHECK_INTERVAL, CHECK_INTERVAL);
        tokio::select! {
            Some(change) = changes.next() => if let VideoChange::Written(stored) = change? {
                record_entry(&mut followed, &mut run, started_at, &stored.entry)?;
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
        progress.frames(followed.values().map(|video| video.analysed() as u64).sum());
    }
    run.seconds = started_at.elapsed().as_secs_f64();
    run.usage = meter.read()?;
    drop(scraping);
    run.stages = times(&streams, first_result, &followed).await?.stages();
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
    Ok(run)
}

/// Stops scraping when it is dropped.
struct Scraping(JoinHandle<()>);

impl Drop for Scraping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn record_entry(
    followed: &mut BTreeMap<VideoId, ObservedVideo>,
    run: &mut PipelineRun,
    started_at: Instant,
    entry: &VideoEntry,
) -> anyhow::Result<()> {
    let Some(video) = followed.get_mut(&entry.video) else { return Ok(()) };
    let progress = entry.progress();
    let (analysed, settled) = (usize::try_from(progress.counted)?, progress.settled());
    if analysed > video.analysed() {
        video.entries.push((analysed, SystemTime::now()));
    }
    if settled > 0 {
        run.first_seen.get_or_insert(started_at.elapsed());
    }
    if entry.counted > 0 {
        run.first_counted.get_or_insert(started_at.elapsed());
    }
    Ok(())
}

impl ObservedVideo {
    fn analysed(&self) -> usize {
        self.entries.last().map_or(0, |(analysed, _)| *analysed)
    }
}

/// How long the frames of these videos took, by their results, which are stored from this sequence
/// on.
async fn times(
    streams: &Streams,
    first_result: u64,
    followed: &BTreeMap<VideoId, ObservedVideo>,
) -> anyhow::Result<Times> {
    let config = OrderedConfig {
        filter_subject: ALL_DETECTIONS.into(),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: first_result },
        ..OrderedConfig::default()
    };
    let consumer = streams.results.create_consumer(config).await?;
    let mut times = Times::default();
    if consumer.cached_info().num_pending == 0 {
        return Ok(times);
    }
    // One aggregator counts results in the order in which they are stored, so those of a video that
    // its entry has are the first ones.
    let mut results: BTreeMap<&VideoId, usize> = BTreeMap::new();
    let mut messages = consumer.messages().await?;
    while let Some(message) =
        timeout(IDLE_TIMEOUT, messages.next()).await.context("the server does not answer")?
    {
        let message = message?;
        let info = message.info().map_err(|error| anyhow!(error))?;
        let stored = SystemTime::from(info.published);
        let event: VideoEvent = from_cbor(&message.payload)?;
        if let (Some((id, video)), Event::Frame(frame)) =
            (followed.get_key_value(&event.video), &event.event)
        {
            times.add(frame, stored);
            let number = results.entry(id).or_default();
            let entry = video.entries.iter().find(|(analysed, _)| analysed > number);
            if let Some((_, written)) = entry {
                times.counting.push(milliseconds(written.duration_since(stored)));
            }
            *number += 1;
        }
        if info.pending == 0 {
            break;
        }
    }
    Ok(times)
}

/// Zero if the clock was set back.
fn milliseconds(time: Result<Duration, SystemTimeError>) -> f64 {
    time.unwrap_or_default().as_secs_f64() * 1e3
}

impl Times {
    fn add(&mut self, result: &FrameResult, stored: SystemTime) {
        let detecting = result.processing_us as f64 / 1e3;
        self.detecting.push(detecting);
        if let Some(decoded_at) = result.decoded_at {
            let decoded = UNIX_EPOCH + Duration::from_millis(decoded_at);
            self.waiting.push((milliseconds(stored.duration_since(decoded)) - detecting).max(0.0));
        }
    }

    fn stages(self) -> Vec<(String, Latency)> {
        let stages =
            [("waiting", self.waiting), ("detecting", self.detecting), ("counting", self.counting)];
        stages
            .into_iter()
            .filter_map(|(name, times)| Some((name.to_owned(), Latency::of(times)?)))
            .collect()
    }
}
