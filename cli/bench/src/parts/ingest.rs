//! Measures an ingest whose frames go to a detector that takes no time.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::StreamExt;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{Event, Upload, VideoEvent, from_cbor, to_json};
use moliceiro_nats::subjects::{ALL_RESULTS, UPLOAD_SUBJECT};

use super::synthetic;
use crate::part::PartContext;
use crate::pipeline::{Pipeline, ServiceSet};
use crate::report::Figure;
use crate::usage::{Meter, ProcessUsage};

const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) async fn measure(context: &PartContext<'_>) -> anyhow::Result<Vec<Figure>> {
    let (mut rates, mut cpu, mut memory) = (vec![], vec![], vec![]);
    for _ in 0..context.repeat {
        context.progress.begin("ingest alone");
        let (rate, ingest) = run(context).await?;
        rates.push(rate);
        cpu.push(ingest.cpu_ms / context.setup.frames as f64);
        memory.push(ingest.peak_rss as f64 / 1e6);
        context.progress.done();
    }
    let figures = [
        Figure::of(
            "ingest",
            "decoded and published, to a detector that takes no time",
            "frames/s",
            rates,
        ),
        Figure::of("ingest", "CPU time", "ms/frame", cpu),
        Figure::of("ingest", "peak memory", "MB", memory),
    ];
    Ok(figures.into_iter().flatten().collect())
}

async fn run(context: &PartContext<'_>) -> anyhow::Result<(f64, ProcessUsage)> {
    let services = ServiceSet { ingest: true, detectors: 0, aggregator: false, metrics: false };
    let pipeline = Pipeline::separate(context.setup, services).await?;
    let streams = pipeline.streams.clone();
    let _detector = synthetic::Detector::start(&streams, &context.setup.model.id).await?;
    let mut results = streams.jetstream.client().subscribe(ALL_RESULTS).await?;
    streams.jetstream.client().flush().await?;
    let meter = Meter::start(pipeline.measured_processes()?)?;
    let started_at = Instant::now();
    for uri in &context.setup.videos {
        let id = VideoId::for_name("bench", &nuid::next());
        let mut upload = Upload { id: Some(id.clone()), ..Upload::of(uri.clone()) };
        upload.selection.every = Some(1);
        streams
            .publisher
            .publish(UPLOAD_SUBJECT, &format!("upload/{id}"), to_json(&upload).into())
            .await?;
    }
    let (mut ended, mut frames) = (0, 0);
    while ended < context.setup.videos.len() {
        let next = tokio::time::timeout(IDLE_TIMEOUT, results.next())
            .await
            .context("the ingest published nothing")?;
        let VideoEvent { event, .. } =
            from_cbor(&next.context("the server stopped sending results")?.payload)?;
        match event {
            Event::Progress(progress) => context.progress.frames(progress.published),
            Event::Ended(end) => (ended, frames) = (ended + 1, frames + end.frames),
            _ => {}
        }
    }
    let seconds = started_at.elapsed().as_secs_f64();
    let ingest = meter
        .read()?
        .into_iter()
        .find(|process| process.process == "ingest")
        .context("the pipeline has no ingest")?;
    pipeline.stop().await;
    Ok((frames as f64 / seconds, ingest))
}
