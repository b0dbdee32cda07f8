//! Turns videos into frames.
//!
//! The way of a video: `uploads` takes its trigger from the queue, `decode` decodes it with GStreamer on threads of
//! its own, `feed` publishes the frames as fast as the queue has room for them, and when the last one is stored, the
//! trigger is acknowledged.

mod arguments;
pub mod cut;
pub mod decode;
mod feed;
pub mod metrics;
mod report;
mod settings;
mod uploads;

use moliceiro_service::{OpenError, Readiness, open_streams};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

pub use arguments::IngestArguments;
pub use feed::publish_frames;
pub use settings::{IngestService, IngestSettings};

/// Why an ingest ends before it is told to.
#[derive(Debug, Error)]
pub enum IngestError {
    /// No usable server or streams.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No usable GStreamer.
    #[error(transparent)]
    Decode(#[from] decode::DecodeError),
}

/// Decodes uploads until `shutdown`.
pub async fn run(service: IngestService, readiness: Readiness, shutdown: CancellationToken) -> Result<(), IngestError> {
    decode::init()?;
    let publishes_in_flight = service.ingest.videos * (service.ingest.publish_window + 2);
    let opening = open_streams("ingest", &service.nats, &service.streams, publishes_in_flight, &readiness);
    let Some(streams) = shutdown.run_until_cancelled(opening).await.transpose()? else { return Ok(()) };
    report::ready();
    uploads::run(&streams, &service, &shutdown).await;
    Ok(())
}
