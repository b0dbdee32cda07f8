//! From the start of a program to its waiting for videos.

use std::time::Instant;

use super::Work;
use crate::pipeline::Pipeline;
use crate::report::Figure;

pub(super) async fn measure(work: &Work<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut seconds = Vec::new();
    for _ in 0..work.repeat {
        work.progress.begin("start to ready");
        let begun = Instant::now();
        let pipeline = Pipeline::embedded(work.setup, work.most_detectors()).await?;
        seconds.push(begun.elapsed().as_secs_f64());
        pipeline.stop().await;
        work.progress.done();
    }
    let what =
        format!("embedded, {} detectors, empty store: start to ready", work.most_detectors());
    Ok(Figure::of("start", what, "s", seconds).into_iter().collect())
}
