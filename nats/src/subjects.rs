//! Every name on the wire, in one place.

use crate::VideoId;

/// Stream of videos to be counted.
pub const UPLOADS: &str = "UPLOADS";
/// Stream of frames to be looked at.
pub const FRAMES: &str = "FRAMES";
/// Stream of what happened to each video.
pub const RESULTS: &str = "RESULTS";
/// Stream of summaries and alarms.
pub const SUMMARIES: &str = "SUMMARIES";
/// Stream of a few frames of each video, for people to look at.
pub const STILLS: &str = "STILLS";
/// Stream that keeps the server's own notes about messages that ran out of deliveries.
pub const ADVISORIES: &str = "ADVISORIES";
/// Stream of the payloads that could not be processed.
pub const DEAD: &str = "DEAD";
/// Key-value bucket: one entry for each video.
pub const VIDEOS_BUCKET: &str = "videos";
/// Key-value bucket: what was uploaded with which `Idempotency-Key`.
pub const REQUESTS_BUCKET: &str = "requests";
/// Object store of uploaded bytes.
pub const UPLOADS_BUCKET: &str = "uploads";

/// Key-value bucket: which detector has a frame at its last delivery.
pub const ATTEMPTS_BUCKET: &str = "attempts";

/// Durable consumer of [`UPLOADS`].
pub const INGEST_CONSUMER: &str = "ingest";
/// Durable consumer of [`FRAMES`].
pub const DETECTORS_CONSUMER: &str = "detectors";
/// Durable consumer of [`RESULTS`].
pub const AGGREGATOR_CONSUMER: &str = "aggregator";
/// Durable consumer of [`ADVISORIES`].
pub const DEAD_CONSUMER: &str = "aggregator-dead";

/// Subject of requests for a video's status, with the video's id as their text.
pub const STATUS_SUBJECT: &str = "videos.status";
/// Subject of the upload trigger.
pub const UPLOAD_SUBJECT: &str = "videos.upload";

/// Subjects on which the server says that a message of `stream` ran out of deliveries.
pub fn max_deliveries_advisories(stream: &str) -> String {
    format!("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{stream}.*")
}

/// Subject of one video's frames.
pub fn frames(video: &VideoId) -> String {
    format!("frames.{video}")
}

/// Subject of what happens to one video.
pub fn results(video: &VideoId) -> String {
    format!("results.{video}")
}

/// Subject of one video's summary.
pub fn summary(video: &VideoId) -> String {
    format!("summaries.{video}")
}

/// Subject of one video's alarms.
pub fn alarms(video: &VideoId) -> String {
    format!("alarms.{video}")
}

/// Subject of one of the frames of a video that people may look at.
pub fn still(video: &VideoId, slot: u8) -> String {
    format!("stills.{video}.{slot}")
}

/// Subject of one video's dead frames.
pub fn dead(video: &VideoId) -> String {
    format!("dead.{video}")
}

/// Key in [`ATTEMPTS_BUCKET`] of a frame.
pub fn attempt(video: &VideoId, index: u64) -> String {
    format!("{video}.{index}")
}

/// `Nats-Msg-Id` of a frame, and of the one result that each frame has.
pub fn frame_message_id(video: &VideoId, index: u64) -> String {
    format!("{video}/{index}")
}

/// `Nats-Msg-Id` of an event that a video has at most once, such as `started`.
pub fn event_message_id(video: &VideoId, event: &str) -> String {
    format!("{video}/{event}")
}

/// `Nats-Msg-Id` of a video's alarm, by its number from 1.
pub fn alarm_message_id(video: &VideoId, number: u64) -> String {
    format!("{video}/alarm/{number}")
}
