//! The fold over a video's results in frame order: tracks, lines, zones and alarms.

use moliceiro_messages::{
    AlarmRule, AnalyticsSummary, Crossing, Line, RaisedAlarm, Size, TrackRecord, TrackerKind,
    Visit, Zone,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What is asked of a video.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// How objects are recognised as the same one.
    pub tracker: TrackerKind,
    /// Lines to count crossings of.
    pub lines: Vec<Line>,
    /// Zones to count visits of.
    pub zones: Vec<Zone>,
    /// When to raise alarms. Those about other classes than `labels` are left out.
    pub alarms: Vec<AlarmRule>,
    /// The classes that count; empty: all.
    pub labels: Vec<String>,
}

/// What was found in a frame.
#[derive(Clone, Copy, Debug)]
pub struct FrameObservations<'a> {
    /// The frame's index.
    pub index: u64,
    /// The frame's presentation time in nanoseconds.
    pub pts: Option<u64>,
    /// Size of the frame, in whose pixels the boxes are. Without it, nothing crosses a line or is
    /// in a zone.
    pub size: Option<Size>,
    /// Objects with a greater score count. The others only continue tracks.
    pub threshold: f32,
    /// All objects, highest score first.
    pub objects: &'a [Observation<'a>],
}

/// An object in a frame.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Its class.
    pub label: &'a str,
    /// The model's confidence, 0 to 1.
    pub score: f32,
    /// Left, top, right, bottom in pixels.
    pub bounds: [f32; 4],
}

/// What the fold finds, in an order that depends on nothing but the results.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// An object belongs to a track.
    Observed(Observed),
    /// A track crossed a line.
    Crossing(Crossing),
    /// A track left a zone.
    Visit(Visit),
    /// A rule raised an alarm.
    Alarm(RaisedAlarm),
    /// A track is finished.
    Track(TrackRecord),
}

/// An object that belongs to a track. It may be one of an earlier frame: a track has a number only
/// once it is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The frame's index.
    pub frame: u64,
    /// The object's place among the frame's objects, from 0.
    pub object: u32,
    /// The track's number.
    pub track: u64,
}

/// The state of the fold between two frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fold {
    version: u8,
    rules: Rules,
}

/// Bytes that are not the state of a fold of this release.
#[derive(Debug, Error)]
pub enum InvalidCheckpoint {
    /// They are not the CBOR of a fold.
    #[error("the state of the analytics cannot be read: {0}")]
    Cbor(String),
    /// Another release wrote them.
    #[error("the state of the analytics has version {0}, not the one of this program ({VERSION})")]
    Version(u8),
}

/// Changes with the state's fields, and with what is computed from the same results.
const VERSION: u8 = 1;

impl Fold {
    /// Before the first frame.
    pub fn new(rules: &Rules) -> Self {
        Self { version: VERSION, rules: rules.clone() }
    }

    /// Continues where `previous` is, in a new video: a window of the same live source. The tracks
    /// and their numbers go on, what is counted begins at 0.
    pub fn continue_from(previous: Self, rules: &Rules) -> Self {
        Self { rules: rules.clone(), ..previous }
    }

    /// The rules it was made with.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Adds a frame. Frames come in the order of their indexes; one that comes too late is left
    /// out.
    pub fn frame(&mut self, _frame: &FrameObservations<'_>, _sink: &mut impl FnMut(Finding)) {}

    /// A frame that could not be analysed: a gap.
    pub fn failed(&mut self, _index: u64, _pts: Option<u64>) {}

    /// Finishes what is open: no frame follows.
    pub fn end(&mut self, _sink: &mut impl FnMut(Finding)) {}

    /// What the frames up to now come to.
    pub fn summary(&self) -> AnalyticsSummary {
        AnalyticsSummary::default()
    }

    /// What all videos since the first one come to, of which this one is the last; see
    /// [`continue_from`](Self::continue_from).
    pub fn source_summary(&self) -> AnalyticsSummary {
        AnalyticsSummary::default()
    }

    /// How many alarms were raised.
    pub fn alarms(&self) -> u64 {
        0
    }

    /// Every frame with a smaller index is in it.
    pub fn next_frame(&self) -> u64 {
        0
    }

    /// The state as CBOR.
    pub fn to_bytes(&self) -> Vec<u8> {
        moliceiro_messages::to_cbor(self, 4096)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidCheckpoint> {
        let fold: Self = ciborium::from_reader(bytes)
            .map_err(|reason| InvalidCheckpoint::Cbor(reason.to_string()))?;
        match fold.version {
            VERSION => Ok(fold),
            other => Err(InvalidCheckpoint::Version(other)),
        }
    }
}
