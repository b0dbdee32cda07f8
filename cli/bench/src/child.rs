//! What runs in a process of its own, so that nothing else is measured with it.
//!
//! A child says on standard output that it is ready, begins when a line comes on standard input,
//! says what it measured, and ends when standard input does: then its figures can be read
//! meanwhile, and it does not outlive the benchmark.

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use moliceiro_decode::{self as decode, DecodeSettings, DecodedFrame};
use moliceiro_detector::{DetectorSettings, load_runtime, open_model};
use moliceiro_ingest::IngestSettings;
use moliceiro_nats::messages::{Encoding, Frame, FrameSelection, VERSION};
use moliceiro_nats::{NatsSettings, VideoId};
use moliceiro_service::{CommonArguments, Settings, Telemetry, start_endpoint, start_logging};
use moliceiro_vision::{Detector, Options, Phases};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::statistics::Latency;
use moliceiro_run::RunArguments;
use moliceiro_run::{ServiceSettings, Services};

/// Frames that are kept in memory to be looked at again and again.
const FRAMES_IN_MEMORY: usize = 64;
/// Pictures that wait for a detector, for each video.
const QUEUE: usize = 8;

#[derive(Clone, Debug, Subcommand)]
pub enum ChildCommand {
    /// The model, on frames that are in memory already
    Alone(ModelArguments),
    /// Decoding and the model, without a broker
    Fused(ModelArguments),
    /// All services with a private server, as `moliceiro run` has them
    Embedded(Box<RunArguments>),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ModelArguments {
    /// Frames to look at
    #[arg(long)]
    frames: u64,
    /// Sessions, each on a thread of its own
    #[arg(long)]
    sessions: usize,
    /// Threads of each session
    #[arg(long)]
    threads: usize,
    #[command(flatten)]
    common: CommonArguments,
    /// URIs
    videos: Vec<Url>,
}

/// What a child with the model in it measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ModelRun {
    pub(crate) frames: u64,
    pub(crate) objects: u64,
    pub(crate) seconds: f64,
    pub(crate) stages: Vec<(String, Latency)>,
}

/// What a child with a server in it says when the server is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EmbeddedReady {
    pub(crate) url: String,
    pub(crate) server: i32,
}

pub fn run(command: &ChildCommand) -> anyhow::Result<ExitCode> {
    match command {
        ChildCommand::Alone(arguments) => measure(arguments, Source::Memory),
        ChildCommand::Fused(arguments) => measure(arguments, Source::Decoder),
        ChildCommand::Embedded(arguments) => embedded(arguments),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn say(line: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(line)?)?;
    Ok(out.flush()?)
}

fn wait_for_line() -> anyhow::Result<()> {
    let read = std::io::stdin().lock().read_line(&mut String::new())?;
    if read == 0 { bail!("the benchmark is gone") } else { Ok(()) }
}

/// What came of each frame that a thread looked at.
#[derive(Default)]
struct Looked {
    objects: u64,
    phases: Vec<Phases>,
}

impl Looked {
    fn look(&mut self, detector: &mut Detector, frame: &Frame) -> anyhow::Result<()> {
        let (detections, phases) = detector.detect_timed(frame)?;
        self.objects += detections.len() as u64;
        self.phases.push(phases);
        Ok(())
    }
}

/// What the model is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Memory,
    Decoder,
}

fn measure(arguments: &ModelArguments, source: Source) -> anyhow::Result<()> {
    let settings = settings(&arguments.common)?;
    let (detector, ingest): (DetectorSettings, IngestSettings) =
        (settings.section()?, settings.section()?);
    let (model, runtime) = (open_model(&detector)?, load_runtime(&detector)?);
    let options = Options {
        intra_threads: arguments.threads,
        threshold: detector.threshold,
        iou: detector.iou,
    };
    let detectors = (0..arguments.sessions)
        .map(|_| Detector::new(&runtime, &model, options))
        .collect::<Result<_, _>>()?;
    let decoding = DecodeSettings {
        size: model.size(),
        encoding: Encoding::I420,
        queue: QUEUE,
        ..ingest.decoding(FrameSelection::every(1), 0)
    };
    decode::init()?;
    let frames =
        if source == Source::Memory { in_memory(&arguments.videos, &decoding)? } else { vec![] };
    say(&"ready")?;
    wait_for_line()?;
    let begun = Instant::now();
    let looked = match source {
        Source::Memory => alone(&frames, arguments.frames, detectors),
        Source::Decoder => fused(&arguments.videos, &decoding, detectors),
    }?;
    say(&summary(&looked, begun.elapsed()))?;
    // The benchmark reads what this process used before it ends.
    let _ = wait_for_line();
    Ok(())
}

fn summary(looked: &[Looked], took: Duration) -> ModelRun {
    let phases = || looked.iter().flat_map(|looked| &looked.phases);
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
        objects: looked.iter().map(|looked| looked.objects).sum(),
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
    if frames.is_empty() { bail!("there is no frame to look at") } else { Ok(frames) }
}

fn alone(frames: &[Frame], times: u64, detectors: Vec<Detector>) -> anyhow::Result<Vec<Looked>> {
    let next = AtomicU64::new(0);
    in_threads(detectors, |detector| {
        let mut looked = Looked::default();
        while let index = next.fetch_add(1, Relaxed)
            && index < times
        {
            looked.look(detector, &frames[index as usize % frames.len()])?;
        }
        Ok(looked)
    })
}

/// Videos are looked at one after the other; those to come are opened and decoded a little ahead.
fn fused(
    videos: &[Url],
    decoding: &DecodeSettings,
    detectors: Vec<Detector>,
) -> anyhow::Result<Vec<Looked>> {
    let videos: Vec<_> = videos.iter().map(|uri| decode::start(uri, decoding.clone())).collect();
    in_threads(detectors, |detector| {
        let mut looked = Looked::default();
        for video in &videos {
            while let Ok(frame) = video.frames.recv_blocking() {
                let frame = frame?;
                looked.look(detector, &message(frame))?;
            }
        }
        Ok(looked)
    })
}

fn in_threads(
    detectors: Vec<Detector>,
    work: impl Fn(&mut Detector) -> anyhow::Result<Looked> + Sync,
) -> anyhow::Result<Vec<Looked>> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = detectors
            .into_iter()
            .map(|mut detector| scope.spawn(move || work(&mut detector)))
            .collect();
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
        bail!("a benchmark has servers of its own: leave nats.url out")
    };
    say(&EmbeddedReady { url: server.url().to_owned(), server: server.process_id() })?;
    let nats = NatsSettings { url: server.url().to_owned(), credentials: None };
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
