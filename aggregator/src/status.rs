//! Answers requests for the status of a video: `nats req videos.status '<id>'`.

use std::time::Duration;

use async_nats::service::{ServiceExt, endpoint::Endpoint, error::Error};
use bytes::Bytes;
use futures_util::StreamExt;
use moliceiro_nats::messages::{VideoStatus, to_json};
use moliceiro_nats::{Streams, VideoError, VideoId, subjects};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// The name in `nats micro ls`.
const NAME: &str = "moliceiro";
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

// Codes of errors, with the meaning that they have in HTTP.
const INVALID_ID: usize = 400;
const UNKNOWN_VIDEO: usize = 404;
const MALFORMED_ENTRY: usize = 500;
const UNAVAILABLE: usize = 503;

/// Answers until `shutdown`. With several aggregators, one of them answers each request.
pub(crate) async fn serve(streams: &Streams, shutdown: &CancellationToken) {
    while !shutdown.is_cancelled() {
        let service = streams
            .jetstream
            .client()
            .service_builder()
            .description("Counts the objects in videos");
        let service = match service.start(NAME, env!("CARGO_PKG_VERSION")).await {
            Ok(service) => service,
            Err(error) => {
                warn!(%error, "cannot start the status service; retrying");
                shutdown.run_until_cancelled(tokio::time::sleep(PAUSE_AFTER_ERROR)).await;
                continue;
            }
        };
        match service.endpoint_builder().name("status").add(subjects::STATUS_SUBJECT).await {
            Ok(mut requests) => answer_all(&mut requests, streams, shutdown).await,
            Err(error) => warn!(%error, "cannot subscribe to status requests; retrying"),
        }
        if let Err(error) = service.stop().await {
            warn!(%error, "cannot stop the status service");
        }
    }
}

async fn answer_all(requests: &mut Endpoint, streams: &Streams, shutdown: &CancellationToken) {
    while let Some(Some(request)) = shutdown.run_until_cancelled(requests.next()).await {
        if request.message.reply.as_deref().is_some_and(subjects::is_reserved) {
            warn!("ignoring a request for a video's status whose answer would be another message");
            continue;
        }
        let answer = status(streams, &request.message.payload).await;
        if let Err(error) = request.respond(answer).await {
            warn!(%error, "cannot answer a request for a video's status");
        }
    }
}

async fn status(streams: &Streams, payload: &[u8]) -> Result<Bytes, Error> {
    let error = |code, status: String| Error { code, status };
    let id = String::from_utf8_lossy(payload).trim().to_owned();
    let video = VideoId::try_from(id).map_err(|e| error(INVALID_ID, e.to_string()))?;
    let entry = streams.videos().entry(&video).await.map_err(|e| match e {
        VideoError::Unavailable { .. } => error(UNAVAILABLE, e.to_string()),
        VideoError::Malformed { .. } => error(MALFORMED_ENTRY, e.to_string()),
    })?;
    let entry =
        entry.ok_or_else(|| error(UNKNOWN_VIDEO, format!("video {video} does not exist")))?;
    Ok(to_json(&VideoStatus::from(entry)).into())
}
