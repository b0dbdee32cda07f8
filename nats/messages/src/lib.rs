//! What travels between the services (CBOR), and between Moliceiro and everyone else (JSON).
//!
//! Every message has a `version`; unknown fields are ignored, so that a newer sender can be read by
//! an older reader.

mod alarm;
mod event;
mod figures;
mod frame;
mod frame_selection;
mod live;
mod status;
mod summary;
mod thumbnail;
mod upload;
mod video;
mod video_id;

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

pub use alarm::{Alarm, AlarmRule, Comparison, MalformedRule, Region, RuleMatch};
pub use event::{
    Abandoned, Cancelled, Detection, Ended, Event, Failed, FrameResult, Progress, Started,
    VideoEvent,
};
pub use figures::Figures;
pub use frame::{Area, Color, Encoding, Frame, Letterbox, Matrix, Size};
pub use frame_selection::{
    Fps, FrameSelection, InvalidFps, InvalidOffset, Offset, selection_problem,
};
pub use live::{Connection, LiveStatus};
pub use status::VideoStatus;
pub use summary::Summary;
pub use thumbnail::{STILLS, Thumbnail, thumbnail_slot};
pub use upload::{MalformedUpload, Upload, WINDOWS, shown_uri};
pub use video::{AlarmState, FailedFrame, Unconfirmed, VideoEntry, VideoState};
pub use video_id::{InvalidVideoId, VideoId};

/// The version of every message that this code writes, and the only one it reads.
pub const VERSION: u8 = 1;

/// A message that cannot be read. It never will be: it is not worth a retry.
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
        "message version {0} is not the one that this program reads ({VERSION}): run the same release everywhere"
    )]
    Version(u8),
    /// The fields contradict each other.
    #[error("contradictory message: {0}")]
    Contradiction(String),
}

/// A message with a version of its own.
pub trait Versioned {
    /// The version its sender wrote.
    fn version(&self) -> u8;
}

/// The CBOR of a message.
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
        Error::Syntax(at) => format!("no CBOR at byte {at}"),
        Error::Semantic(_, reason) => reason,
        Error::RecursionLimitExceeded => "it is nested too deeply".to_owned(),
    };
    checked(ciborium::from_reader(bytes).map_err(|error| MalformedMessage::Cbor(reason(error)))?)
}

/// The JSON of a message.
pub fn to_json<T: Serialize>(message: &T) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "our messages have string keys only, which is all that JSON asks"
    )]
    serde_json::to_vec(message).expect("JSON into memory")
}

/// Reads a message that [`to_json`] wrote.
pub fn from_json<T: DeserializeOwned + Versioned>(bytes: &[u8]) -> Result<T, MalformedMessage> {
    checked(serde_json::from_slice(bytes)?)
}

/// Now, as messages say it: in milliseconds since 1970-01-01 UTC.
pub fn milliseconds_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX))
}

fn checked<T: Versioned>(message: T) -> Result<T, MalformedMessage> {
    match message.version() {
        VERSION => Ok(message),
        other => Err(MalformedMessage::Version(other)),
    }
}
