//! Every name on the server: subjects, streams, consumers, buckets, message ids.

use crate::VideoId;
use crate::messages::{AuditAction, Event, ModelId};

/// Stream of videos to count: a work queue.
pub const UPLOADS: &str = "UPLOADS";
/// Stream of frames to analyse: a work queue.
pub const FRAMES: &str = "FRAMES";
/// Stream of events and results of each video: its log.
pub const RESULTS: &str = "RESULTS";
/// Stream of summaries and alarms.
pub const SUMMARIES: &str = "SUMMARIES";
/// Stream of the finished tracks of each video.
pub const TRACKS: &str = "TRACKS";
/// Stream of thumbnails of each video.
pub const STILLS: &str = "STILLS";
/// Stream of the server's notices about messages that ran out of deliveries.
pub const ADVISORIES: &str = "ADVISORIES";
/// Stream of dead letters: frames that failed.
pub const DEAD: &str = "DEAD";
/// Stream of changes that somebody asked for.
pub const AUDIT: &str = "AUDIT";
/// Key-value bucket with an entry for each video.
pub const VIDEOS_BUCKET: &str = "videos";
/// Key-value bucket with the state of the fold over each unfinished video's results.
pub const FOLDS_BUCKET: &str = "folds";
/// Key-value bucket with the upload for each `Idempotency-Key`.
pub const REQUESTS_BUCKET: &str = "requests";
/// Object store of uploaded bytes.
pub const UPLOADS_BUCKET: &str = "uploads";
/// Object store of models.
pub const MODELS_BUCKET: &str = "models";

/// Key-value bucket with the detector that has a frame at its last delivery.
pub const ATTEMPTS_BUCKET: &str = "attempts";

/// Durable consumer of [`UPLOADS`], shared by ingests.
pub const INGEST_CONSUMER: &str = "ingest";
/// How the names of the durable consumers of [`FRAMES`] begin: see [`detectors_consumer`].
const DETECTORS_CONSUMER: &str = "detectors-";
/// Durable consumer of [`SUMMARIES`] on the private server of `moliceiro run`: what it has printed.
pub const PRINTED_CONSUMER: &str = "printed";
/// Durable consumer of [`RESULTS`], shared by aggregators.
pub const AGGREGATOR_CONSUMER: &str = "aggregator";
/// Durable consumer of [`ADVISORIES`], shared by aggregators.
pub const DEAD_CONSUMER: &str = "aggregator-dead";

/// Subject of requests for a video's status, with the video's id as their text.
pub const STATUS_SUBJECT: &str = "videos.status";
/// Subject of requests to check a model, which detectors answer.
pub const CHECK_MODEL_SUBJECT: &str = "models.check";
/// Subject on which each detector reports once a second what it did.
pub const RATES_SUBJECT: &str = "models.rates";
/// Subject of requests for the work in the queue.
pub const WORK_SUBJECT: &str = "models.work";
/// Subject of uploads.
pub const UPLOAD_SUBJECT: &str = "videos.upload";

/// Frames of all videos, for all models.
pub const ALL_FRAMES: &str = "frames.*.*";
/// Events of all videos, and results of releases before 0.2.
pub const ALL_RESULTS: &str = "results.*";
/// What detectors report of the frames of all videos.
pub const ALL_DETECTIONS: &str = "detections.*";
/// Summaries of all videos.
pub const ALL_SUMMARIES: &str = "summaries.*";
/// Alarms of all videos.
pub const ALL_ALARMS: &str = "alarms.*";
/// Finished tracks of all videos.
pub const ALL_TRACKS: &str = "tracks.*";
/// Thumbnails of all videos.
pub const ALL_STILLS: &str = "stills.*.*";
/// Dead letters of all videos.
pub const ALL_DEAD: &str = "dead.*";
/// All changes.
pub const ALL_AUDIT: &str = "audit.*";

/// Whether a message of [`SUMMARIES`] is an alarm; it is a summary otherwise.
pub fn is_alarm(subject: &str) -> bool {
    subject.starts_with("alarms.")
}

/// Subjects on which the server reports that a message of `stream` ran out of deliveries.
pub fn max_deliveries_advisories(stream: &str) -> String {
    format!("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{stream}.*")
}

/// Subject of a video's frames, for the detectors that have this model.
pub fn frames(model: &ModelId, video: &VideoId) -> String {
    format!("frames.{model}.{video}")
}

