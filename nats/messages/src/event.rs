use serde::{Deserialize, Serialize};

use super::{AlarmRule, Fps, FrameSelection, LiveStatus, Offset, Size, Versioned};
use crate::VideoId;

/// Something that happened to a video, as CBOR on `results.<video>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoEvent {
    /// [`super::VERSION`]
    pub version: u8,
    /// The video it happened to.
    pub video: VideoId,
    /// What happened.
    pub event: Event,
}

impl VideoEvent {
    /// The event, ready to be published.
    pub fn new(video: VideoId, event: Event) -> Self {
        Self { version: super::VERSION, video, event }
    }
}

impl Versioned for VideoEvent {
    fn version(&self) -> u8 {
        self.version
    }
}

/// What can happen to a video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Its upload is stored, and waits for an ingest. Changes nothing once a `Started` is known,
    /// which takes its place.
    Queued(Started),
    /// An ingest took it up. Said once; a take-over repeats it, which changes nothing.
    Started(Started),
    /// How far its frames are published, from time to time.
    Progress(Progress),
    /// A frame was looked at.
    Frame(FrameResult),
    /// A frame can never be looked at.
    Failed(Failed),
    /// How the live source that it is stands.
    Live(LiveStatus),
    /// All its frames are published.
    Ended(Ended),
    /// No ingest will publish the rest of its frames.
    Abandoned(Abandoned),
    /// Somebody wants no more of it: what comes later changes nothing, unless it was finished
    /// before.
    Cancelled(Cancelled),
}

/// The beginning of a video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// What people call it.
    pub name: String,
    /// Where it comes from.
    pub uri: String,
    /// Each how many-th frame is looked at.
    pub every: u64,
    /// About how many frames per second are looked at; all, if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<Fps>,
    /// Frames before this time are not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Offset>,
    /// Frames at this time or later are not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Offset>,
    /// When the upload was stored, in milliseconds since 1970-01-01 UTC.
    pub uploaded_at: u64,
    /// Alarms that its upload asks for; `None`: as the aggregator is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarms: Option<Vec<AlarmRule>>,
    /// The classes that count; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

impl Started {
    /// Which frames are looked at.
    pub fn choice(&self) -> FrameSelection {
        FrameSelection { every: self.every, fps: self.fps, start: self.start, end: self.end }
    }
}

/// How far a video's frames are published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Every frame with a smaller index is stored in the queue. A take-over goes on from here.
    pub published: u64,
    /// How many frames those are. Without it, they follow from `published` and [`Started::every`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames: Option<u64>,
    /// How many frames the container announces. It may lie: good for a progress bar and nothing
    /// else.
    pub announced: Option<u64>,
}

/// What a detector found in a frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameResult {
    /// The frame's index.
    pub index: u64,
    /// The frame's presentation time in nanoseconds.
    pub pts: Option<u64>,
    /// When it was decoded, in milliseconds since 1970-01-01 UTC.
    #[serde(default)]
    pub decoded_at: Option<u64>,
    /// What is in it, best first.
    pub detections: Vec<Detection>,
    /// Width and height of the video's own upright frame, which the boxes are in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Time the detector itself spent on the frame, without waiting, in microseconds.
    pub processing_us: u64,
    /// Which detector.
    pub detector: String,
    /// What it looked with: the name of a built-in model, or of the model's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// One object in one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Its class.
    pub label: String,
    /// 0 to 1.
    pub score: f32,
    /// Left, top, right, bottom in pixels of the video's own upright frame.
    #[serde(rename = "box")]
    pub bounds: [f32; 4],
}

/// A frame that was given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// The frame's index.
    pub index: u64,
    /// Why.
    pub reason: String,
    /// Which detector gave it up, if one lived to say so.
    pub detector: Option<String>,
    /// How often the frame was handed out.
    pub deliveries: u64,
}

/// The end of a video's frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// How many frames were published: each of them is counted or failed before the video is done.
    pub frames: u64,
    /// How many frames were decoded. All indexes are below it.
    pub decoded: u64,
    /// Time that the decoded frames cover, in nanoseconds.
    pub duration: Option<u64>,
    /// Why there are not more frames, if there should be.
    pub problem: Option<String>,
}

/// A video that was given up before its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Abandoned {
    /// Why.
    pub reason: String,
}

/// A video that somebody stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// Why, or by whom.
    pub reason: String,
}
