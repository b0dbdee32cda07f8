//! Fails messages that ran out of deliveries, on behalf of services that died with them.
//!
//! The server publishes an advisory for each. A frame is dead-lettered. A video ends with the
//! frames that are published, or is queued again if its ingests made progress.

use std::time::Duration;

use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;
use moliceiro_nats::dead::{FrameIdentity, dead_letter};
use moliceiro_nats::messages::{Abandoned, Event, Failed, Upload, to_json};
use moliceiro_nats::publish::StoreError;
use moliceiro_nats::{Streams, VideoError, VideoId, subjects};
use serde::Deserialize;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metrics::Metrics;

const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Header of an upload that is queued again: how many frames were published at that time.
const PUBLISHED: &str = "Moliceiro-Published";

/// `io.nats.jetstream.advisory.v1.max_deliver`
#[derive(Debug, Deserialize)]
pub(crate) struct Advisory {
    pub(crate) stream: String,
    pub(crate) stream_seq: u64,
    pub(crate) deliveries: u64,
}

#[derive(Debug, Error)]
pub(crate) enum GiveUpError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the NATS server cannot read or remove it: {0}")]
    Server(async_nats::Error),
}

impl GiveUpError {
    pub(crate) fn server(error: impl Into<async_nats::Error>) -> Self {
        Self::Server(error.into())
    }
}

/// Takes advisories until `shutdown`.
pub(crate) async fn run(streams: &Streams, metrics: &Metrics, shutdown: &CancellationToken) {
    while !shutdown.is_cancelled() {
        let mut advisories =
            match streams.exhausted.stream().max_messages_per_batch(1).messages().await {
                Ok(advisories) => advisories,
                Err(error) => {
                    warn!(%error, "cannot pull advisories; retrying");
                    shutdown.run_until_cancelled(tokio::time::sleep(RETRY_PAUSE)).await;
                    continue;
                }
            };
        while let Some(Some(next)) = shutdown.run_until_cancelled(advisories.next()).await {
            match next {
                Ok(message) => {
                    shutdown.run_until_cancelled(take(streams, metrics, &message)).await;
                }
                Err(error) => warn!(%error, "pulling advisories failed; retrying"),
            }
        }
    }
}

async fn take(streams: &Streams, metrics: &Metrics, message: &Message) {
    let ack = match serde_json::from_slice::<Advisory>(&message.payload) {
        Err(error) => {
            warn!(%error, "dropping a malformed advisory");
            AckKind::Term
        }
        Ok(advisory) => match give_up(streams, metrics, &advisory).await {
            Ok(()) => AckKind::Ack,
            Err(error) => {
                warn!(?advisory, %error, "cannot give up a message yet; retrying");
                AckKind::Nak(Some(RETRY_PAUSE))
            }
        },
    };
    if let Err(error) = message.ack_with(ack).await {
        warn!(%error, "cannot acknowledge an advisory: it will be redelivered");
    }
}

/// Records that a message failed, keeps its payload, and only then removes it from its queue.
pub(crate) async fn give_up(
    streams: &Streams,
    metrics: &Metrics,
    advisory: &Advisory,
) -> Result<(), GiveUpError> {
    let stream =
        if advisory.stream == subjects::UPLOADS { &streams.uploads } else { &streams.frames };
    let Some(message) = message_at(stream, advisory.stream_seq).await? else { return Ok(()) };
    match advisory.stream.as_str() {
        subjects::UPLOADS => give_up_upload(streams, &message, advisory).await?,
        _ => give_up_frame(streams, metrics, &message, advisory).await?,
    }
    stream.delete_message(advisory.stream_seq).await.map(drop).map_err(GiveUpError::server)
}

/// Returns `None` if it is deleted: a late acknowledgement settled it after all.
async fn message_at(stream: &Stream, sequence: u64) -> Result<Option<StreamMessage>, GiveUpError> {
    match stream.get_raw_message(sequence).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(GiveUpError::server(error)),
    }
}

