//! Answers requests for the status of a video, `nats req videos.status '<id>'`, and for the work in
//! the queue, `nats req models.work ''`.

use std::time::Duration;

use async_nats::service::{ServiceExt, endpoint::Endpoint, error::Error};
use bytes::Bytes;
use futures_util::StreamExt;
use moliceiro_nats::messages::{VideoStatus, to_json};
use moliceiro_nats::{Streams, VideoError, VideoId, subjects};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::gauges::LatestWork;

/// The name in `nats micro ls`.
const NAME: &str = "moliceiro";
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// Work that was measured longer ago is not known any more.
const WORK_IS_KNOWN_FOR: Duration = Duration::from_secs(15);

// Codes of errors, with the meaning that they have in HTTP.
const INVALID_ID: usize = 400;
const UNKNOWN_VIDEO: usize = 404;
const MALFORMED_ENTRY: usize = 500;
const UNAVAILABLE: usize = 503;

/// Answers until `shutdown`. With several aggregators, one of them answers each request.
pub(crate) async fn serve(
    streams: &Streams,
    latest_work: &watch::Receiver<LatestWork>,
    shutdown: &CancellationToken,
) {
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
        let status = service.endpoint_builder().name("status").add(subjects::STATUS_SUBJECT).await;
        let work = service.endpoint_builder().name("work").add(subjects::WORK_SUBJECT).await;
        match (status, work) {
            (Ok(mut status), Ok(mut work)) => {
                // If one of the subscriptions ends, both are made again.
                let (videos, queue) = (Answers::Status(streams), Answers::Work(latest_work));
                tokio::select! {
                    () = answer_all(&mut status, videos, shutdown) => {}
                    () = answer_all(&mut work, queue, shutdown) => {}
                }
            }
            (Err(error), _) | (_, Err(error)) => {
                warn!(%error, "cannot subscribe to status requests; retrying");
            }
        }
        if let Err(error) = service.stop().await {
            warn!(%error, "cannot stop the status service");
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy)]
enum Answers<'a> {
    Status(&'a Streams),
    Work(&'a watch::Receiver<LatestWork>),
}

async fn answer_all(requests: &mut Endpoint, of: Answers<'_>, shutdown: &CancellationToken) {
    while let Some(Some(request)) = shutdown.run_until_cancelled(requests.next()).await {
        if request.message.reply.as_deref().is_some_and(subjects::is_reserved) {
            warn!("ignoring a request whose answer would be another message");
            continue;
        }
        let answer = match of {
            Answers::Status(streams) => video_status(streams, &request.message.payload).await,
            Answers::Work(latest) => work_of(latest),
        };
        if let Err(error) = request.respond(answer).await {
            warn!(%error, "cannot answer a request");
        }
    }
}

fn work_of(latest: &watch::Receiver<LatestWork>) -> Result<Bytes, Error> {
    match &*latest.borrow() {
        Some((at, work)) if at.elapsed() < WORK_IS_KNOWN_FOR => Ok(to_json(work).into()),
        _ => Err(Error {
            code: UNAVAILABLE,
            status: "the frame queue could not be measured for 15 s: it has no leader".into(),
        }),
    }
}

async fn video_status(streams: &Streams, payload: &[u8]) -> Result<Bytes, Error> {
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
