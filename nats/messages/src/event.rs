use serde::{Deserialize, Serialize};

use super::{
    AlarmRule, Carried, Fingerprint, FrameResult, FrameSelection, LiveStatus, LiveWindow, ModelId,
    Skipped, Tracking, UsedModel, VERSION, Versioned,
};
use crate::VideoId;

/// The version of results: those with version 1, from before 0.2, can be read too.
pub const RESULT_VERSION: u8 = 2;

/// An event in a video's life, as CBOR on `results.<video>`; what a detector reports, on
/// `detections.<video>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoEvent {
    /// [`RESULT_VERSION`] for a result of this release, otherwise [`VERSION`].
    pub version: u8,
    /// The video it happened to.
    pub video: VideoId,
    /// What happened.
    pub event: Event,
}

impl VideoEvent {
    /// The event in this release's version.
    pub fn new(video: VideoId, event: Event) -> Self {
        let is_new = matches!(&event, Event::Frame(result) if result.objects.limits().is_some());
        Self { version: if is_new { RESULT_VERSION } else { VERSION }, video, event }
    }
}

impl Versioned for VideoEvent {
    fn version(&self) -> u8 {
        self.version
    }

    fn is_readable(&self) -> bool {
        let is_result = matches!(self.event, Event::Frame(_));
        self.version == VERSION || (is_result && self.version == RESULT_VERSION)
    }
}

/// What can happen to a video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Its upload is stored, and waits for an ingest. A `Started` replaces it.
    Queued(Started),
    /// An ingest started it. A take-over by another ingest repeats it, which changes nothing.
    Started(Started),
    /// How far its frames are published; sent now and then.
    Progress(Progress),
    /// As `Progress`, of a video whose still frames are skipped.
    Carried(Carried),
    /// A frame was analysed.
    Frame(FrameResult),
    /// A frame cannot be analysed.
    Failed(Failed),
    /// The status of a live source.
    Live(LiveStatus),
    /// All its frames are published.
    Ended(Ended),
    /// No ingest will publish the rest of its frames.
    Abandoned(Abandoned),
    /// What is missing of it now cannot be decoded again: those frames fail.
    Lost(Lost),
    /// It was cancelled: later events change nothing, unless it was finished before.
    Cancelled(Cancelled),
}

impl Event {
    /// Whether detectors report it. They may not report anything else.
    pub fn is_of_detector(&self) -> bool {
        matches!(self, Self::Frame(_) | Self::Failed(_))
    }
}

/// How a video starts: what its upload asks for, completed by the ingest's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// Its display name.
    pub name: String,
    /// Where it comes from, without a password.
    pub uri: String,
    /// Which frames are analysed.
    #[serde(flatten)]
    pub selection: FrameSelection,
    /// When the upload was stored, in milliseconds since 1970-01-01 UTC.
    pub uploaded_at: u64,
    /// Alarms that its upload asks for; `None`: those of the aggregator's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarms: Option<Vec<AlarmRule>>,
    /// Tracks, lines and zones.
    #[serde(flatten)]
    pub tracking: Tracking,
    /// If it is a window of a live source: which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<LiveWindow>,
    /// The classes that are counted; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The local file, when it was submitted or first opened. Another file with the same path is
    /// another video.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// The model that analyses it, to its end. Left out: its ingest has not started it yet, or is
    /// older than models with names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<UsedModel>,
}

impl Started {
    /// The model whose detectors get its frames.
    pub fn model(&self) -> ModelId {
        self.model.as_ref().map(|used| used.name.clone()).unwrap_or_default()
    }
}

/// How far a video's frames are published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Every frame with a smaller index is stored in the queue. A take-over resumes from here.
    pub published: u64,
    /// How many frames those are. Left out, they follow from `published` and the frame selection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frames: Option<u64>,
    /// Frames according to the container, which may be wrong: for progress bars only.
    pub announced: Option<u64>,
}

/// A frame that was given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// The frame's index.
    pub index: u64,
    /// Why, on one line.
    pub reason: String,
    /// Name of the detector that gave it up; `None` if it was lost with its detector.
    pub detector: Option<String>,
    /// How often the frame was delivered.
    pub deliveries: u64,
}

/// The end of a video's frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Frames published, those included that carry the objects of another one: each is counted or
    /// failed before the video is done.
    pub frames: u64,
    /// Frames decoded. All indexes are below it.
    pub decoded: u64,
    /// Time from the first decoded frame to the end of the last one, in nanoseconds.
    pub duration: Option<u64>,
    /// Why frames are missing, if some are.
    pub problem: Option<String>,
    /// What a user should know about it although nothing is missing, each on one line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
    /// Frames that are not among `frames`, by the reason. Left out: it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Skipped>,
}

/// A video whose remaining frames will not be published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Abandoned {
    /// Why, on one line.
    pub reason: String,
}

/// The frames that are missing when this comes will never come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Why they cannot be decoded again, on one line.
    pub reason: String,
}

/// A video that a client stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// Why, or by whom.
    pub reason: String,
}
