use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    AnalyticsSummary, FrameSelection, LiveStatus, Summary, UsedModel, Versioned, VideoEntry,
    VideoState,
};
use crate::VideoId;

/// A video's status, as JSON in the answer to a request on `videos.status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoStatus {
    /// [`super::VERSION`]
    pub version: u8,
    /// The video's identity.
    pub video: VideoId,
    /// Its display name.
    pub name: String,
    /// Where it comes from.
    pub uri: String,
    /// Where it is in its life.
    pub state: VideoState,
    /// When the upload was stored, in milliseconds since 1970-01-01 UTC.
    pub uploaded_at: u64,
    /// Which frames are analysed.
    #[serde(flatten)]
    pub selection: FrameSelection,
    /// Frames to analyse: exact once all are decoded, before that from the container's announced
    /// length, if it has one.
    pub frames: Option<u64>,
    /// Frames analysed so far, with those that are not in `classes` yet.
    pub processed_frames: u64,
    /// Frames that could not be analysed so far.
    pub failed_frames: u64,
    /// Objects found so far, by class.
    pub classes: BTreeMap<String, u64>,
    /// The most objects of a class in one frame so far.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub most_at_once: BTreeMap<String, u64>,
    /// Alarms raised so far.
    pub alarms: u64,
    /// Tracks, lines and zones so far. Left out: nothing is tracked yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analytics: Option<AnalyticsSummary>,
    /// The model that analyses it. Left out until an ingest has started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<UsedModel>,
    /// Status of a live source. Its objects are counted in its windows, which are videos.
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
        let progress = entry.progress();
        Self {
            version: entry.version,
            state: entry.state,
            uploaded_at: entry.started.uploaded_at,
            selection: entry.started.selection,
            frames: progress.total,
            processed_frames: progress.counted,
            failed_frames: progress.failed,
            classes: entry.classes,
            most_at_once: entry.most_at_once,
            alarms: entry.alarms,
            analytics: entry.analytics,
            model: entry.started.model,
            live: entry.live,
            summary: entry.summary,
            video: entry.video,
            name: entry.started.name,
            uri: entry.started.uri,
        }
    }
}
