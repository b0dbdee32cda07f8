use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AlarmRule, Cancelled, Ended, LiveStatus, RuleMatch, Started, Summary, Versioned};
use crate::VideoId;

/// Where a video is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VideoState {
    /// It waits for an ingest.
    Queued,
    /// Frames are being decoded; some may be counted already.
    Decoding,
    /// All frames are decoded; some are not counted yet.
    Counting,
    /// Every frame is counted.
    Done,
    /// Every frame there was is counted, but there should have been more.
    Incomplete,
    /// There was no frame to count.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

/// Its [name](VideoState::name).
impl fmt::Display for VideoState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl VideoState {
    /// As it is written in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Decoding => "decoding",
            Self::Counting => "counting",
            Self::Done => "done",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// True when nothing more will happen to the video.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Incomplete | Self::Failed | Self::Cancelled)
    }
}

/// A frame that could not be looked at, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FailedFrame {
    /// The frame's index.
    pub index: u64,
    /// Why.
    pub reason: String,
}

/// What a frame adds to the totals, kept apart until ingest has confirmed that there is such a
/// frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// The frame's index.
    pub index: u64,
    /// The detector's own time on it, in microseconds.
    pub processing_us: u64,
    /// Objects found in it, by class.
    pub classes: BTreeMap<String, u64>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// What it was looked at with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The alarm rules that hold in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sightings: Vec<RuleMatch>,
}

/// How far the frames of a video are judged by its alarm rules. Frames are judged in their order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AlarmState {
    /// The rules, from the video's first event to its end.
    pub rules: Vec<AlarmRule>,
    /// Every frame with a smaller index is judged.
    pub next: u64,
    /// What holds in counted frames that are not judged yet, because one before them is missing.
    pub ahead: Vec<RuleMatch>,
    /// For each rule, in how many judged frames in a row it holds up to now.
    pub runs: Vec<u32>,
    /// The last alarms, of which it is not known that they are published.
    pub unsent: Vec<RuleMatch>,
}

/// All that is known of a video, as JSON under its id in the `videos` bucket. Only aggregators
/// write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoEntry {
    /// [`super::VERSION`]
    pub version: u8,
    /// The video's identity.
    pub video: VideoId,
    /// Where it is in its life.
    pub state: VideoState,
    /// What ingest said of it first.
    pub started: Started,
    /// Every frame with a smaller index was published.
    pub published: u64,
    /// How many frames that was. Without it, they follow from `published` and [`Started::every`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_frames: Option<u64>,
    /// Where frames are chosen by time: earlier values of `published` and `published_frames`, below
    /// which not all are known yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub milestones: Vec<(u64, u64)>,
    /// How it stands, if it is a live source. What is in it is counted in its windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveStatus>,
    /// How many frames the container announces.
    pub announced: Option<u64>,
    /// What ingest said of it last.
    pub ended: Option<Ended>,
    /// Why it was cancelled, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<Cancelled>,
    /// Frames counted.
    pub counted: u64,
    /// Frames failed.
    pub failed: u64,
    /// The first of those, with reasons.
    pub failures: Vec<FailedFrame>,
    /// Results of frames that ingest has not confirmed yet.
    pub unconfirmed: Vec<Unconfirmed>,
    /// Which frames are counted: a 64-bit Roaring bitmap in its portable format, as base64.
    pub counted_frames: String,
    /// Which frames failed, in the same way.
    pub failed_frames: String,
    /// Frames that failed when the summary was made, and were counted after all.
    pub corrections: u64,
    /// The detectors' own time on the counted frames, in microseconds.
    pub processing_us: u64,
    /// Objects found, by class.
    pub classes: BTreeMap<String, u64>,
    /// What the counted frames were looked at with; of many models, the first few by name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub models: BTreeSet<String>,
    /// Alarms raised.
    #[serde(default)]
    pub alarms: u64,
    /// Where the alarms stand.
    #[serde(default)]
    pub alarm_watch: AlarmState,
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
        self.published_frames.unwrap_or_else(|| self.published.div_ceil(self.started.every.max(1)))
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
