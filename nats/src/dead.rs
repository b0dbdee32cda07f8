//! Giving up a frame: its video counts it as failed, and its payload is kept for a person to look at.

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;

use crate::VideoId;
use crate::messages::{Event, Failed};
use crate::publish::{StoreError, store_event, store_message};
use crate::subjects;

/// Header of a dead letter: why it was given up.
pub const REASON: &str = "Moliceiro-Reason";
/// Header of a dead letter: how often it was handed out.
pub const DELIVERIES: &str = "Moliceiro-Deliveries";
/// Header of a dead letter: the detector that gave it up.
pub const DETECTOR: &str = "Moliceiro-Detector";
/// Header of a dead letter: the index of its frame.
pub const INDEX: &str = "Moliceiro-Frame";

/// Which frame a message is, told without opening it: by its subject and its `Nats-Msg-Id`.
///
/// A message that no ingest sent has no such id, and is no video's frame.
pub fn frame_identity(subject: &str, headers: Option<&HeaderMap>) -> Option<(VideoId, u64)> {
    let video = VideoId::of_subject(subject)?;
    let id = headers?.get(async_nats::header::NATS_MESSAGE_ID)?.as_str();
    let (named, index) = id.rsplit_once('/')?;
    let index = index.parse().ok()?;
    (named == video.as_str()).then_some((video, index))
}

/// Stores that a frame failed, under the id that its result would have had: the first of the two is the one that counts.
pub async fn store_failed(jetstream: &Context, video: &VideoId, failed: &Failed) -> Result<(), StoreError> {
    let id = subjects::frame_message_id(video, failed.index);
    store_event(jetstream, video, Some(&id), Event::Failed(failed.clone())).await
}

/// Keeps the payload of a failed frame, and why it failed.
pub async fn store_payload(jetstream: &Context, video: &VideoId, failed: &Failed, payload: Bytes) -> Result<(), StoreError> {
    let one_line = |text: &str| text.replace(['\r', '\n'], " ");
    let mut message = PublishMessage::build()
        .message_id(format!("dead/{}", subjects::frame_message_id(video, failed.index)))
        .header(REASON, one_line(&failed.reason).as_str())
        .header(DELIVERIES, failed.deliveries.to_string().as_str())
        .header(INDEX, failed.index.to_string().as_str());
    if let Some(detector) = &failed.detector {
        message = message.header(DETECTOR, one_line(detector).as_str());
    }
    store_message(jetstream, &subjects::dead(video), message.payload(payload)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_known_by_its_subject_and_message_id() {
        let identity = |subject: &str, id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", id);
            frame_identity(subject, Some(&headers)).map(|(video, index)| (video.to_string(), index))
        };
        assert_eq!(identity("frames.a-1", "a-1/7"), Some(("a-1".into(), 7)));
        for (subject, id) in [("frames.a-1", "b-1/7"), ("frames.a-1", "a-1"), ("frames.a-1", "a-1/x"), ("frames", "a-1/7")] {
            assert_eq!(identity(subject, id), None, "{subject} {id}");
        }
        assert_eq!(frame_identity("frames.a-1", None), None);
    }
}
