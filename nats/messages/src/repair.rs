//! Frames that were lost on the way, and are decoded again.

use serde::{Deserialize, Serialize};

/// Frames in a row, by their indexes: the first and the last one. Those of them that the video's
/// upload does not select are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameRange(pub u64, pub u64);

/// What an aggregator asks of a video whose frames or whose end are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// From 1; each has message ids of its own.
    pub round: u32,
    /// The frames to publish again, in order. Empty: all that ingest has not confirmed, and the
    /// video's end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<FrameRange>,
}

impl Repair {
    /// More ranges than this are not sent: the last one then reaches to the end of the video.
    pub const MOST_RANGES: usize = 5_000;

    /// What is behind the message id of what this round publishes, after a `/`.
    pub fn token(&self) -> String {
        format!("repair{}", self.round)
    }

    /// True if the frame is to be published again.
    pub fn names(&self, index: u64) -> bool {
        let after = self.frames.partition_point(|range| range.0 <= index);
        after.checked_sub(1).is_some_and(|at| index <= self.frames[at].1)
    }

    /// The index of the first frame to publish again.
    pub fn first(&self) -> u64 {
        self.frames.first().map_or(0, |range| range.0)
    }

    /// The index of the last frame to publish again.
    pub fn last(&self) -> u64 {
        self.frames.last().map_or(u64::MAX, |range| range.1)
    }

    /// True if there are not too many ranges. Those that are not in order name nothing.
    pub(crate) fn is_valid(&self) -> bool {
        self.frames.len() <= Self::MOST_RANGES
    }
}

/// How a video was repaired so far, in its entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairState {
    /// How often its source was asked for again.
    pub rounds: u32,
    /// How often in a row that brought nothing.
    #[serde(default)]
    pub fruitless: u32,
    /// Frames that were missing when it was last asked for.
    #[serde(default)]
    pub missing: u64,
    /// The run of the server that it was last asked on.
    #[serde(default)]
    pub server: String,
    /// Frames that were lost for good.
    #[serde(default)]
    pub lost: u64,
    /// Why those cannot be decoded again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repair_names_frames_by_their_ranges() {
        let repair = Repair {
            round: 2,
            frames: vec![FrameRange(3, 3), FrameRange(7, 9), FrameRange(20, 25)],
        };
        let named: Vec<_> = (0..30).filter(|index| repair.names(*index)).collect();
        assert_eq!(named, [3, 7, 8, 9, 20, 21, 22, 23, 24, 25]);
        assert_eq!((repair.first(), repair.last(), repair.token()), (3, 25, "repair2".into()));
        assert!(repair.is_valid());
        let frames = vec![FrameRange(2, 1); Repair::MOST_RANGES + 1];
        let invalid = Repair { round: 1, frames };
        assert!(!invalid.is_valid() && !invalid.names(2));
    }
}
