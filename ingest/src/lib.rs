//! Turns videos into frames.
//!
//! The way of a video: `uploads` takes its trigger from the queue, `decode` decodes it with GStreamer on threads of
//! its own, `feed` publishes the frames as fast as the queue has room for them, and when the last one is stored, the
//! trigger is acknowledged.

mod arguments;
pub mod decode;
mod feed;
mod settings;
mod uploads;

use moliceiro_nats::{ConnectError, Patience, Streams, StreamsError, connect};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::info;

pub use arguments::IngestArguments;
pub use settings::{IngestService, IngestSettings};

/// Why an ingest ends before it is told to.
#[derive(Debug, Error)]
pub enum IngestError {
    /// No usable server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No usable streams.
    #[error(transparent)]
    Streams(#[from] StreamsError),
    /// No usable GStreamer.
    #[error(transparent)]
    Decode(#[from] decode::DecodeError),
}

/// Decodes uploads until `shutdown`.
pub async fn run(service: IngestService, shutdown: CancellationToken) -> Result<(), IngestError> {
    decode::init()?;
    let publishes_in_flight = service.ingest.videos * (service.ingest.publish_window + 2);
    let connecting = async {
        let client = connect(&service.nats, "moliceiro-ingest", Patience::WaitForServer).await?;
        Ok::<_, IngestError>(Streams::open(client, &service.streams, publishes_in_flight).await?)
    };
    let Some(streams) = shutdown.run_until_cancelled(connecting).await.transpose()? else { return Ok(()) };
    info!("ingest is ready");
    uploads::run(&streams, &service, &shutdown).await;
    Ok(())
}
