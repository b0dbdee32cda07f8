//! Measures how fast the server accepts frames, and how close to that an ingest publishes.

use std::time::Instant;

use moliceiro_decode::{ContainerInfo, DecodedFrame, DecodedThumbnail};
use moliceiro_ingest::metrics::Metrics;
use moliceiro_ingest::{FramePublisher, IngestSettings, Watermark};
use moliceiro_nats::messages::thumbnail_slot;
use moliceiro_nats::{StreamsSettings, VideoId, subjects};
use moliceiro_service::metrics::Catalogue;

use super::synthetic;
use crate::input;
use crate::part::PartContext;
use crate::pipeline::{Pipeline, ServiceSet};
use crate::report::Figure;
use crate::setup::Setup;
use crate::statistics::Measured;

const FRAMES_IN_MEMORY: usize = 64;
/// Frames are large, so this part publishes only this share of the synthetic messages.
const PERCENT: u64 = 10;
/// Outstanding acknowledgements of the minimal publisher.
const WINDOWS: [usize; 2] = [16, 64];
pub(super) const WAYS: usize = WINDOWS.len() + 1;

pub(super) async fn measure(context: &PartContext<'_>) -> anyhow::Result<Vec<Figure>> {
    let total = (context.messages * PERCENT / 100).max(1);
    let frames =
        input::jpegs(&context.setup.videos[0], context.setup.model.size, FRAMES_IN_MEMORY).await?;
    // Even a detector that takes no time may fall behind for a moment. The limit per video must not
    // slow the publisher down then.
    let streams = StreamsSettings { frames_max_per_video: total, ..context.setup.streams.clone() };
    let setup = Setup { streams, ..context.setup.clone() };
    let (mut ours, mut minimal) = (vec![], WINDOWS.map(|_| vec![]));
    for _ in 0..context.repeat {
        for (window, rates) in WINDOWS.into_iter().zip(&mut minimal) {
            context.progress.begin(&format!("minimal publisher, {window} outstanding"));
            rates.push(rate(&setup, &frames, total, Some(window)).await?);
            context.progress.done();
        }
        context.progress.begin("publishing as an ingest does");
        ours.push(rate(&setup, &frames, total, None).await?);
        context.progress.done();
    }
    let median =
        |rates: &Vec<f64>| Measured::of(rates.iter().copied()).map_or(0.0, |rates| rates.median);
    let best = if median(&minimal[0]) > median(&minimal[1]) { &minimal[0] } else { &minimal[1] };
    let ratio = ours.iter().zip(best).map(|(ours, best)| ours / best);
    let name = |window| format!("minimal publisher, {window} outstanding");
    let figures = [
        Figure::of("publish", name(WINDOWS[0]), "frames/s", minimal[0].iter().copied()),
        Figure::of("publish", name(WINDOWS[1]), "frames/s", minimal[1].iter().copied()),
        Figure::of("publish", "as an ingest publishes", "frames/s", ours.iter().copied()),
        Figure::of(
            "publish",
            "as an ingest publishes, to the better minimal publisher",
            "times",
            ratio,
        ),
    ];
    Ok(figures.into_iter().flatten().collect())
}

/// Frames per second of a minimal publisher with a window, or of the ingest's own.
async fn rate(
    setup: &Setup,
    frames: &[DecodedFrame],
    total: u64,
    window: Option<usize>,
) -> anyhow::Result<f64> {
    let services = ServiceSet { ingest: false, detectors: 0, aggregator: false, metrics: false };
    let pipeline = Pipeline::separate(setup, services).await?;
    let _detector = synthetic::Detector::start(&pipeline.streams, &setup.model.id).await?;
    let video = VideoId::for_name("bench", &nuid::next());
    let started_at = match window {
        Some(window) => {
            let payload = |frame: &DecodedFrame| {
                bytes::Bytes::from(input::message(frame, &video, 0).to_cbor())
            };
            let payloads: Vec<_> = frames.iter().map(payload).collect();
            let messages = (0..total).zip(payloads.iter().cycle()).map(|(n, payload)| {
                (
                    subjects::frames(&setup.model.id, &video),
                    subjects::frame_message_id(&video, n),
                    payload.clone(),
                )
            });
            let started_at = Instant::now();
            synthetic::publish(&pipeline.streams.jetstream, messages, window).await?;
            started_at
        }
        None => {
            let settings = IngestSettings::default();
            let (sender, receiver) = async_channel::bounded(settings.publish_window);
            let (started_at, announced) = (Instant::now(), ContainerInfo::default());
            let give = async {
                for (index, frame) in (0..total).zip(frames.iter().cycle()) {
                    // The first of a video all have one, and of later ones fewer and fewer.
                    let thumbnail = thumbnail_slot(index).zip(frames[0].thumbnail.clone());
                    let thumbnail =
                        thumbnail.map(|(slot, first)| DecodedThumbnail { slot, ..first });
                    let frame = frame.clone();
                    let frame = DecodedFrame { index, number: index, thumbnail, ..frame };
                    if sender.send(Ok(frame)).await.is_err() {
                        break;
                    }
                }
                drop(sender);
            };
            let (streams, metrics) = (&pipeline.streams, &Metrics::new(&mut Catalogue::default()));
            let (model, window) = (&setup.model.id, settings.publish_window);
            let publisher = FramePublisher::new(streams, metrics, &video, model, window);
            let take = publisher.publish_frames(receiver, &announced, Watermark::default());
            let ((), published) = tokio::join!(give, take);
            published.map_err(|(_, error)| error)?;
            started_at
        }
    };
    let seconds = started_at.elapsed().as_secs_f64();
    pipeline.stop().await;
    Ok(total as f64 / seconds)
}
