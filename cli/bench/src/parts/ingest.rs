//! An ingest with nothing behind it that takes time.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::StreamExt;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{Event, Upload, VideoEvent, from_cbor, to_json};
use moliceiro_nats::subjects::UPLOAD_SUBJECT;

use super::{Work, synthetic};
use crate::pipeline::{Pipeline, Wanted};
use crate::report::Figure;
use crate::usage::{Meter, ProcessUse};

const SILENCE: Duration = Duration::from_secs(60);

pub(super) async fn measure(work: &Work<'_>) -> anyhow::Result<Vec<Figure>> {
    let (mut rates, mut cpu, mut memory) = (vec![], vec![], vec![]);
    for _ in 0..work.repeat {
        work.progress.begin("ingest alone");
        let (rate, ingest) = run(work).await?;
        rates.push(rate);
        cpu.push(ingest.cpu_ms / work.setup.frames as f64);
        memory.push(ingest.peak_rss as f64 / 1e6);
        work.progress.done();
    }
    let figures = [
        Figure::of(
            "ingest",
            "decoded and published, to a detector that takes no time",
            "frames/s",
            rates,
        ),
        Figure::of("ingest", "processor time", "ms/frame", cpu),
        Figure::of("ingest", "peak memory", "MB", memory),
    ];
    Ok(figures.into_iter().flatten().collect())
}

async fn run(work: &Work<'_>) -> anyhow::Result<(f64, ProcessUse)> {
    let wanted = Wanted { ingest: true, detectors: 0, aggregator: false, metrics: false };
    let pipeline = Pipeline::separate(work.setup, wanted).await?;
    let streams = pipeline.streams.clone();
    let _detector = synthetic::Detector::start(&streams);
    let mut results = streams.jetstream.client().subscribe("results.*").await?;
    streams.jetstream.client().flush().await?;
    let meter = Meter::start(pipeline.subjects()?)?;
    let begun = Instant::now();
    for uri in &work.setup.videos {
        let id = VideoId::for_name("bench", &nuid::next());
        let mut upload = Upload { id: Some(id.clone()), ..Upload::of(uri.clone()) };
        upload.selection.every = Some(1);
        streams
            .publisher
            .publish(UPLOAD_SUBJECT, &format!("upload/{id}"), to_json(&upload).into())
            .await?;
    }
    let (mut ended, mut frames) = (0, 0);
    while ended < work.setup.videos.len() {
        let next = tokio::time::timeout(SILENCE, results.next())
            .await
            .context("the ingest says nothing")?;
        let VideoEvent { event, .. } =
            from_cbor(&next.context("the server gives no results")?.payload)?;
        match event {
            Event::Progress(progress) => work.progress.frames(progress.published),
            Event::Ended(end) => (ended, frames) = (ended + 1, frames + end.frames),
            _ => {}
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let ingest = meter
        .read()?
        .into_iter()
        .find(|process| process.process == "ingest")
        .context("there was no ingest")?;
    pipeline.stop().await;
    Ok((frames as f64 / seconds, ingest))
}
