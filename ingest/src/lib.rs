//! Turns videos into frames.
//!
//! The way of a video: `uploads` takes its trigger from the queue, `decode` decodes it with
//! GStreamer on threads of its own, `feed` publishes the frames as fast as the queue has room for
//! them, and when the last one is stored, the trigger is acknowledged.

mod allow;
mod arguments;
mod feed;
mod fetch;
mod http;
mod live;
pub mod metrics;
mod report;
mod settings;
mod spool;
mod uploads;

use std::sync::Arc;

use moliceiro_service::{OpenError, Telemetry, open_streams};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use allow::Allowed;
pub use arguments::IngestArguments;
pub use feed::{Published, publish_frames};
pub use http::HttpError;
pub use settings::{IngestService, IngestSettings, Token};
use uploads::Means;

/// Why an ingest ends before it is told to.
#[derive(Debug, Error)]
pub enum IngestError {
    /// No usable server or streams.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No HTTP.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// No usable GStreamer.
    #[error(transparent)]
    Decode(#[from] moliceiro_decode::DecodeError),
}

/// Decodes uploads until `shutdown`.
pub async fn run(
    service: IngestService,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> Result<(), IngestError> {
    moliceiro_decode::init()?;
    // An address that cannot be had is told before the server is waited for.
    let listener = http::bind(&service.ingest)?;
    let publishes_in_flight = service.ingest.videos * (service.ingest.publish_window + 2);
    let opening =
        open_streams("ingest", &service.nats, &service.streams, publishes_in_flight, &telemetry);
    let Some(streams) = shutdown.run_until_cancelled(opening).await.transpose()? else {
        return Ok(());
    };
    // What the setting says was checked when it was read.
    let allowed = Arc::new(Allowed::new(&service.ingest.allow).unwrap_or_default());
    let means = Means { streams, allowed };
    let serving = async {
        let Some(listener) = listener else { return Ok(()) };
        let served =
            Box::pin(http::serve(listener, means.clone(), &service.ingest, &shutdown)).await;
        // Uploads are handed back before the error is told.
        shutdown.cancel();
        served
    };
    report::ready();
    let (served, ()) = tokio::join!(serving, Box::pin(uploads::run(&means, &service, &shutdown)));
    Ok(served?)
}
