//! `moliceiro bench`: measures the pipeline, and compares it with the most this machine could do.
//!
//! What happens in a benchmark, in the order of the files:
//!
//! 1. `input.rs` shortens the videos if asked to, and counts their frames; `setup.rs` holds what
//!    every measurement needs.
//! 2. `throughput.rs` does the same work in several ways, in turns. The ways `alone` and `fused`
//!    run in `child.rs`; the others are a whole `pipeline.rs`, which `observer.rs` watches from
//!    outside. `quick.rs` compares two of the ways in less than a minute. `parts.rs` and `parts/` measure single services (`part.rs` lists the parts).
//! 3. Each way runs in processes of its own (`process.rs`). `usage.rs` reads from `/proc` what they
//!    use, and `scrape.rs` plays Prometheus.
//! 4. `statistics.rs` condenses the repetitions, and `noise.rs` decides whether the machine was
//!    quiet enough for them to mean something.
//! 5. `report.rs` is the result. `table.rs` prints it and `picture.rs` draws it. `progress.rs`
//!    shows how far the benchmark is.

mod child;
mod input;
mod noise;
mod observer;
mod part;
mod parts;
mod picture;
mod pipeline;
mod process;
mod progress;
mod quick;
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
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use moliceiro_run::VideoInput;
use moliceiro_service::{
    CommonArguments, SettingsError, bundled, shutdown_on_signals, start_logging,
};
use procfs::Current;
use tokio_util::sync::CancellationToken;

pub use child::{ChildArguments, run as run_child};
use part::{Part, PartContext};
use progress::Progress;
use report::{Input, Machine, Report};
use setup::{MeasuredModel, Setup};

/// The exit code that a shell reports for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Measures the pipeline, and compares it with the most this machine could do
///
/// The limit is one process without a broker that decodes the videos and runs the model on every
/// frame. The pipeline does the same work on the same cores. The two take turns in one run, so you
/// can compare them.
#[derive(Clone, Debug, Parser)]
#[command(after_help = "\
Ways of doing the same work, each measured in processes of its own:
  alone      the model only, on frames in memory
  fused      decoding and the model in one process without a broker; the fastest arrangement
             of sessions and threads is the limit
  embedded   the whole pipeline in one process with a private server, as in `moliceiro run`
  separate   each service in a process of its own; frames travel as JPEG

Examples:
  moliceiro bench --quick bikes.mp4                the ratio of the pipeline to its limit, in a minute
  moliceiro bench bikes.mp4 bikes.mp4 bikes.mp4    the same video three times, for a longer run
  moliceiro bench --repeat 7 --scrape --svg speed.svg bikes.mp4
  moliceiro bench --part aggregator --part publish bikes.mp4

Use a machine that does nothing else. The report warns you if its ratios are not known exactly, or
if other programs took much of the time. Ctrl-C prints what is measured until then.")]
pub struct BenchArguments {
    /// Video or image files, or file:// URIs
    #[arg(value_name = "VIDEO", required = true)]
    videos: Vec<std::ffi::OsString>,
    /// Compare the whole pipeline in one process with its limit, in short slices by turns, until the
    /// ratio is known to ± 1 % or the time of --seconds is over
    #[arg(long, conflicts_with_all = ["part", "repeat", "scrape", "svg", "messages"])]
    quick: bool,
    /// With --quick: after how many seconds no slice begins any more. At least two are measured
    #[arg(long, value_name = "N", requires = "quick", default_value_t = quick::SECONDS)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
    /// What to measure; may be repeated
    #[arg(long, value_enum, value_name = "PART", default_value = "throughput")]
    part: Vec<Part>,
    /// Numbers of detectors to measure with, such as 1,2,4 [default: powers of two up to the number
    /// of cores]
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    detectors: Vec<u16>,
    /// How many times to repeat each measurement
    #[arg(long, value_name = "TIMES", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    repeat: u16,
    /// Use only the first N frames of each video [default: all; with --quick: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    frames: Option<u32>,
    /// Also measure the separate processes while their metrics are scraped every second
    #[arg(long)]
    scrape: bool,
    /// How many results the part aggregator counts; the part publish uses a tenth as many frames
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(100..))]
    messages: u64,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Draw a chart of the part throughput into this file
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
    /// Model to use: nanodet, nanodet-int8 or a model file [default: nanodet]
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Folder where the servers store their data, on the disk to measure [default: the folder for
    /// temporary files]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Program to start as the server [default: the bundled nats-server, or else the one on PATH]
    #[arg(long, value_name = "FILE")]
    nats_server: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArguments,
}

