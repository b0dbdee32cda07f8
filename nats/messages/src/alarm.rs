use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AlarmRule, Condition, Versioned};
use crate::VideoId;

/// A frame in which a rule holds. A short list of numbers in JSON, because an entry may hold many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, Option<u64>, u8, u32)", into = "(u64, Option<u64>, u8, u32)")]
pub struct RuleMatch {
    /// The frame's index.
    pub frame: u64,
    /// The frame's presentation time in nanoseconds.
    pub pts: Option<u64>,
    /// Index of the rule in the video's rules.
    pub rule: u8,
    /// Objects that the rule counted.
    pub count: u32,
}

impl From<(u64, Option<u64>, u8, u32)> for RuleMatch {
    fn from((frame, pts, rule, count): (u64, Option<u64>, u8, u32)) -> Self {
        Self { frame, pts, rule, count }
    }
}

impl From<RuleMatch> for (u64, Option<u64>, u8, u32) {
    fn from(RuleMatch { frame, pts, rule, count }: RuleMatch) -> Self {
        (frame, pts, rule, count)
    }
}

/// An alarm that a rule raised, as JSON on `alarms.<video>`; its [`Display`](fmt::Display) is the
/// line that people read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// [`super::VERSION`]
    pub version: u8,
    /// The video's identity.
    pub video: VideoId,
    /// The video's display name.
    pub name: String,
    /// Number among the video's alarms, from 1.
    pub number: u64,
    /// The index of the frame that raised it.
    pub frame: u64,
    /// That frame's presentation time, in seconds.
    pub time_s: Option<f64>,
    /// The rule that raised it.
    pub rule: AlarmRule,
    /// The class that the rule counts.
    pub label: String,
    /// Objects that the rule counted in the frame.
    pub count: u32,
    /// The track that raised it. Left out: the rule is about several objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<u64>,
}

impl Versioned for Alarm {
    fn version(&self) -> u8 {
        self.version
    }
}

/// Of a rule about the objects of a frame, the line that the system before this one printed, byte
/// for byte.
impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frame, count, label, .. } = self;
        match (&self.rule.condition, self.track) {
            (Condition::Count { .. }, _) => write!(f, "Frame {frame}: {count} <{label}> detected"),
            (_, Some(track)) => write!(f, "Frame {frame}: {} (<{label}> {track})", self.rule),
            (_, None) => write!(f, "Frame {frame}: {} ({count} <{label}>)", self.rule),
        }
    }
}
