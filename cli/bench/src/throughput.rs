//! Does the same work in several ways. They take turns, so that whatever else the machine does
//! disturbs all of them alike.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::child::ModelRun;
use crate::observer::{self, PipelineRun};
use crate::pipeline::{Pipeline, ServiceSet};
use crate::process::{Process, StopBy};
use crate::progress::Progress;
use crate::report::{Arm, ProcessFigures};
use crate::setup::Setup;
use crate::statistics::{Interval, Latency, Measured};
use crate::usage::{MachineTime, MeasuredProcess, Meter, ProcessUsage};

/// A way of doing the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Only the model, on frames in memory.
    Alone,
    /// Decoding and the model in one process, without a broker.
    Fused { sessions: usize, threads: usize },
    /// The whole pipeline in one process with an embedded server.
    Embedded,
    /// The pipeline with a process for each service.
    Separate { scraped: bool },
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Fused { .. } => "fused",
            Self::Embedded => "embedded",
            Self::Separate { scraped: false } => "separate",
            Self::Separate { scraped: true } => "separate, scraped",
        }
    }

    pub(crate) fn arrangement(self, detectors: usize) -> String {
        match self {
            Self::Fused { sessions, threads } => format!("{sessions} × {threads}"),
            _ => format!("{detectors} × 1"),
        }
    }
}

/// What one run measured.
struct Outcome {
    frames: u64,
    failed: u64,
    objects: u64,
    seconds: f64,
    stages: Vec<(String, Latency)>,
    usage: Vec<ProcessUsage>,
    /// The share of the machine's CPU time that other programs took.
    others: f64,
}

impl Outcome {
    fn rate(&self) -> f64 {
        self.frames as f64 / self.seconds
    }
}

/// All ways for a number of detectors; `fused` once for each arrangement of as many threads.
pub(crate) fn ways(detectors: usize, scrape: bool) -> Vec<Way> {
    let fused = (1..=detectors).filter(|threads| detectors.is_multiple_of(*threads));
    let mut ways = vec![Way::Alone];
    ways.extend(fused.map(|threads| Way::Fused { sessions: detectors / threads, threads }));
    ways.extend([Way::Embedded, Way::Separate { scraped: false }]);
    ways.extend(scrape.then_some(Way::Separate { scraped: true }));
    ways
}

/// How much is measured.
pub(crate) struct Extent<'a> {
    pub(crate) detectors: &'a [usize],
    pub(crate) repetitions: usize,
    pub(crate) scrape: bool,
    pub(crate) cores: usize,
}

/// Measures every way with every number of detectors, so many times, or until `stopped`.
pub(crate) async fn measure(
    setup: &Setup,
    Extent { detectors, repetitions, scrape, cores }: Extent<'_>,
    progress: &Progress,
    stopped: &CancellationToken,
) -> anyhow::Result<Vec<Arm>> {
    let plan: Vec<_> = detectors
        .iter()
        .flat_map(|n| ways(*n, scrape).into_iter().map(move |way| (*n, way)))
        .collect();
    let mut outcomes: Vec<Vec<Outcome>> = plan.iter().map(|_| vec![]).collect();
    'repetitions: for repetition in 1..=repetitions {
        for ((n, way), outcomes) in plan.iter().zip(&mut outcomes) {
            progress.begin(&format!(
                "repetition {repetition}, {n} detectors, {} {}",
                way.name(),
                way.arrangement(*n)
            ));
            let running = run(setup, *way, *n, cores, progress);
            let Some(outcome) = stopped.run_until_cancelled(running).await else {
                break 'repetitions;
            };
            outcomes.push(outcome.with_context(|| format!("{} with {n} detectors", way.name()))?);
            progress.done();
        }
    }
    let rates: Vec<Vec<f64>> =
        outcomes.iter().map(|outcomes| outcomes.iter().map(Outcome::rate).collect()).collect();
    let median = |index: usize| {
        Measured::of(rates[index].iter().copied()).map_or(0.0, |measured| measured.median)
    };
    let limit_of = |n: usize| {
        let fused = plan
            .iter()
            .enumerate()
            .filter(|(_, (of, way))| *of == n && matches!(way, Way::Fused { .. }));
        fused.map(|(index, _)| index).max_by(|a, b| median(*a).total_cmp(&median(*b)))
    };
    let measured = plan.iter().enumerate().filter(|(index, _)| !outcomes[*index].is_empty());
    let arms = measured.map(|(index, (n, way))| {
        let limit = limit_of(*n);
        let one = plan.iter().position(|(n, other)| *n == 1 && other.name() == way.name());
        let quotients = |other: Option<usize>| -> Vec<f64> {
            let other = other.map_or(&[][..], |other| &rates[other]);
            rates[index].iter().zip(other).map(|(rate, other)| rate / other).collect()
        };
        let is_limit = limit == Some(index);
        arm(*n, *way, &outcomes[index], is_limit, &quotients(limit), &quotients(one))
    });
    arms.collect()
}

