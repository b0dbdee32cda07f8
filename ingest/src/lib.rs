//! Decodes uploaded videos and publishes their frames.
//!
//! [`run`] composes two parts that meet only in the streams: the HTTP API (`moliceiro_api`), which
//! queues uploads, and the jobs of this crate. The path of a video through a job:
//!
//! 1. `uploads` pulls its message from the queue, and acknowledges it after the last step.
//! 2. `allow` decides whether its URI may be read. `spool` and `fetch` download its bytes from the
//!    object store or a web server; `live` follows a source without an end.
//! 3. `moliceiro_decode` decodes it with GStreamer on threads of its own.
//! 4. `feed` publishes the frames, with back-pressure from the stream, and then the end.
//!
//! `report` logs and counts what happens.

mod allow;
mod arguments;
mod feed;
mod fetch;
mod live;
pub mod metrics;
mod report;
mod settings;
mod spool;
mod uploads;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use moliceiro_api::{Backend, HttpError, UriPolicy, UriRefused};
use moliceiro_service::{OpenError, Telemetry, open_streams};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use url::Url;

use allow::Allowed;
pub use arguments::IngestArguments;
pub use feed::{Published, publish_frames};
pub use settings::{IngestService, IngestSettings};
use uploads::Means;

/// Why an ingest ends before its shutdown.
#[derive(Debug, Error)]
pub enum IngestError {
    /// The server is unavailable, or its streams have other settings.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// HTTP cannot be served.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// GStreamer is not usable.
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
    // Before waiting for the server: an address in use is reported at once.
    let listener = moliceiro_api::bind(&service.http)?;
    let publishes_in_flight = service.ingest.videos * (service.ingest.publish_window + 2);
    let opening =
        open_streams("ingest", &service.nats, &service.streams, publishes_in_flight, &telemetry);
    let Some(streams) = shutdown.run_until_cancelled(opening).await.transpose()? else {
        return Ok(());
    };
    // The setting was validated when it was read.
    let allowed = Arc::new(Allowed::new(&service.ingest.allow).unwrap_or_default());
    let means = Means { streams, allowed };
    let backend = Backend {
        streams: means.streams.clone(),
        uri_policy: means.allowed.clone(),
        default_every: service.ingest.every,
    };
    let serving = async {
        let Some(listener) = listener else { return Ok(()) };
        let served =
            Box::pin(moliceiro_api::serve(listener, backend, &service.http, &shutdown)).await;
        // If HTTP failed, the jobs return their uploads to the queue before the error is reported.
        shutdown.cancel();
        served
    };
    report::ready();
    let (served, ()) = tokio::join!(serving, Box::pin(uploads::run(&means, &service, &shutdown)));
    Ok(served?)
}

impl UriPolicy for Allowed {
    fn permit<'a>(&'a self, uri: &'a Url) -> BoxFuture<'a, Result<(), UriRefused>> {
        Box::pin(async { self.check(uri).await.map(drop).map_err(UriRefused::new) })
    }
}
