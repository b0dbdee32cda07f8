//! How fast it is, beside what the machine could do at most.

mod child;
mod input;
mod noise;
mod observer;
mod parts;
mod picture;
mod pipeline;
mod process;
mod progress;
mod report;
mod scrape;
mod setup;
mod statistics;
mod table;
mod throughput;
mod usage;

use std::io::Write;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use moliceiro_detector::{DetectorSettings, open_model};
use moliceiro_service::{
    CommonArguments, SettingsError, bundled, shutdown_on_signals, start_logging,
};
use procfs::Current;

pub use child::{ChildCommand, run as run_child};
use progress::Progress;
use report::{Input, Machine, Report};
use setup::Setup;

/// What a shell reports of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Measures how fast it is, beside what this machine could do at most
///
/// The limit is what one process can do with no broker: decode the videos and run the model on
/// every frame. The pipeline does the same work, on the same cores, in the same run, in turns with
/// it.
#[derive(Clone, Debug, Parser)]
#[command(after_help = "Ways of doing the same work, each measured in processes of its own:\n  \
        alone      the model on frames that are in memory\n  \
        fused      decoding and the model in one process without a broker; the best arrangement is the limit\n  \
        embedded   the whole pipeline in one process with a private server, as `moliceiro run` has it\n  \
        separate   each service a process of its own, frames as JPEG\n\n\
        Examples:\n  \
        moliceiro bench bikes.mp4 bikes.mp4 bikes.mp4          three times the same, for a longer run\n  \
        moliceiro bench --repeat 7 --scrape --svg speed.svg bikes.mp4\n  \
        moliceiro bench --part aggregator --part publish bikes.mp4\n\n\
        Run it on a machine that does nothing else. It says when others took so much that its figures mean little.")]
pub struct BenchArguments {
    /// Files (videos or still images), or file:// URIs
    #[arg(value_name = "VIDEO", required = true)]
    videos: Vec<String>,
    /// What to measure; may be repeated
    #[arg(long, value_enum, value_name = "PART", default_value = "throughput")]
    part: Vec<Part>,
    /// Numbers of detectors, with commas between [default: 1, 2, 4 … up to the number of cores]
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=256))]
    detectors: Vec<u16>,
    /// How often each measurement is repeated
    #[arg(long, value_name = "TIMES", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    repeat: u16,
    /// Only the first frames of each video: a cut of it is made
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    frames: Option<u32>,
    /// Measure the separate processes also while all their metrics are asked for each second
    #[arg(long)]
    scrape: bool,
    /// Results that the part aggregator counts, and ten times the frames of the part publish
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..))]
    messages: u64,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Draw the part throughput into this file
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
    /// Model to use: nanodet, nanodet-int8, or a file with its manifest (.toml) beside it [default:
    /// nanodet]
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Where the servers' stores are, on the disk that is to be measured [default: the folder for
    /// temporary files]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Program to run as server [default: the one that came with this program, or the one on PATH]
    #[arg(long, value_name = "FILE")]
    nats_server: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArguments,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Part {
    /// Frames/s of each way of doing the work, with latencies, processor time, memory and bytes
    /// written
    Throughput,
    /// Time from the start of a program with everything in it until it waits for videos, its model
    /// loaded
    Start,
    /// Time from an upload to its first counted frame, when everything is warm
    FirstFrame,
    /// Frames/s of detectors on a queue that is full already: decoding is not counted
    Detectors,
    /// Frames/s that an ingest publishes to a detector that takes no time, and the ingest's memory
    Ingest,
    /// Frames/s that can be published, beside what the server takes from a minimal publisher
    Publish,
    /// Results/s that one aggregator counts, and its memory with 1,000 videos in progress
    Aggregator,
    /// All of these
    All,
}