async fn run(
    setup: &Setup,
    way: Way,
    detectors: usize,
    cores: usize,
    progress: &Progress,
) -> anyhow::Result<Outcome> {
    match way {
        Way::Alone => model(setup, "alone", (detectors, 1), cores).await,
        Way::Fused { sessions, threads } => model(setup, "fused", (sessions, threads), cores).await,
        Way::Embedded => {
            pipeline(setup, Pipeline::embedded(setup, detectors).await?, false, cores, progress)
                .await
        }
        Way::Separate { scraped } => {
            let pipeline = Pipeline::separate(setup, ServiceSet::all(detectors, true)).await?;
            self::pipeline(setup, pipeline, scraped, cores, progress).await
        }
    }
}

/// Starts the child `alone` or `fused`. It is ready to work.
pub(crate) async fn start_model(
    setup: &Setup,
    command: &str,
    (sessions, threads): (usize, usize),
    folder: &Path,
) -> anyhow::Result<Process> {
    let mut own: Vec<String> = [
        ("--frames", setup.frames),
        ("--sessions", sessions as u64),
        ("--threads", threads as u64),
    ]
    .into_iter()
    .flat_map(|(option, value)| [option.to_owned(), value.to_string()])
    .collect();
    if let Some((file, _)) = &setup.model.file {
        own.extend(["--model-file".to_owned(), file.display().to_string()]);
    }
    own.extend(setup.videos.iter().map(ToString::to_string));
    let mut process = Process::start(
        command,
        StopBy::ClosingInput,
        setup.call(&["bench-child", command], &own),
        folder,
    )?;
    let _: Value = process.until_ready().await?;
    Ok(process)
}

async fn model(
    setup: &Setup,
    command: &str,
    arrangement: (usize, usize),
    cores: usize,
) -> anyhow::Result<Outcome> {
    let folder = setup.folder()?;
    let mut process = start_model(setup, command, arrangement, folder.path()).await?;
    let bench = MeasuredProcess {
        name: "bench".into(),
        pid: i32::try_from(std::process::id())?,
        by_thread: false,
    };
    let (meter, machine) = (Meter::start(vec![process.measured()?, bench])?, MachineTime::now()?);
    process.start_work().await?;
    let ModelRun { frames, objects, seconds, stages } = process.receive(None).await?;
    let usage = meter.read()?;
    let others = others(machine, &usage, seconds, cores)?;
    process.stop().await;
    Ok(Outcome { frames, failed: 0, objects, seconds, stages, usage, others })
}

async fn pipeline(
    setup: &Setup,
    mut pipeline: Pipeline,
    scrape: bool,
    cores: usize,
    progress: &Progress,
) -> anyhow::Result<Outcome> {
    let machine = MachineTime::now()?;
    let run = observer::run(&mut pipeline, &setup.videos, scrape, progress).await?;
    let others = others(machine, &run.usage, run.seconds, cores)?;
    pipeline.stop().await;
    if run.frames + run.failed != setup.frames {
        bail!("only {} of {} frames were counted", run.frames + run.failed, setup.frames);
    }
    let PipelineRun { frames, failed, objects, seconds, stages, usage, .. } = run;
    Ok(Outcome { frames, failed, objects, seconds, stages, usage, others })
}

