//! Turns uploads into frames on the queue.
//!
//! The path of a video: `uploads` takes its message from the queue, `upload_job` decides what
//! becomes of it, `allow` checks its URI, `source` opens it (`fetch`, `spool`) and decodes it with
//! [`moliceiro_decode`] on threads of its own, `publisher` stores the frames as fast as the queue
//! takes them; when the last one is stored, the message is acknowledged. A live source is followed
//! by `live`, which makes a video of each of its windows.

mod allow;
mod arguments;
mod fetch;
mod http;
mod live;
pub mod metrics;
mod publisher;
mod settings;
mod source;
mod spool;
mod upload_job;
mod uploads;

use std::sync::Arc;

use moliceiro_service::{OpenError, Telemetry, open_streams};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::info;

use allow::Allowed;
pub use arguments::IngestArguments;
pub use http::HttpError;
use metrics::Metrics;
pub use publisher::{FramePublisher, Watermark};
pub use settings::{IngestService, IngestSettings, Token};
use uploads::Context;

/// Why an ingest ends before its shutdown.
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
    // An unavailable address is reported before waiting for the server.
    let listener = http::bind(&service.ingest)?;
    let publishes_in_flight = service.ingest.videos * (service.ingest.publish_window + 2);
    let opening =
        open_streams("ingest", &service.nats, &service.streams, publishes_in_flight, &telemetry);
    let Some(streams) = shutdown.run_until_cancelled(opening).await.transpose()? else {
        return Ok(());
    };
    // The setting was validated when it was read.
    let allowed = Arc::new(Allowed::new(&service.ingest.allow).unwrap_or_default());
    let metrics = Arc::new(Metrics::new(&mut telemetry.catalogue()));
    let service = Arc::new(service);
    let context = Context { streams, allowed, service: service.clone(), metrics };
    let serving = async {
        let Some(listener) = listener else { return Ok(()) };
        let served =
            Box::pin(http::serve(listener, context.clone(), &service.ingest, &shutdown)).await;
        // Unfinished uploads return to the queue before the error is reported.
        shutdown.cancel();
        served
    };
    info!("ingest is ready");
    let (served, ()) = tokio::join!(serving, Box::pin(uploads::run(&context, &shutdown)));
    Ok(served?)
}
