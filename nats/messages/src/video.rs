use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    AlarmRule, AnalyticsSummary, Cancelled, CarriedRun, Ended, LiveStatus, RepairState, RuleMatch,
    Started, Summary, Versioned, VideoState,
};
use crate::VideoId;

/// A frame that could not be analysed, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FailedFrame {
    /// The frame's index.
    pub index: u64,
    /// Why, on one line.
    pub reason: String,
}

/// What a frame adds to the totals, kept apart until ingest has confirmed that the frame exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// The frame's index.
    pub index: u64,
    /// Time that the detector spent on it, without waiting, in microseconds.
    pub processing_us: u64,
    /// Objects found in it, by class.
    pub classes: BTreeMap<String, u64>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// The model that analysed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The alarm rules that hold in it.
    #[serde(rename = "sightings", default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<RuleMatch>,
}

/// How far the alarm rules have been applied to a video's frames, which happens in frame order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AlarmState {
    /// The video's rules, which never change.
    pub rules: Vec<AlarmRule>,
    /// The rules have been applied to every frame with a smaller index.
    pub next: u64,
    /// Matches in counted frames that wait for a missing frame before them.
    pub ahead: Vec<RuleMatch>,
    /// For each rule, how many frames in a row it has held up to `next`.
    pub runs: Vec<u32>,
    /// The last alarms, which may not be published yet.
    pub unsent: Vec<RuleMatch>,
}

/// Everything known about a video, as JSON under its id in the `videos` bucket. Only aggregators
/// write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoEntry {
    /// [`super::VERSION`]
    pub version: u8,
    /// The video's identity.
    pub video: VideoId,
    /// Where it is in its life.
    pub state: VideoState,
    /// Its beginning, as ingest reported it.
    pub started: Started,
    /// Every frame with a smaller index was published.
    pub published: u64,
    /// How many frames those are. Left out, they follow from `published` and the frame selection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_frames: Option<u64>,
    /// For frames selected by time: earlier values of `published` and `published_frames`, below
    /// which results are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub milestones: Vec<(u64, u64)>,
    /// Status of a live source. Its objects are counted in its windows, which are videos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveStatus>,
    /// Frames according to the container, which may be wrong.
    pub announced: Option<u64>,
    /// Its end, once ingest has reported it.
    pub ended: Option<Ended>,
    /// Who cancelled it, or why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<Cancelled>,
    /// Frames counted, without the unconfirmed ones. Frames that carry the objects of a counted one
    /// are counted.
    pub counted: u64,
    /// Frames failed, without the unconfirmed ones.
    pub failed: u64,
    /// The first failed frames, with reasons.
    pub failures: Vec<FailedFrame>,
    /// Results of frames that ingest has not confirmed yet.
    pub unconfirmed: Vec<Unconfirmed>,
    /// Which frames are counted: a 64-bit Roaring bitmap in its portable format, as base64.
    pub counted_frames: String,
    /// Which frames failed, in the same format.
    pub failed_frames: String,
    /// Which frames carry the objects of another one, in the same format; left out: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub carried_frames: String,
    /// Frames that carry the objects of one that is not counted yet, or that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<CarriedRun>,
    /// Frames that had failed when the summary was written, and were counted afterwards.
    pub corrections: u64,
    /// Time that detectors spent on the counted frames, without waiting, in microseconds.
    pub processing_us: u64,
    /// Objects found, by class.
    pub classes: BTreeMap<String, u64>,
    /// The most objects of a class in one frame.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub most_at_once: BTreeMap<String, u64>,
    /// The models that analysed the counted frames; of many, the first few by name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub models: BTreeSet<String>,
    /// Alarms raised so far.
    #[serde(default)]
    pub alarms: u64,
    /// How far the alarm rules have been applied.
    #[serde(rename = "alarm_watch", default)]
    pub alarm_state: AlarmState,
    /// Tracks, lines and zones up to the first frame without a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analytics: Option<AnalyticsSummary>,
    /// How it was repaired, if something of it was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<RepairState>,
    /// When the last frame was counted, in milliseconds since 1970-01-01 UTC.
    pub finished_at: Option<u64>,
    /// True once the summary is published.
    pub summary_published: bool,
    /// The summary, once the state is final.
    pub summary: Option<Summary>,
}

impl VideoEntry {
    /// How many frames with an index below `published` were published.
    pub fn published_frames(&self) -> u64 {
        self.published_frames
            .unwrap_or_else(|| self.published.div_ceil(self.started.selection.every.max(1)))
    }

    /// True once the video is cancelled, and was not finished before.
    pub fn is_cancelled(&self) -> bool {
        self.state == VideoState::Cancelled
    }
}

impl Versioned for VideoEntry {
    fn version(&self) -> u8 {
        self.version
    }
}
