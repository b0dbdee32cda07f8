//! Turns uploads into frames on the queue.
//!
//! [`run`] composes the HTTP API ([`moliceiro_api`]), which queues uploads, with the jobs that
//! decode them; the two meet only in the streams.
//!
//! The path of a video: `uploads` takes its message from the queue, `upload_job` decides what
//! becomes of it, `allow` checks its URI, `remote_name` asks a web
//! server for its name, `source` opens it (`fetch`, `spool`) and decodes it with
//! [`moliceiro_decode`] in a process of its own (`decode_worker`), `publisher` stores the frames as
//! fast as the queue
//! takes them; when the last one is stored, the message is acknowledged. An upload that names frames
//! which were lost is decoded again by `upload_job/again.rs`. A live source is followed
//! by `live`, which makes a video of each of its windows.

mod allow;
mod arguments;
mod context;
mod decode_worker;
mod fetch;
mod fingerprint;
mod live;
pub mod metrics;
mod published;
mod publisher;
mod remote_name;
mod settings;
mod source;
mod spool;
mod upload_job;
mod uploads;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use moliceiro_api::{Backend, HttpError, UriPolicy, UriRefused};
use moliceiro_service::{OpenError, Telemetry, connect_streams};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::info;
use url::Url;

use allow::Allowed;
pub use arguments::IngestArguments;
use context::Context;
pub use decode_worker::{DECODE_WORKER, decode_worker};
pub use fingerprint::fingerprint;
use metrics::Metrics;
pub use published::Watermark;
pub use publisher::FramePublisher;
pub use settings::{IngestService, IngestSettings};

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
    IngestService { ingest: service, http, defaults }: IngestService,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> Result<(), IngestError> {
    moliceiro_decode::init()?;
    // An unavailable address is reported before waiting for the server.
    let listener = moliceiro_api::bind(&http)?;
    let settings = &service.section;
    let publishes_in_flight = settings.videos * (settings.publish_window + 2);
    let opening = connect_streams(&service, publishes_in_flight, &telemetry);
    let Some(streams) = shutdown.run_until_cancelled(opening).await.transpose()? else {
        return Ok(());
    };
    // The setting was validated when it was read.
    let allowed = Arc::new(Allowed::new(&settings.allow).unwrap_or_default());
    let metrics = Arc::new(Metrics::new(&mut telemetry.catalogue()));
    let (default_every, default_model) = (settings.every, settings.model.clone());
    let context = Context {
        streams,
        allowed,
        service: Arc::new(service),
        max_fetched_bytes: http.upload_max_bytes,
        metrics,
        workers: decode_worker::workers(),
    };
    let backend = Backend {
        streams: context.streams.clone(),
        uri_policy: context.allowed.clone(),
        default_every,
        default_model,
        defaults,
    };
    let serving = async {
        let Some(listener) = listener else { return Ok(()) };
        let served = Box::pin(moliceiro_api::serve(listener, backend, &http, &shutdown)).await;
        // Unfinished uploads return to the queue before the error is reported.
        shutdown.cancel();
        served
    };
    info!("ingest is ready");
    let (served, ()) = tokio::join!(serving, Box::pin(uploads::run(&context, &shutdown)));
    Ok(served?)
}

impl UriPolicy for Allowed {
    fn permit<'a>(&'a self, uri: &'a Url) -> BoxFuture<'a, Result<(), UriRefused>> {
        Box::pin(async { self.check(uri).await.map(drop).map_err(UriRefused::new) })
    }
}
