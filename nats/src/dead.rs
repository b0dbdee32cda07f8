//! Dead-letters frames that cannot be analysed: the video counts them as failed, and their payloads
//! are kept for people to analyse and replay.

use async_nats::HeaderMap;
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{
    DeleteMessageError, LastRawMessageErrorKind, RawMessageError, Stream,
};
use bytes::Bytes;
use thiserror::Error;

use crate::messages::{Event, Failed, ModelId};
use crate::publish::{Publisher, StoreError};
use crate::subjects;
use crate::{Streams, VideoId};

/// Header of a dead letter: why the frame failed.
pub const REASON: &str = "Moliceiro-Reason";
/// Header of a dead letter: how often the frame was delivered.
pub const DELIVERIES: &str = "Moliceiro-Deliveries";
/// Header of a dead letter: the detector that had the frame last.
pub const DETECTOR: &str = "Moliceiro-Detector";
/// Header of a dead letter: the frame's index.
pub const INDEX: &str = "Moliceiro-Frame";
/// Header of a dead letter: the model that the frame was for.
pub const MODEL: &str = "Moliceiro-Model";

/// The frame that a message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameIdentity {
    /// The model that it is for.
    pub model: ModelId,
    /// The video.
    pub video: VideoId,
    /// The frame's index.
    pub index: u64,
    /// The message's `Nats-Msg-Id`, which its result has too: `<video>/<index>`, or
    /// `<video>/<index>/<token>` of a replayed frame.
    pub message_id: String,
}

impl FrameIdentity {
    /// The identity of a message, from its subject and id, without parsing its payload.
    ///
    /// `None` for a message that an ingest did not send.
    pub fn of(subject: &str, headers: Option<&HeaderMap>) -> Option<Self> {
        let (model, video) = subjects::parse_frames(subject)?;
        let message_id = headers?.get(async_nats::header::NATS_MESSAGE_ID)?.to_string();
        let index = frame_index(&video, &message_id)?;
        Some(Self { model, video, index, message_id })
    }
}

/// The index in the message id of one of the video's frames.
pub(crate) fn frame_index(video: &VideoId, message_id: impl AsRef<str>) -> Option<u64> {
    let mut parts = message_id.as_ref().splitn(3, '/');
    if parts.next()? != video.as_str() {
        return None;
    }
    parts.next()?.parse().ok()
}

/// Publishes that a frame failed, and stores its payload with the reason.
///
/// The failure's message id differs from that of the frame's result: a later result must not be
/// dropped as a duplicate.
pub async fn dead_letter(
    publisher: &Publisher,
    frame: &FrameIdentity,
    failed: &Failed,
    payload: Bytes,
) -> Result<(), StoreError> {
    store_payload(publisher, frame, failed, payload).await?;
    publisher
        .publish_event(
            &frame.video,
            Some(&format!("{}/failed", frame.message_id)),
            Event::Failed(failed.clone()),
        )
        .await
}

async fn store_payload(
    publisher: &Publisher,
    frame: &FrameIdentity,
    failed: &Failed,
    payload: Bytes,
) -> Result<(), StoreError> {
    let one_line = |text: &str| text.replace(['\r', '\n'], " ");
    let mut message = PublishMessage::build()
        .message_id(format!("dead/{}", frame.message_id))
        .header(REASON, one_line(&failed.reason).as_str())
        .header(DELIVERIES, failed.deliveries.to_string().as_str())
        .header(INDEX, failed.index.to_string().as_str())
        .header(MODEL, frame.model.to_string().as_str());
    if let Some(detector) = &failed.detector {
        message = message.header(DETECTOR, one_line(detector).as_str());
    }
    publisher
        .publish_message(&subjects::dead(&frame.video), message.payload(payload))
        .await
        .map(drop)
}

/// A frame that failed, as the stream `DEAD` keeps it.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The message's sequence in that stream.
    pub sequence: u64,
    /// From the subject.
    pub video: VideoId,
    /// From the headers: the model that the frame was for.
    pub model: ModelId,
    /// From the headers: the frame's index, and why it failed.
    pub failed: Failed,
    /// The frame's message as it was in `FRAMES`; it may be malformed.
    pub payload: Bytes,
}

impl DeadLetter {
    fn of(message: StreamMessage) -> Option<Self> {
        let header = |name: &str| message.headers.get(name).map(|value| value.to_string());
        let failed = Failed {
            index: header(INDEX)?.parse().ok()?,
            reason: header(REASON).unwrap_or_default(),
            detector: header(DETECTOR),
            deliveries: header(DELIVERIES)?.parse().ok()?,
        };
        let video = VideoId::of_subject(&message.subject)?;
        // Before models had names, there was only one in the queue.
        let model = header(MODEL).and_then(|model| model.parse().ok()).unwrap_or_default();
        Some(Self { sequence: message.sequence, video, model, failed, payload: message.payload })
    }
}

/// The dead letters, oldest first: of one video or all, of one frame or all. Skips messages that
/// are not dead letters.
pub async fn letters(
    dead: &Stream,
    video: Option<&VideoId>,
    index: Option<u64>,
) -> Result<Vec<DeadLetter>, RawMessageError> {
    let filter = video.map_or_else(|| subjects::ALL_DEAD.to_owned(), subjects::dead);
    let (mut letters, mut next) = (Vec::new(), 1);
    loop {
        let message = match dead.get_first_raw_message_by_subject(&filter, next).await {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                return Ok(letters);
            }
            Err(error) => return Err(error),
        };
        next = message.sequence + 1;
        letters.extend(
            DeadLetter::of(message)
                .filter(|letter| index.is_none_or(|index| letter.failed.index == index)),
        );
    }
}

/// Queues the frame again, then deletes the dead letter.
pub async fn replay(streams: &Streams, letter: &DeadLetter) -> Result<(), ReplayError> {
    let id = format!(
        "{}/{}",
        subjects::frame_message_id(&letter.video, letter.failed.index),
        nuid::next()
    );
    streams
        .publisher
        .publish(&subjects::frames(&letter.model, &letter.video), &id, letter.payload.clone())
        .await?;
    streams.dead.delete_message(letter.sequence).await?;
    Ok(())
}

/// A dead letter that was not replayed, or not deleted afterwards: a frame that is replayed twice
/// counts once.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The frame is not queued.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The frame is queued, and the dead letter remains.
    #[error("the frame is queued, but the dead letter could not be deleted: {0}")]
    Remove(#[from] DeleteMessageError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_identified_by_its_subject_and_message_id() {
        let identity = |subject: &str, id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", id);
            FrameIdentity::of(subject, Some(&headers))
                .map(|frame| (frame.video.to_string(), frame.index))
        };
        assert_eq!(identity("frames.boats@3.a-1", "a-1/7"), Some(("a-1".into(), 7)));
        assert_eq!(identity("frames.nanodet.a-1", "a-1/7/again"), Some(("a-1".into(), 7)));
        for (subject, id) in [
            ("frames.boats.a-1", "b-1/7"),
            ("frames.boats.a-1", "a-1"),
            ("frames.boats.a-1", "a-1/x"),
            ("frames.a-1", "a-1/7"),
            ("frames.a.b.a-1", "a-1/7"),
            ("frames", "a-1/7"),
        ] {
            assert_eq!(identity(subject, id), None, "{subject} {id}");
        }
        assert_eq!(FrameIdentity::of("frames.boats.a-1", None), None);
    }
}
