//! The messages between Moliceiro's services (CBOR), and between Moliceiro and its clients (JSON).
//!
//! In the order of a video's life:
//!
//! 1. [`Upload`] asks for a video ([`VideoId`]) to be counted, by a model ([`ModelId`]), whose
//!    [`ModelDescription`] says which pictures it takes.
//! 2. Ingest reports [`Started`], publishes each [`Frame`] that the [`FrameSelection`] selects, a
//!    [`Thumbnail`] now and then, and reports [`Ended`].
//! 3. A detector reports a [`FrameResult`] with its [`Objects`], or [`Failed`].
//! 4. The aggregator keeps a [`VideoEntry`], from which [`VideoStatus`] and [`VideoProgress`]
//!    follow; it raises an [`Alarm`] when an [`AlarmRule`] holds, and publishes the [`Summary`].
//! 5. Where objects are tracked ([`TrackerKind`]), it counts them at [`Line`]s and in [`Zone`]s: an
//!    [`AnalyticsSummary`] says what they come to, and a [`Timeline`] when.
//!
//! Detectors report their [`DetectorRates`]; with these, [`QueuedWork`] says how long the frames in
//! the queue take.
//!
//! Every message has a `version`. Readers ignore unknown fields, so they can read newer senders.
//!
//! ```
//! use moliceiro_messages::{AlarmRule, Upload, to_json};
//!
//! let mut upload = Upload::parse(b"file:///data/a.mp4")?;
//! upload.selection.every = Some(25);
//! upload.alarms = Some(vec!["person > 10".parse::<AlarmRule>()?]);
//! assert_eq!(Upload::parse(&to_json(&upload))?.name(), "a.mp4");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alarm;
mod alarm_rule;
mod analytics;
mod audit;
mod carried;
mod classes;
mod color;
mod deinterlace;
mod event;
mod fingerprint;
mod fit;
mod frame;
mod frame_result;
mod frame_selection;
mod live;
mod model;
mod objects;
mod place;
mod printable;
mod repair;
mod scaling;
mod score;
mod skipped;
mod status;
mod summary;
mod thumbnail;
mod timeline;
mod tracker_kind;
mod tracking;
mod upload;
mod video;
mod video_id;
mod video_progress;
mod video_state;
mod work;

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

pub use alarm::{Alarm, RuleMatch};
pub use alarm_rule::{AlarmRule, Comparison, Condition, MalformedRule, Region, RuleProblem};
pub use analytics::{
    AnalyticsSummary, Crossing, Dwell, Instant, LineCrossed, LineSummary, Occupancy, PathPoint,
    RaisedAlarm, TimeInZone, TrackRecord, VideoTrack, Visit, ZoneSummary,
};
pub use audit::{AuditAction, AuditRecord};
pub use carried::{Carried, CarriedFrame, CarriedRun};
pub use classes::{Advice, UnknownClass, nearest, plural};
pub use color::{Color, Matrix};
pub use deinterlace::{Deinterlace, InvalidDeinterlace};
pub use event::{
    Abandoned, Cancelled, Ended, Event, Failed, Lost, Progress, RESULT_VERSION, Started, VideoEvent,
};
pub use fingerprint::Fingerprint;
pub use fit::{Fit, InvalidFit};
pub use frame::{Area, Encoding, Frame, FrameContradiction, Letterbox, Size};
pub use frame_result::{Detection, FrameResult};
pub use frame_selection::{
    Fps, FrameSelection, InvalidFps, InvalidOffset, InvalidSelection, Offset, RequestedSelection,
};
pub use live::{Connection, LiveStatus, LiveWindow};
pub use model::{
    BUILTIN_MODELS, DEFAULT_MODEL, InvalidModelId, ModelDescription, ModelId, UsedModel,
};
pub use objects::{InvalidObjects, Limits, Object, Objects};
pub use place::{
    Anchor, Direction, InvalidPlaces, Line, MOST_PLACES, MalformedPlace, PlaceKind, PlaceProblem,
    Zone, check_places,
};
pub use printable::printable;
pub use repair::{FrameRange, Repair, RepairState};
pub use scaling::Scaling;
pub use score::Score;
pub use skipped::Skipped;
pub use status::VideoStatus;
pub use summary::Summary;
pub use thumbnail::{STILLS, Thumbnail, thumbnail_slot};
pub use timeline::{LineTimeline, Timeline, ZoneTimeline};
pub use tracker_kind::{InvalidTracker, TrackerKind};
pub use tracking::{TrackedCounts, Tracking};
pub use upload::{
    InvalidField, MalformedUpload, Upload, UploadDefaults, WINDOWS, naming_field, shown_uri,
};
pub use video::{AlarmState, FailedFrame, Unconfirmed, VideoEntry};
pub use video_id::{InvalidVideoId, VideoId};
pub use video_progress::VideoProgress;
pub use video_state::VideoState;
pub use work::{DetectorRates, ModelRate, ModelWork, QueuedWork};

