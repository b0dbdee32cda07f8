//! Detectors on frames that are decoded already.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::StreamExt;
use moliceiro_nats::messages::{Event, VideoEvent, from_cbor};
use moliceiro_nats::{VideoId, subjects};

use super::{Work, synthetic};
use crate::input;
use crate::pipeline::{Pipeline, Wanted};
use crate::report::Figure;
use crate::statistics::Measured;

const FRAMES_IN_MEMORY: usize = 64;
/// Fewer than a video may have in the queue.
const FRAMES_OF_A_VIDEO: u64 = 100;
const WINDOW: usize = 16;
const SILENCE: Duration = Duration::from_secs(60);

pub(super) async fn measure(work: &Work<'_>) -> anyhow::Result<Vec<Figure>> {
    let mut rates: Vec<Vec<f64>> = work.detectors.iter().map(|_| vec![]).collect();
    for _ in 0..work.repeat {
        for (n, rates) in work.detectors.iter().zip(&mut rates) {
            work.progress.begin(&format!("{n} detectors on a full queue"));
            rates.push(rate(work, *n).await?);
            work.progress.done();
        }
    }
    let figure = |(n, rates): (&usize, &Vec<f64>)| {
        Figure::of(
            "detectors",
            format!("{n} detectors, frames decoded before"),
            "frames/s",
            rates.iter().copied(),
        )
    };
    let speedup = |(n, many): (&usize, &Vec<f64>)| {
        let value = Measured::of(many.iter().zip(&rates[0]).map(|(many, one)| many / one))?;
        let what = format!("{n} detectors to {}", work.detectors[0]);
        Some(Figure { part: "detectors".into(), what, unit: "times".into(), value })
    };
    let (all, more) =
        (work.detectors.iter().zip(&rates), work.detectors.iter().zip(&rates).skip(1));
    Ok(all.filter_map(figure).chain(more.filter_map(speedup)).collect())
}

/// Frames per second from the first publish to the last result.
async fn rate(work: &Work<'_>, detectors: usize) -> anyhow::Result<f64> {
    let wanted = Wanted { ingest: false, detectors, aggregator: false, metrics: false };
    let pipeline = Pipeline::separate(work.setup, wanted).await?;
    let frames = input::jpegs(&work.setup.videos[0], work.setup.size, FRAMES_IN_MEMORY).await?;
    let jetstream = pipeline.streams.jetstream.clone();
    let mut results = jetstream.client().subscribe("results.*").await?;
    jetstream.client().flush().await?;
    let total = work.setup.frames;
    let messages = (0..total).map(|n| {
        let (video, index) = (
            VideoId::for_name("bench", &(n / FRAMES_OF_A_VIDEO).to_string()),
            n % FRAMES_OF_A_VIDEO,
        );
        let payload = input::message(&frames[n as usize % frames.len()], &video, index).to_cbor();
        (subjects::frames(&video), subjects::frame_message_id(&video, index), payload.into())
    });
    let begun = Instant::now();
    let count = async {
        let mut done = 0;
        while done < total {
            let next = tokio::time::timeout(SILENCE, results.next())
                .await
                .context("the detectors give no results")?;
            let message = next.context("the server gives no results")?;
            if let VideoEvent { event: Event::Frame(_), .. } = from_cbor(&message.payload)? {
                done += 1;
                work.progress.frames(done);
            }
        }
        anyhow::Ok(())
    };
    tokio::try_join!(synthetic::publish(&jetstream, messages, WINDOW), count)?;
    let seconds = begun.elapsed().as_secs_f64();
    pipeline.stop().await;
    Ok(total as f64 / seconds)
}
