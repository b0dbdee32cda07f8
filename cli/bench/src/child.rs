//! The hidden command `bench-child`: work that runs in a process of its own, so that the benchmark
//! measures nothing else with it.
//!
//! A child prints a line of JSON when it is ready. It works each time when it reads a line from
//! standard input, prints what it measured, and exits when standard input closes. So the benchmark
//! can read the usage of the process before it exits, and the child never outlives the benchmark.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use moliceiro_decode::{self as decode, DecodeSettings, DecodedFrame};
use moliceiro_detector::{DetectorSettings, builtin, load_runtime};
use moliceiro_ingest::IngestSettings;
use moliceiro_nats::messages::{
    Encoding, Frame, FrameSelection, ModelDescription, ModelId, VERSION,
};
use moliceiro_nats::{NatsSettings, VideoId};
use moliceiro_run::{RunArguments, ServiceSettings, Services};
use moliceiro_service::{CommonArguments, Settings, Telemetry, start_endpoint, start_logging};
use moliceiro_vision::{Description, Detector, Model, Options, Phases};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::statistics::Latency;

/// The child `alone` analyses this many frames over and over.
const FRAMES_IN_MEMORY: usize = 64;
/// Decoded pictures of one video that may wait for the model.
const QUEUE: usize = 8;

/// Does one kind of work for `moliceiro bench`
#[derive(Clone, Debug, Args)]
pub struct ChildArguments {
    #[command(subcommand)]
    command: ChildCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum ChildCommand {
    /// Runs the model on frames in memory
    Alone(ModelArguments),
    /// Decodes videos and runs the model on each frame, without a broker
    Fused(ModelArguments),
    /// Runs all services with a private server, as `moliceiro run` does
    Embedded(Box<RunArguments>),
}

#[derive(Clone, Debug, Args)]
struct ModelArguments {
    /// How many frames to analyse
    #[arg(long)]
    frames: u64,
    /// How many sessions to run, each on a thread of its own
    #[arg(long)]
    sessions: usize,
    /// How many threads each session uses
    #[arg(long)]
    threads: usize,
    /// The model's file; left out: the setting ingest.model names a built-in one
    #[arg(long)]
    model_file: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArguments,
    /// URIs of the videos
    videos: Vec<Url>,
}

/// What the children `alone` and `fused` measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ModelRun {
    pub(crate) frames: u64,
    pub(crate) objects: u64,
    pub(crate) seconds: f64,
    pub(crate) stages: Vec<(String, Latency)>,
}

/// What the child `embedded` prints when its server is up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EmbeddedReady {
    pub(crate) url: String,
    /// The process id of the server.
    pub(crate) server: i32,
}

/// Runs `moliceiro bench-child` until its standard input closes.
pub fn run(arguments: &ChildArguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        ChildCommand::Alone(arguments) => measure(arguments, FrameSource::Memory),
        ChildCommand::Fused(arguments) => measure(arguments, FrameSource::Decoder),
        ChildCommand::Embedded(arguments) => embedded(arguments),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn print(line: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(line)?)?;
    Ok(out.flush()?)
}

fn wait_for_line() -> anyhow::Result<()> {
    let read = std::io::stdin().lock().read_line(&mut String::new())?;
    if read == 0 { bail!("the benchmark has exited") } else { Ok(()) }
}

/// What one thread measured.
#[derive(Default)]
struct Measurements {
    objects: u64,
    /// One for each frame.
    phases: Vec<Phases>,
}

impl Measurements {
    fn analyse(&mut self, detector: &mut Detector, frame: &Frame) -> anyhow::Result<()> {
        let (detections, phases) = detector.detect_timed(frame)?;
        self.objects += detections.len() as u64;
        self.phases.push(phases);
        Ok(())
    }
}

/// Where the model gets its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameSource {
    Memory,
    Decoder,
}

fn measure(arguments: &ModelArguments, source: FrameSource) -> anyhow::Result<()> {
    let settings = settings(&arguments.common)?;
    let (detector, ingest): (DetectorSettings, IngestSettings) =
        (settings.section()?, settings.section()?);
    let runtime = load_runtime(&detector)?;
    let (id, file) = (&ingest.model, arguments.model_file.as_deref());
    let model = match file {
        Some(file) => Some(Model::open(file)?),
        None => builtin(id),
    };
    let model = model.with_context(|| format!("the model {id} is not built in"))?;
    let options = Options {
        intra_threads: arguments.threads,
        threshold: detector.threshold,
        iou: detector.iou,
        floor: Some(detector.floor()),
        ..Options::default()
    };
    let mut detectors = (0..arguments.sessions)
        .map(|_| Detector::new(&runtime, &model, options))
        .collect::<Result<Vec<_>, _>>()?;
    let decoding = DecodeSettings {
        size: model.size(),
        encoding: Encoding::I420,
        queue: QUEUE,
        ..ingest.decoding(&known(id, &model), FrameSelection::every(1), 0)
    };
    decode::init()?;
    let frames = if source == FrameSource::Memory {
        in_memory(&arguments.videos, &decoding)?
    } else {
        vec![]
    };
    print(&"ready")?;
    // The benchmark reads the usage of this process before it closes its input.
    while wait_for_line().is_ok() {
        let started_at = Instant::now();
        let measurements = match source {
            FrameSource::Memory => alone(&frames, arguments.frames, &mut detectors),
            FrameSource::Decoder => fused(&arguments.videos, &decoding, &mut detectors),
        }?;
        print(&summary(&measurements, started_at.elapsed()))?;
    }
    Ok(())
}