/// The version of every message that this code writes, and the only one that it reads, except for
/// [results](RESULT_VERSION).
pub const VERSION: u8 = 1;

/// A message that cannot be read. A retry does not help.
#[derive(Debug, Error)]
pub enum MalformedMessage {
    /// The bytes are not the CBOR of this message.
    #[error("not a CBOR message of this kind: {0}")]
    Cbor(String),
    /// The bytes are not the JSON of this message.
    #[error("not a JSON message of this kind: {0}")]
    Json(#[from] serde_json::Error),
    /// Another release of Moliceiro wrote it.
    #[error(
        "message version {0} is not the one that this program reads ({VERSION}): \
         run the same release everywhere"
    )]
    Version(u8),
    /// A frame's fields contradict each other.
    #[error("contradictory message: {0}")]
    Contradiction(#[from] FrameContradiction),
}

/// A message that has a `version`.
pub trait Versioned {
    /// The version that its sender wrote.
    fn version(&self) -> u8;

    /// True if this program can read it.
    fn is_readable(&self) -> bool {
        self.version() == VERSION
    }
}

/// A message as CBOR. `capacity` is about how many bytes it takes.
pub fn to_cbor<T: Serialize>(message: &T, capacity: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(capacity);
    #[expect(
        clippy::expect_used,
        reason = "writing to memory cannot fail, and our messages have no value that CBOR lacks"
    )]
    ciborium::into_writer(message, &mut bytes).expect("CBOR into memory");
    bytes
}

/// Reads a message that [`to_cbor`] wrote.
pub fn from_cbor<T: DeserializeOwned + Versioned>(bytes: &[u8]) -> Result<T, MalformedMessage> {
    use ciborium::de::Error;
    let reason = |error| match error {
        Error::Io(_) => "it ends too early".to_owned(),
        Error::Syntax(at) => format!("not CBOR at byte {at}"),
        Error::Semantic(_, reason) => reason,
        Error::RecursionLimitExceeded => "it is nested too deeply".to_owned(),
    };
    checked(ciborium::from_reader(bytes).map_err(|error| MalformedMessage::Cbor(reason(error)))?)
}

/// A message as JSON, on one line.
pub fn to_json<T: Serialize>(message: &T) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "our messages have string keys only, all that JSON requires"
    )]
    serde_json::to_vec(message).expect("JSON into memory")
}

/// Reads a message that [`to_json`] wrote.
pub fn from_json<T: DeserializeOwned + Versioned>(bytes: &[u8]) -> Result<T, MalformedMessage> {
    checked(serde_json::from_slice(bytes)?)
}

/// Now, in the unit of messages: milliseconds since 1970-01-01 UTC.
pub fn milliseconds_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX))
}

fn checked<T: Versioned>(message: T) -> Result<T, MalformedMessage> {
    if message.is_readable() {
        Ok(message)
    } else {
        Err(MalformedMessage::Version(message.version()))
    }
}