/// Runs `moliceiro bench` to its end and prints the report.
///
/// Fails before it measures anything if an argument, a setting, the model or a video is invalid.
pub fn run(arguments: &BenchArguments) -> anyhow::Result<ExitCode> {
    if arguments.common.nats_url.is_some() {
        return Err(SettingsError::Invalid(vec![
            "the benchmark starts servers of its own: remove --nats".into(),
        ])
        .into());
    }
    let inputs = VideoInput::parse_all(&arguments.videos)?;
    let mut common = arguments.common.clone();
    common.log_level.get_or_insert_with(|| "error".into());
    let settings = common.loader().load()?;
    start_logging(&settings.section()?);
    let model = MeasuredModel::of(arguments.model.as_deref(), &settings.section()?)?;
    let data = arguments.data.clone().unwrap_or_else(std::env::temp_dir);
    let program = arguments
        .nats_server
        .clone()
        .or_else(|| bundled("bin/nats-server"))
        .unwrap_or_else(|| "nats-server".into());
    let folder = tempfile::Builder::new().prefix("moliceiro-bench-").tempdir_in(&data);
    let folder = folder.with_context(|| format!("cannot use the folder {}", data.display()))?;
    let (videos, frames) = input::prepare(
        inputs.iter().map(|input| input.uri.clone()),
        arguments.frames.or(arguments.quick.then_some(quick::FRAMES)),
        folder.path(),
    )?;
    let input = Input {
        videos: inputs.iter().map(|input| input.name.clone()).collect(),
        frames,
        model: model.id.to_string(),
        picture: [model.size.width, model.size.height],
    };
    let setup = Setup {
        data,
        nats_server: program,
        videos,
        frames,
        streams: settings.section()?,
        settings: setup::as_arguments(&common, &model.id),
        model,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let report = runtime.block_on(async {
        let stopped = shutdown_on_signals().context("cannot watch for Ctrl-C")?;
        measure(arguments, &setup, input, &stopped).await
    })?;
    if report.is_empty() {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if let Some(path) = &arguments.svg {
        picture::write(&report, path)?;
    }
    let text = if arguments.json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        table::text(&report)
    };
    write!(std::io::stdout(), "{text}").context("cannot write to standard output")?;
    Ok(if report.stopped { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

async fn measure(
    arguments: &BenchArguments,
    setup: &Setup,
    input: Input,
    stopped: &CancellationToken,
) -> anyhow::Result<Report> {
    let cores = available_parallelism().map_or(1, NonZero::get);
    let machine = machine(cores);
    let detectors = if arguments.detectors.is_empty() {
        std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n <= cores).collect()
    } else {
        arguments.detectors.iter().map(|n| usize::from(*n)).collect::<Vec<_>>()
    };
    let is_requested = |part| {
        !arguments.quick && (arguments.part.contains(&part) || arguments.part.contains(&Part::All))
    };
    let repeat = usize::from(arguments.repeat);
    let mut steps = if arguments.quick { quick::PREPARATION } else { 0 };
    if is_requested(Part::Throughput) {
        steps += repeat
            * detectors.iter().map(|n| throughput::ways(*n, arguments.scrape).len()).sum::<usize>();
    }
    let parts: Vec<_> = parts::PARTS.into_iter().filter(|part| is_requested(*part)).collect();
    steps += parts.iter().map(|part| parts::steps(*part, repeat, detectors.len())).sum::<usize>();
    let progress = Progress::new(steps as u64);
    let mut quick = None;
    if arguments.quick {
        let most = detectors.last().copied().unwrap_or(1);
        let longest = Duration::from_secs(arguments.seconds.into());
        quick = quick::measure(setup, most, longest, &progress, stopped).await?;
    }
    let mut arms = Vec::new();
    if is_requested(Part::Throughput) {
        let extent = throughput::Extent {
            detectors: &detectors,
            repetitions: repeat,
            scrape: arguments.scrape,
            cores,
        };
        arms = throughput::measure(setup, extent, &progress, stopped).await?;
    }
    let mut figures = Vec::new();
    let context = PartContext {
        setup,
        detectors: &detectors,
        repeat,
        messages: arguments.messages,
        progress: &progress,
    };
    for part in parts {
        match stopped.run_until_cancelled(parts::measure(part, &context)).await {
            Some(measured) => figures.extend(measured?),
            None => break,
        }
    }
    progress.close();
    let noise = noise::reasons(&arms);
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let program = format!("moliceiro {}", env!("CARGO_PKG_VERSION"));
    Ok(Report {
        version: 1,
        program,
        build: build.into(),
        machine,
        input,
        repetitions: repeat,
        stopped: stopped.is_cancelled(),
        quick,
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
