//! Measures the time from the start of a program until it waits for videos.

use std::time::Instant;

use crate::part::PartContext;
use crate::pipeline::Pipeline;
use crate::report::Figure;

pub(super) async fn measure(context: &PartContext<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut seconds = Vec::new();
    for _ in 0..context.repeat {
        context.progress.begin("start to ready");
        let started_at = Instant::now();
        let pipeline = Pipeline::embedded(context.setup, context.max_detectors()).await?;
        seconds.push(started_at.elapsed().as_secs_f64());
        pipeline.stop().await;
        context.progress.done();
    }
    let what =
        format!("embedded, {} detectors, empty store: start to ready", context.max_detectors());
    Ok(Figure::of("start", what, "s", seconds).into_iter().collect())
}