/// Subjects of a video's frames, whichever model they are for.
pub fn frames_of(video: &VideoId) -> String {
    format!("frames.*.{video}")
}

/// Subjects of all frames that are for this model.
pub fn frames_for(model: &ModelId) -> String {
    format!("frames.{model}.*")
}

/// The model and the video of a subject of frames.
pub fn parse_frames(subject: &str) -> Option<(ModelId, VideoId)> {
    let (model, video) = subject.strip_prefix("frames.")?.split_once('.')?;
    Some((model.parse().ok()?, VideoId::try_from(video.to_owned()).ok()?))
}

/// The durable consumer of [`FRAMES`] that the detectors of a model share.
pub fn detectors_consumer(model: &ModelId) -> String {
    format!("{DETECTORS_CONSUMER}{model}")
}

/// The model of a consumer that [`detectors_consumer`] names.
pub fn model_of_consumer(consumer: &str) -> Option<ModelId> {
    consumer.strip_prefix(DETECTORS_CONSUMER)?.parse().ok()
}

/// Subject of what detectors report of a video's frames: results and failures, nothing else. A
/// detector need not be permitted to publish on another one.
pub fn detections(video: &VideoId) -> String {
    format!("detections.{video}")
}

/// Subjects of all events and results of a video, in its stream [`RESULTS`].
pub fn log_of(video: &VideoId) -> String {
    format!("*.{video}")
}

/// Subject of a video's event.
pub fn event(video: &VideoId, event: &Event) -> String {
    if event.is_of_detector() { detections(video) } else { results(video) }
}

/// Whether `subject` is one on which this event may be.
pub fn is_of_event(subject: &str, video: &VideoId, event: &Event) -> bool {
    subject == results(video) || (event.is_of_detector() && subject == detections(video))
}

/// Whether an answer to this subject would be a message of Moliceiro, or a request to JetStream.
/// Anyone who may ask a service chooses the subject of the answer.
pub fn is_reserved(subject: &str) -> bool {
    const RESERVED: [&str; 12] = [
        "videos",
        "frames",
        "results",
        "detections",
        "summaries",
        "alarms",
        "tracks",
        "stills",
        "dead",
        "audit",
        "models",
        "$JS",
    ];
    let first = subject.split('.').next().unwrap_or_default();
    RESERVED.contains(&first) || first.starts_with("$KV") || first.starts_with("$O")
}

/// Subject of a video's events, from ingests and aggregators. Releases before 0.2 published results
/// on it too.
pub fn results(video: &VideoId) -> String {
    format!("results.{video}")
}

/// Subject of a video's finished tracks.
pub fn tracks(video: &VideoId) -> String {
    format!("tracks.{video}")
}

/// Message id of a track: it is stored once.
pub fn track_message_id(video: &VideoId, number: u64) -> String {
    format!("{video}/track/{number}")
}

/// Subject of a video's summary.
pub fn summary(video: &VideoId) -> String {
    format!("summaries.{video}")
}

/// Subject of a video's alarms.
pub fn alarms(video: &VideoId) -> String {
    format!("alarms.{video}")
}

/// Subject of a video's thumbnail in `slot`.
pub fn still(video: &VideoId, slot: u8) -> String {
    format!("stills.{video}.{slot}")
}

/// Subject of all thumbnails of a video.
pub fn stills(video: &VideoId) -> String {
    format!("stills.{video}.*")
}

/// Subject of a video's dead letters.
pub fn dead(video: &VideoId) -> String {
    format!("dead.{video}")
}

/// Subject of changes of this kind.
pub fn audit(action: AuditAction) -> String {
    format!("audit.{action}")
}

/// Key in [`ATTEMPTS_BUCKET`] of a frame.
pub fn attempt(video: &VideoId, index: u64) -> String {
    format!("{video}.{index}")
}

/// `Nats-Msg-Id` of a frame, and of its result.
pub fn frame_message_id(video: &VideoId, index: u64) -> String {
    format!("{video}/{index}")
}

/// `Nats-Msg-Id` of an event that happens once to a video, such as `started`.
pub fn event_message_id(video: &VideoId, event: &str) -> String {
    format!("{video}/{event}")
}

/// `Nats-Msg-Id` of a video's alarm, by its number from 1.
pub fn alarm_message_id(video: &VideoId, number: u64) -> String {
    format!("{video}/alarm/{number}")
}