/// The share of the machine's CPU time that other programs and other virtual machines took.
fn others(
    before: MachineTime,
    usage: &[ProcessUsage],
    seconds: f64,
    cores: usize,
) -> anyhow::Result<f64> {
    let now = MachineTime::now()?;
    let ours: f64 = usage.iter().map(|process| process.cpu_ms).sum();
    let theirs = (now.busy - before.busy - ours).max(0.0) + (now.stolen - before.stolen);
    Ok(theirs / (seconds * 1e3 * cores as f64))
}

fn arm(
    n: usize,
    way: Way,
    outcomes: &[Outcome],
    limit: bool,
    ratios: &[f64],
    over_one: &[f64],
) -> anyhow::Result<Arm> {
    let nothing = "nothing was measured";
    let measured =
        |value: &dyn Fn(&Outcome) -> f64| Measured::of(outcomes.iter().map(value)).context(nothing);
    let last = outcomes.last().context(nothing)?;
    let median_latency = |stage: &str, part: fn(&Latency) -> f64| {
        let of_stage = |outcome: &Outcome| {
            outcome.stages.iter().find(|(name, _)| name == stage).map(|(_, latency)| part(latency))
        };
        Measured::of(outcomes.iter().filter_map(of_stage)).map_or(0.0, |measured| measured.median)
    };
    let latency = |stage: &String| Latency {
        p50: median_latency(stage, |l| l.p50),
        p99: median_latency(stage, |l| l.p99),
    };
    let processes = last.usage.iter().enumerate().filter_map(|(index, process)| {
        let runs =
            || outcomes.iter().map(move |outcome| (&outcome.usage[index], outcome.frames as f64));
        let kinds = process.threads.keys().map(|kind| {
            let time = runs().filter_map(|(used, frames)| Some(used.threads.get(kind)? / frames));
            (kind.clone(), Measured::of(time).map_or(0.0, |measured| measured.median))
        });
        Some(ProcessFigures {
            process: process.process.clone(),
            cpu_ms_per_frame: Measured::of(runs().map(|(used, frames)| used.cpu_ms / frames))?,
            peak_rss_bytes: runs().map(|(used, _)| used.peak_rss).max()?,
            written_bytes_per_frame: Measured::of(
                runs().map(|(used, frames)| used.written as f64 / frames),
            )?,
            threads_cpu_ms_per_frame: kinds.collect(),
        })
    });
    let outside = outcomes.iter().filter_map(|outcome| cpu_outside(&outcome.usage));
    Ok(Arm {
        arm: way.name().to_owned(),
        detectors: n,
        arrangement: way.arrangement(n),
        limit,
        frames_per_second: measured(&Outcome::rate)?,
        ratio: Measured::of(ratios.iter().copied()),
        ratio_interval: Interval::of(ratios).filter(|_| !limit),
        over_one: Measured::of(over_one.iter().copied()),
        frames: last.frames,
        failed: outcomes.iter().map(|outcome| outcome.failed).max().unwrap_or(0),
        objects: last.objects,
        latency_ms: last
            .stages
            .iter()
            .map(|(stage, _)| (stage.clone(), latency(stage)))
            .collect::<BTreeMap<_, _>>(),
        processes: processes.collect(),
        cpu_outside: Measured::of(outside),
        others: measured(&|outcome: &Outcome| outcome.others)?,
    })
}

/// The share of the pipeline's CPU time that was neither decoding nor inference. `None` unless
/// threads were measured.
fn cpu_outside(usage: &[ProcessUsage]) -> Option<f64> {
    let threads = usage.iter().find(|process| !process.threads.is_empty())?;
    let inside: f64 =
        ["inference", "decode"].iter().filter_map(|kind| threads.threads.get(*kind)).sum();
    let all: f64 = usage
        .iter()
        .filter(|process| process.process != "bench")
        .map(|process| process.cpu_ms)
        .sum();
    Some((all - inside) / all)
}
