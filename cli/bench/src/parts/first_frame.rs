//! Measures the time from an upload to its first counted frame.

use std::time::Duration;

use crate::observer;
use crate::part::PartContext;
use crate::pipeline::Pipeline;
use crate::report::Figure;

pub(super) async fn measure(context: &PartContext<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut pipeline = Pipeline::embedded(context.setup, context.max_detectors()).await?;
    let video = &context.setup.videos[..1];
    // The first video loads the library of the decoder, so its times do not count.
    observer::run(&mut pipeline, video, false, context.progress).await?;
    let (mut seen, mut counted, mut processing) = (vec![], vec![], vec![]);
    for _ in 0..context.repeat {
        context.progress.begin("upload to first frame");
        let run = observer::run(&mut pipeline, video, false, context.progress).await?;
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        seen.extend(run.first_seen.map(milliseconds));
        counted.extend(run.first_counted.map(milliseconds));
        processing.extend(
            run.stages
                .iter()
                .find(|(stage, _)| stage == "detecting")
                .map(|(_, latency)| latency.p50),
        );
        context.progress.done();
    }
    pipeline.stop().await;
    let limit = processing.iter().map(|frame| 3.0 * frame + 50.0);
    let figures = [
        Figure::of("first-frame", "3 × a frame's processing time + 50 ms", "ms", limit),
        Figure::of("first-frame", "upload to the first frame in its video's entry", "ms", seen),
        Figure::of(
            "first-frame",
            "upload to the first frame that ingest has confirmed, in the totals",
            "ms",
            counted,
        ),
        Figure::of("first-frame", "processing time of a frame", "ms", processing),
    ];
    Ok(figures.into_iter().flatten().collect())
}
