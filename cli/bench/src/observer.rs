//! Videos on their way through the pipeline, seen from outside, with the time of each step.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use async_nats::jetstream::kv;
use futures_util::StreamExt;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{
    Event, FrameResult, Summary, Upload, VideoEntry, VideoEvent, VideoState, from_cbor, from_json,
    milliseconds_now, to_json,
};
use moliceiro_nats::subjects::UPLOAD_SUBJECT;
use tokio::task::JoinHandle;
use url::Url;

use super::pipeline::Pipeline;
use super::progress::Progress;
use super::statistics::Latency;
use super::usage::{Meter, ProcessUse};

/// A pipeline in which nothing happens for so long is broken.
const SILENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_secs(1);

/// What one run of the pipeline gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct PipelineRun {
    pub(crate) frames: u64,
    pub(crate) failed: u64,
    pub(crate) objects: u64,
    /// From the first upload to the last summary.
    pub(crate) seconds: f64,
    /// From the first upload until a first frame is in its video's entry.
    pub(crate) first_seen: Option<Duration>,
    /// And until it is in the totals for good.
    pub(crate) first_counted: Option<Duration>,
    pub(crate) stages: Vec<(String, Latency)>,
    pub(crate) uses: Vec<ProcessUse>,
}

/// A video as it goes on.
#[derive(Default)]
struct Followed {
    /// When each result came.
    done: Vec<Instant>,
    /// How many of them are in the entry.
    counted: usize,
    summary: Option<Summary>,
}

/// The times of each stage, in milliseconds.
#[derive(Default)]
struct Times {
    waiting: Vec<f64>,
    detecting: Vec<f64>,
    counting: Vec<f64>,
}

/// Uploads all videos to a pipeline that is warm, and follows them to their summaries.
pub(crate) async fn run(
    pipeline: &mut Pipeline,
    videos: &[Url],
    scrape: bool,
    progress: &Progress,
) -> anyhow::Result<PipelineRun> {
    let streams = pipeline.streams.clone();
    let client = streams.jetstream.client();
    let mut results = client.subscribe("results.*").await?;
    let mut summaries = client.subscribe("summaries.*").await?;
    let mut entries = streams.videos.watch_all().await.context("cannot follow the videos")?;
    client.flush().await?;
    let scraping = scrape
        .then(|| Scraping(tokio::spawn(super::scrape::every_second(pipeline.endpoints.clone()))));

    let meter = Meter::start(pipeline.subjects()?)?;
    let begun = Instant::now();
    let mut followed = BTreeMap::new();
    for uri in videos {
        let id = VideoId::for_name("bench", &nuid::next());
        let mut upload = Upload { id: Some(id.clone()), ..Upload::of(uri.clone()) };
        upload.selection.every = Some(1);
        streams
            .publisher
            .publish(UPLOAD_SUBJECT, &format!("upload/{id}"), to_json(&upload).into())
            .await?;
        followed.insert(id, Followed::default());
    }
    let (mut run, mut times, mut last) = (PipelineRun::default(), Times::default(), Instant::now());
    while followed.values().any(|video| video.summary.is_none()) {
        let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + LOOK, LOOK);
        tokio::select! {
            Some(message) = results.next() => take_result(&mut followed, &mut times, &from_cbor(&message.payload)?),
            Some(entry) = entries.next() => take_entry(&mut followed, &mut times, &mut run, begun, &entry?)?,
            Some(message) = summaries.next() => {
                let summary: Summary = from_json(&message.payload)?;
                if let Some(video) = followed.get_mut(&summary.video) {
                    video.summary = Some(summary);
                }
            }
            _ = looks.tick() => {
                pipeline.check()?;
                if last.elapsed() >= SILENCE {
                    bail!("nothing happens in the pipeline for {} s", SILENCE.as_secs());
                }
                continue;
            }
        }
        last = Instant::now();
        progress.frames(followed.values().map(|video| video.done.len() as u64).sum());
    }
    run.seconds = begun.elapsed().as_secs_f64();
    run.uses = meter.read()?;
    drop(scraping);
    for summary in followed.into_values().filter_map(|video| video.summary) {
        if summary.state == VideoState::Failed {
            bail!(
                "{}",
                summary.problem.unwrap_or_else(|| format!("{} cannot be counted", summary.name))
            );
        }
        run.frames += summary.processed_frames;
        run.failed += summary.failed_frames;
        run.objects += summary.classes.values().sum::<u64>();
    }
    run.stages = times.stages();
    Ok(run)
}

/// Ends the scraping when it is dropped.
struct Scraping(JoinHandle<()>);

impl Drop for Scraping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn take_result(followed: &mut BTreeMap<VideoId, Followed>, times: &mut Times, event: &VideoEvent) {
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

/// Results are counted in the order in which they came, as long as there is one aggregator.
fn take_entry(
    followed: &mut BTreeMap<VideoId, Followed>,
    times: &mut Times,
    run: &mut PipelineRun,
    begun: Instant,
    entry: &kv::Entry,
) -> anyhow::Result<()> {
    let entry: VideoEntry = from_json(&entry.value)?;
    let Some(video) = followed.get_mut(&entry.video) else { return Ok(()) };
    let settled = usize::try_from(entry.progress().settled())?.min(video.done.len());
    let now = Instant::now();
    for done in &video.done[video.counted.min(settled)..settled] {
        times.counting.push((now - *done).as_secs_f64() * 1e3);
    }
    video.counted = video.counted.max(settled);
    if settled > 0 {
        run.first_seen.get_or_insert(now - begun);
    }
    if entry.counted > 0 {
        run.first_counted.get_or_insert(now - begun);
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
