//! Publishes summaries: one is stored for each video, and one for each correction.

use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use moliceiro_nats::messages::{Summary, from_json, to_json};
use moliceiro_nats::publish::StoreError;
use moliceiro_nats::{Streams, VideoId, subjects};

use crate::metrics::Metrics;
use crate::publication::{PublicationError, last_message};

/// Publishes the summary, unless this or a later one is stored. Returns whether it did.
pub(crate) async fn publish_summary(
    streams: &Streams,
    metrics: &Metrics,
    summary: &Summary,
) -> Result<bool, PublicationError> {
    let subject = subjects::summary(&summary.video);
    loop {
        let last = last_message(&streams.summaries, &subject).await?;
        let published = last.as_ref().and_then(read);
        if published.is_some_and(|published| published.corrections >= summary.corrections) {
            return Ok(false);
        }
        let message = PublishMessage::build()
            .message_id(format!("{}/summary/{}", summary.video, summary.corrections))
            .expected_last_subject_sequence(last.map_or(0, |message| message.sequence))
            .payload(to_json(summary).into());
        match streams.publisher.publish_message(&subject, message).await {
            Ok(ack) => {
                if !ack.duplicate {
                    metrics.summary(summary);
                }
                return Ok(!ack.duplicate);
            }
            // Another aggregator was faster: it may have published this one.
            Err(StoreError::NotFirst { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The summary of a video that is published; `None` without one.
pub(crate) async fn published_summary(
    streams: &Streams,
    video: &VideoId,
) -> Result<Option<Summary>, PublicationError> {
    let last = last_message(&streams.summaries, &subjects::summary(video)).await?;
    Ok(last.as_ref().and_then(read))
}

fn read(message: &StreamMessage) -> Option<Summary> {
    from_json(&message.payload).ok()
}