/// What an ingest of the pipeline knows about the model.
fn known(id: &ModelId, model: &Model) -> ModelDescription {
    let Description { size, multiple_of, fit, scaling, labels, .. } = model.description();
    ModelDescription {
        version: VERSION,
        model: id.clone(),
        digest: String::new(),
        bytes: 0,
        size,
        multiple_of,
        fit,
        scaling,
        classes: u32::try_from(labels.len()).unwrap_or(u32::MAX),
        added_at: None,
    }
}

fn summary(measurements: &[Measurements], took: Duration) -> ModelRun {
    let phases = || measurements.iter().flat_map(|thread| &thread.phases);
    let stage = |name: &str, part: fn(&Phases) -> Duration| {
        Some((
            name.to_owned(),
            Latency::of(phases().map(|phases| part(phases).as_secs_f64() * 1e3))?,
        ))
    };
    let stages = [
        stage("payload", |phases| phases.payload),
        stage("tensor", |phases| phases.tensor),
        stage("inference", |phases| phases.inference),
        stage("boxes", |phases| phases.boxes),
    ];
    ModelRun {
        frames: phases().count() as u64,
        objects: measurements.iter().map(|thread| thread.objects).sum(),
        seconds: took.as_secs_f64(),
        stages: stages.into_iter().flatten().collect(),
    }
}

fn settings(common: &CommonArguments) -> anyhow::Result<Settings> {
    let settings = common.loader().default_for("moliceiro bench", "log.level", "error").load()?;
    start_logging(&settings.section()?);
    Ok(settings)
}

fn in_memory(videos: &[Url], decoding: &DecodeSettings) -> anyhow::Result<Vec<Frame>> {
    let mut frames = Vec::new();
    for uri in videos {
        let decoding = decode::start(uri, decoding.clone());
        while frames.len() < FRAMES_IN_MEMORY
            && let Ok(Ok(frame)) = decoding.frames.recv_blocking()
        {
            frames.push(message(frame));
        }
    }
    if frames.is_empty() { bail!("the videos have no frames") } else { Ok(frames) }
}

fn alone(
    frames: &[Frame],
    times: u64,
    detectors: &mut [Detector],
) -> anyhow::Result<Vec<Measurements>> {
    let next = AtomicU64::new(0);
    in_threads(detectors, |detector| {
        let mut measurements = Measurements::default();
        while let index = next.fetch_add(1, Relaxed)
            && index < times
        {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "it only decides which of the frames is analysed"
            )]
            let frame = &frames[index as usize % frames.len()];
            measurements.analyse(detector, frame)?;
        }
        Ok(measurements)
    })
}

/// Analyses one video after the other. The next ones are already open and decoded a little ahead.
fn fused(
    videos: &[Url],
    decoding: &DecodeSettings,
    detectors: &mut [Detector],
) -> anyhow::Result<Vec<Measurements>> {
    let videos: Vec<_> = videos.iter().map(|uri| decode::start(uri, decoding.clone())).collect();
    in_threads(detectors, |detector| {
        let mut measurements = Measurements::default();
        for video in &videos {
            while let Ok(frame) = video.frames.recv_blocking() {
                let frame = frame.map_err(|lost| anyhow!(lost.reason))?;
                measurements.analyse(detector, &message(frame))?;
            }
        }
        Ok(measurements)
    })
}

fn in_threads(
    detectors: &mut [Detector],
    work: impl Fn(&mut Detector) -> anyhow::Result<Measurements> + Sync,
) -> anyhow::Result<Vec<Measurements>> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            detectors.iter_mut().map(|detector| scope.spawn(move || work(detector))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| bail!("a thread panicked"))
        };
        threads.into_iter().map(join).collect()
    })
}

fn message(frame: DecodedFrame) -> Frame {
    let DecodedFrame { index, pts, size, letterbox, color, encoding, pixels, .. } = frame;
    let video = VideoId::for_name("bench", "1");
    Frame {
        version: VERSION,
        video,
        index,
        pts,
        decoded_at: None,
        encoding,
        size,
        letterbox,
        color,
        pixels,
    }
}

fn embedded(arguments: &RunArguments) -> anyhow::Result<()> {
    let settings = arguments.settings()?;
    start_logging(&settings.section()?);
    let services = ServiceSettings::read(&settings)?;
    let Some(server) = arguments.start_server(&settings)? else {
        bail!("the benchmark starts servers of its own: remove the setting nats.url")
    };
    print(&EmbeddedReady { url: server.url().to_owned(), server: server.process_id() })?;
    let nats = NatsSettings::at(server.url());
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    runtime.block_on(async {
        let (telemetry, ended) = (Telemetry::default(), CancellationToken::new());
        start_endpoint(&services.base.metrics, services.base.metrics_port, telemetry.clone())
            .await?;
        let mut running = Services::start(&services.with_nats(nats), &telemetry);
        let end = ended.clone();
        std::thread::spawn(move || {
            while wait_for_line().is_ok() {}
            end.cancel();
        });
        tokio::select! {
            error = running.first_error() => Err(error),
            () = ended.cancelled() => Ok(()),
        }
    })?;
    runtime.shutdown_background();
    server.stop();
    Ok(())
}
