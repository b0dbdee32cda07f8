//! The ratio of the pipeline in one process to its limit, in less than a minute.
//!
//! Both are started once. Then they analyse the same short input by turns, which cancels whatever
//! drifts, until the ratio is known well enough.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::child::ModelRun;
use crate::observer;
use crate::pipeline::Pipeline;
use crate::process::Process;
use crate::progress::Progress;
use crate::report::Quick;
use crate::setup::Setup;
use crate::statistics::{Interval, Measured};
use crate::throughput::{Way, start_model, ways};

/// Frames of each video, unless the arguments say how many.
pub(crate) const FRAMES: u32 = 100;
/// Steps of progress before the slices.
pub(crate) const PREPARATION: usize = 1;
/// No slice begins later, unless the arguments say when.
pub(crate) const SECONDS: u16 = 40;
const FEWEST_PAIRS: usize = 4;
/// The ratio is known well enough if half its interval is this share of it.
const HALF_WIDTH: f64 = 0.01;

/// The process that is the limit, and how fast it was in each slice.
struct Limit {
    process: Process,
    way: Way,
    objects: u64,
}

impl Limit {
    async fn rate(&mut self) -> anyhow::Result<f64> {
        self.process.start_work().await?;
        let run: ModelRun = self.process.receive(None).await?;
        self.objects = run.objects;
        Ok(run.frames as f64 / run.seconds)
    }

    /// The fastest arrangement of as many threads, which is warm then.
    async fn fastest(
        setup: &Setup,
        detectors: usize,
        folder: &std::path::Path,
    ) -> anyhow::Result<Self> {
        let mut fastest: Option<(Self, f64)> = None;
        for way in ways(detectors, false) {
            let Way::Fused { sessions, threads } = way else { continue };
            let process = start_model(setup, "fused", (sessions, threads), folder).await?;
            let mut limit = Self { process, way, objects: 0 };
            let rate = limit.rate().await?;
            let slower = match fastest.take() {
                Some((other, of_other)) if of_other >= rate => {
                    fastest = Some((other, of_other));
                    Some(limit)
                }
                other => {
                    fastest = Some((limit, rate));
                    other.map(|(other, _)| other)
                }
            };
            if let Some(slower) = slower {
                slower.process.stop().await;
            }
        }
        fastest.map(|(limit, _)| limit).context("there is no way to measure")
    }
}

/// `None` if it is `stopped` before anything can be said.
pub(crate) async fn measure(
    setup: &Setup,
    detectors: usize,
    longest: Duration,
    progress: &Progress,
    stopped: &CancellationToken,
) -> anyhow::Result<Option<Quick>> {
    let folder = setup.folder()?;
    let preparing = async {
        progress.begin("warming up");
        let limit = Limit::fastest(setup, detectors, folder.path()).await?;
        let mut pipeline = Pipeline::embedded(setup, detectors).await?;
        rate(setup, &mut pipeline, progress).await?;
        progress.done();
        anyhow::Ok((limit, pipeline))
    };
    let Some(prepared) = stopped.run_until_cancelled(preparing).await else { return Ok(None) };
    let (mut limit, mut pipeline) = prepared?;
    let (mut limits, mut embedded, begun) = (Vec::new(), Vec::new(), Instant::now());
    loop {
        let ratios: Vec<_> = embedded.iter().zip(&limits).map(|(rate, of)| rate / of).collect();
        let is_exact =
            Interval::of(&ratios).is_some_and(|interval| interval.half_width() <= HALF_WIDTH);
        let pairs = ratios.len();
        if pairs >= FEWEST_PAIRS && is_exact || begun.elapsed() >= longest && pairs >= 2 {
            break;
        }
        progress.expect(1);
        progress.begin(&match Interval::of(&ratios) {
            Some(known) => {
                let half_width = known.half_width() * 100.0;
                format!("slice {}, ratio {:.3} ± {half_width:.1} %", pairs + 1, known.ratio)
            }
            None => format!("slice {}", pairs + 1),
        });
        let pair = async {
            // Each of them is first in every other pair.
            if pairs.is_multiple_of(2) {
                let of_limit = limit.rate().await?;
                anyhow::Ok((of_limit, rate(setup, &mut pipeline, progress).await?))
            } else {
                let of_pipeline = rate(setup, &mut pipeline, progress).await?;
                Ok((limit.rate().await?, of_pipeline))
            }
        };
        let Some(pair) = stopped.run_until_cancelled(pair).await else { break };
        let (of_limit, of_pipeline) = pair?;
        limits.push(of_limit);
        embedded.push(of_pipeline);
        progress.done();
    }
    let (arrangement, objects) = (limit.way.arrangement(detectors), limit.objects);
    limit.process.stop().await;
    pipeline.stop().await;
    let ratios: Vec<_> = embedded.iter().zip(&limits).map(|(rate, of)| rate / of).collect();
    let seconds = begun.elapsed().as_secs_f64();
    Ok((|| {
        Some(Quick {
            detectors,
            arrangement,
            slices: ratios.len(),
            seconds,
            ratio: Interval::of(&ratios)?,
            limit: Measured::of(limits)?,
            embedded: Measured::of(embedded)?,
            objects,
        })
    })())
}

async fn rate(setup: &Setup, pipeline: &mut Pipeline, progress: &Progress) -> anyhow::Result<f64> {
    let run = observer::run(pipeline, &setup.videos, false, progress).await?;
    anyhow::ensure!(
        run.frames == setup.frames,
        "only {} of {} frames were counted",
        run.frames,
        setup.frames
    );
    Ok(run.frames as f64 / run.seconds)
}
