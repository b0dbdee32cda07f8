//! Turns videos into frames.
//!
//! The way of a video: `uploads` takes its trigger from the queue, `decode` decodes it with GStreamer on threads of
//! its own, `feed` publishes the frames as fast as the queue has room for them, and when the last one is stored, the
//! trigger is acknowledged.

mod allow;
mod arguments;
pub mod decode;
mod feed;
mod http;
mod settings;
mod spool;
mod uploads;

use std::sync::Arc;

use moliceiro_nats::{ConnectError, Patience, Streams, StreamsError, connect};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::info;

use allow::Allowed;
pub use arguments::IngestArguments;
pub use http::HttpError;
pub use settings::{IngestService, IngestSettings, Token};
use uploads::Means;

/// Why an ingest ends before it is told to.
#[derive(Debug, Error)]
pub enum IngestError {
    /// No usable server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No usable streams.
    #[error(transparent)]
    Streams(#[from] StreamsError),
    /// No HTTP.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// No usable GStreamer.
    #[error(transparent)]
    Decode(#[from] decode::DecodeError),
}

/// Decodes uploads until `shutdown`.
pub async fn run(service: IngestService, shutdown: CancellationToken) -> Result<(), IngestError> {
    decode::init()?;
    // An address that cannot be had is told before the server is waited for.
    let listener = http::bind(&service.ingest)?;
    let publishes_in_flight = service.ingest.videos * (service.ingest.publish_window + 2);
    let connecting = async {
        let client = connect(&service.nats, "moliceiro-ingest", Patience::WaitForServer).await?;
        Ok::<_, IngestError>(Streams::open(client, &service.streams, publishes_in_flight).await?)
    };
    let Some(streams) = shutdown.run_until_cancelled(connecting).await.transpose()? else { return Ok(()) };
    // What the setting says was checked when it was read.
    let allowed = Arc::new(Allowed::new(&service.ingest.allow).unwrap_or_default());
    let means = Means { streams, allowed };
    let serving = async {
        let Some(listener) = listener else { return Ok(()) };
        let served = http::serve(listener, means.clone(), &service.ingest, &shutdown).await;
        // Uploads are handed back before the error is told.
        shutdown.cancel();
        served
    };
    info!("ingest is ready");
    let (served, ()) = tokio::join!(serving, uploads::run(&means, &service, &shutdown));
    Ok(served?)
}