/// How many frames of all its analyses are published, if that is more than when the upload was
/// queued and one of them is not finished.
async fn progress_since_queued(
    streams: &Streams,
    analyses: &[(VideoId, Upload)],
    message: &StreamMessage,
) -> Result<Option<u64>, GiveUpError> {
    let before = message
        .headers
        .get(PUBLISHED)
        .and_then(|published| published.as_str().parse().ok())
        .unwrap_or(0);
    let (mut published, mut is_unfinished) = (0, false);
    for (video, _) in analyses {
        match streams.videos().entry(video).await {
            Ok(Some(entry)) => {
                published += entry.published;
                is_unfinished |= entry.ended.is_none() && entry.cancelled.is_none();
            }
            Ok(None) | Err(VideoError::Malformed { .. }) => {}
            Err(error) => return Err(GiveUpError::server(error)),
        }
    }
    Ok((is_unfinished && published > before).then_some(published))
}

/// Queues the upload again, as the same video.
async fn requeue(
    streams: &Streams,
    video: VideoId,
    upload: Upload,
    sequence: u64,
    published: u64,
) -> Result<(), GiveUpError> {
    let id = format!("{video}/again/{sequence}");
    let upload = Upload { id: Some(video), ..upload };
    let message = PublishMessage::build()
        .message_id(id)
        .header(PUBLISHED, published.to_string().as_str())
        .payload(to_json(&upload).into());
    Ok(streams.publisher.publish_message(subjects::UPLOAD_SUBJECT, message).await.map(drop)?)
}

async fn give_up_frame(
    streams: &Streams,
    metrics: &Metrics,
    message: &StreamMessage,
    advisory: &Advisory,
) -> Result<(), GiveUpError> {
    let deliveries = advisory.deliveries;
    let Some(frame) = FrameIdentity::of(&message.subject, Some(&message.headers)) else {
        warn!(subject = %message.subject, "removing a message that is not a frame from the queue");
        return Ok(());
    };
    let reason = format!("no detector finished it; it was delivered {deliveries} times");
    metrics.frame_given_up(&frame, &reason);
    // A detector records its attempt before it analyses a frame at its last delivery.
    let name = streams.attempts.get(subjects::attempt(&frame.video, frame.index)).await;
    let name = name.map_err(GiveUpError::server)?;
    let detector = name.map(|name| String::from_utf8_lossy(&name).into_owned());
    let failed = Failed { index: frame.index, reason, detector, deliveries };
    Ok(dead_letter(&streams.publisher, &frame, &failed, message.payload.clone()).await?)
}

async fn give_up_upload(
    streams: &Streams,
    message: &StreamMessage,
    advisory: &Advisory,
) -> Result<(), GiveUpError> {
    let upload = match Upload::parse(&message.payload) {
        Ok(upload) => upload,
        Err(error) => {
            warn!(%error, "removing a message that is not an upload from the queue");
            return Ok(());
        }
    };
    let stored_at = message.time.into();
    let (video, name) = (upload.video(message.sequence, stored_at), upload.name());
    let analyses = upload.clone().analyses(&video);
    if let Some(published) = progress_since_queued(streams, &analyses, message).await? {
        info!(
            %video,
            name,
            published,
            "a video's ingests were interrupted, but made progress: queueing its upload again"
        );
        return requeue(streams, video, upload, message.sequence, published).await;
    }
    let reason = format!("no ingest finished it; it was delivered {} times", advisory.deliveries);
    info!(%video, name, reason, "giving up a video");
    for (video, upload) in analyses {
        let events = [
            ("started", Event::Started(upload.started(stored_at, 1))),
            ("abandoned", Event::Abandoned(Abandoned { reason: reason.clone() })),
        ];
        for (id, event) in events {
            let id = subjects::event_message_id(&video, id);
            streams.publisher.publish_event(&video, Some(&id), event).await?;
        }
    }
    Ok(())
}
