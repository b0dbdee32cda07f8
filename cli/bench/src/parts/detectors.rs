//! Measures detectors on frames that are already decoded.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::StreamExt;
use moliceiro_nats::messages::{Event, VideoEvent, from_cbor};
use moliceiro_nats::{VideoId, subjects};

use super::synthetic;
use crate::input;
use crate::part::PartContext;
use crate::pipeline::{Pipeline, ServiceSet};
use crate::report::Figure;
use crate::statistics::Measured;

const FRAMES_IN_MEMORY: usize = 64;
/// Fewer than one video may have in the queue.
const FRAMES_OF_A_VIDEO: u64 = 100;
const WINDOW: usize = 16;
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) async fn measure(context: &PartContext<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut rates: Vec<Vec<f64>> = context.detectors.iter().map(|_| vec![]).collect();
    for _ in 0..context.repeat {
        for (n, rates) in context.detectors.iter().zip(&mut rates) {
            context.progress.begin(&format!("{n} detectors on a full queue"));
            rates.push(rate(context, *n).await?);
            context.progress.done();
        }
    }
    let figure = |(n, rates): (&usize, &Vec<f64>)| {
        Figure::of(
            "detectors",
            format!("{n} detectors, frames already decoded"),
            "frames/s",
            rates.iter().copied(),
        )
    };
    let speedup = |(n, many): (&usize, &Vec<f64>)| {
        let value = Measured::of(many.iter().zip(&rates[0]).map(|(many, one)| many / one))?;
        let what = format!("{n} detectors to {}", context.detectors[0]);
        Some(Figure { part: "detectors".into(), what, unit: "times".into(), value })
    };
    let (all, more) =
        (context.detectors.iter().zip(&rates), context.detectors.iter().zip(&rates).skip(1));
    Ok(all.filter_map(figure).chain(more.filter_map(speedup)).collect())
}

/// Frames per second from the first publish to the last result.
async fn rate(context: &PartContext<'_>, detectors: usize) -> anyhow::Result<f64> {
    let services = ServiceSet { ingest: false, detectors, aggregator: false, metrics: false };
    let pipeline = Pipeline::separate(context.setup, services).await?;
    let frames =
        input::jpegs(&context.setup.videos[0], context.setup.model.size, FRAMES_IN_MEMORY).await?;
    let jetstream = pipeline.streams.jetstream.clone();
    let mut results = jetstream.client().subscribe(subjects::ALL_DETECTIONS).await?;
    jetstream.client().flush().await?;
    let total = context.setup.frames;
    let messages = (0..total).zip(frames.iter().cycle()).map(|(n, frame)| {
        let (video, index) = (
            VideoId::for_name("bench", &(n / FRAMES_OF_A_VIDEO).to_string()),
            n % FRAMES_OF_A_VIDEO,
        );
        let payload = input::message(frame, &video, index).to_cbor();
        (
            subjects::frames(&context.setup.model.id, &video),
            subjects::frame_message_id(&video, index),
            payload.into(),
        )
    });
    let started_at = Instant::now();
    let count = async {
        let mut done = 0;
        while done < total {
            let next = tokio::time::timeout(IDLE_TIMEOUT, results.next())
                .await
                .context("the detectors published nothing")?;
            let message = next.context("the server stopped sending results")?;
            if let VideoEvent { event: Event::Frame(_), .. } = from_cbor(&message.payload)? {
                done += 1;
                context.progress.frames(done);
            }
        }
        anyhow::Ok(())
    };
    tokio::try_join!(synthetic::publish(&jetstream, messages, WINDOW), count)?;
    let seconds = started_at.elapsed().as_secs_f64();
    pipeline.stop().await;
    Ok(total as f64 / seconds)
}
