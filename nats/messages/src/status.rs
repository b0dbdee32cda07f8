use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Fps, LiveStatus, Offset, Summary, Versioned, VideoEntry, VideoState};
use crate::VideoId;

/// How a video stands, as JSON in the answer to a request on `videos.status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoStatus {
    /// [`super::VERSION`]
    pub version: u8,
    /// The video's identity.
    pub video: VideoId,
    /// What people call it.
    pub name: String,
    /// Where it comes from.
    pub uri: String,
    /// Where it is in its life.
    pub state: VideoState,
    /// When the upload was stored, in milliseconds since 1970-01-01 UTC.
    pub uploaded_at: u64,
    /// Each how many-th frame is looked at.
    pub every: u64,
    /// About how many frames per second are looked at, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<Fps>,
    /// Frames before this time are not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Offset>,
    /// Frames at this time or later are not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Offset>,
    /// Frames that are to be looked at: exact once all are decoded, before that as the container
    /// announces, if it does.
    pub frames: Option<u64>,
    /// Frames looked at so far, those included that are not in `classes` yet.
    pub processed_frames: u64,
    /// Frames that could not be looked at so far.
    pub failed_frames: u64,
    /// Objects found so far, by class.
    pub classes: BTreeMap<String, u64>,
    /// Alarms raised so far.
    pub alarms: u64,
    /// How it stands, if it is a live source. What is in it is counted in its windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveStatus>,
    /// The summary, once the state is final.
    pub summary: Option<Summary>,
}

impl Versioned for VideoStatus {
    fn version(&self) -> u8 {
        self.version
    }
}

impl From<VideoEntry> for VideoStatus {
    fn from(entry: VideoEntry) -> Self {
        let waiting = |failed: bool| {
            entry.unconfirmed.iter().filter(|u| u.failure.is_some() == failed).count() as u64
        };
        let announced = entry.announced.and_then(|frames| entry.started.choice().count(frames));
        Self {
            version: entry.version,
            state: entry.state,
            uploaded_at: entry.started.uploaded_at,
            every: entry.started.every,
            fps: entry.started.fps,
            start: entry.started.start,
            end: entry.started.end,
            frames: entry.ended.as_ref().map(|ended| ended.frames).or(announced),
            processed_frames: entry.counted + waiting(false),
            failed_frames: entry.failed + waiting(true),
            classes: entry.classes,
            alarms: entry.alarms,
            live: entry.live,
            summary: entry.summary,
            video: entry.video,
            name: entry.started.name,
            uri: entry.started.uri,
        }
    }
}