pub fn run(arguments: &BenchArguments) -> anyhow::Result<ExitCode> {
    if arguments.common.nats_url.is_some() {
        return Err(SettingsError::Invalid(vec![
            "a benchmark starts servers of its own: leave --nats out".into(),
        ])
        .into());
    }
    let requests = moliceiro_run::requests(&arguments.videos)?;
    let mut common = arguments.common.clone();
    common.log_level.get_or_insert_with(|| "error".into());
    let settings = common.loader().load()?;
    let detector = DetectorSettings {
        model: arguments.model.as_ref().map(PathBuf::from),
        ..settings.section()?
    };
    start_logging(&settings.section()?);
    let model = open_model(&detector)?;
    let data = arguments.data.clone().unwrap_or_else(std::env::temp_dir);
    let program = arguments
        .nats_server
        .clone()
        .or_else(|| bundled("bin/nats-server"))
        .unwrap_or_else(|| "nats-server".into());
    let folder = tempfile::Builder::new().prefix("moliceiro-bench-").tempdir_in(&data);
    let folder = folder.with_context(|| format!("the folder {} cannot be used", data.display()))?;
    let (videos, frames) = input::prepare(
        requests.iter().map(|request| request.uri.clone()),
        arguments.frames,
        folder.path(),
    )?;
    let size = model.size();
    let setup = Setup {
        data,
        nats_server: program,
        videos,
        frames,
        size,
        streams: settings.section()?,
        settings: setup::as_arguments(&common, arguments.model.as_deref()),
    };
    let input = Input {
        videos: requests.iter().map(|request| request.name.clone()).collect(),
        frames,
        model: model.name().to_owned(),
        picture: [size.width, size.height],
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let report = runtime.block_on(async {
        let stopped = shutdown_on_signals().context("cannot watch for Ctrl-C")?;
        stopped.run_until_cancelled(measure(arguments, &setup, input)).await.transpose()
    })?;
    let Some(report) = report else { return Ok(ExitCode::from(INTERRUPTED)) };
    if let Some(path) = &arguments.svg {
        picture::write(&report, path)?;
    }
    let text = if arguments.json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        table::text(&report)
    };
    write!(std::io::stdout(), "{text}").context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(
    arguments: &BenchArguments,
    setup: &Setup,
    input: Input,
) -> anyhow::Result<Report> {
    let cores = available_parallelism().map_or(1, NonZero::get);
    let machine = machine(cores);
    let detectors = if arguments.detectors.is_empty() {
        std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n <= cores).collect()
    } else {
        arguments.detectors.iter().map(|n| usize::from(*n)).collect::<Vec<_>>()
    };
    let wants = |part| arguments.part.contains(&part) || arguments.part.contains(&Part::All);
    let repeat = usize::from(arguments.repeat);
    let mut steps = 0;
    if wants(Part::Throughput) {
        steps += repeat
            * detectors.iter().map(|n| throughput::ways(*n, arguments.scrape).len()).sum::<usize>();
    }
    let parts: Vec<_> = parts::PARTS.into_iter().filter(|part| wants(*part)).collect();
    steps += parts.iter().map(|part| parts::steps(*part, repeat, detectors.len())).sum::<usize>();
    let progress = Progress::new(steps as u64);
    let mut arms = Vec::new();
    if wants(Part::Throughput) {
        arms = throughput::measure(setup, &detectors, repeat, arguments.scrape, cores, &progress)
            .await?;
    }
    let mut figures = Vec::new();
    let work = parts::Work {
        setup,
        detectors: &detectors,
        repeat,
        messages: arguments.messages,
        progress: &progress,
    };
    for part in parts {
        figures.extend(parts::measure(part, &work).await?);
    }
    progress.close();
    let noise = noise::reasons(&machine, &arms);
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let program = format!("moliceiro {}", env!("CARGO_PKG_VERSION"));
    Ok(Report {
        version: 1,
        program,
        build: build.into(),
        machine,
        input,
        repetitions: repeat,
        arms,
        figures,
        noise,
    })
}

fn machine(cores: usize) -> Machine {
    let processor =
        procfs::CpuInfo::current().ok().and_then(|info| info.model_name(0).map(str::to_owned));
    let load_before = procfs::LoadAverage::current().map_or(0.0, |load| f64::from(load.one));
    Machine {
        cores,
        processor: processor.unwrap_or_else(|| "unknown processor".into()),
        load_before,
    }
}
