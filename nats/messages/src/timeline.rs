//! What happened at lines and in zones over time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Lines and zones over time, in intervals of equal length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Timeline {
    /// When the first interval begins: at the first frame, in seconds.
    pub start_s: f64,
    /// When the last interval ends: at the last frame, in seconds.
    pub end_s: f64,
    /// Length of an interval, in seconds. The last one may be shorter.
    pub step_s: f64,
    /// Crossings, by line.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lines: BTreeMap<String, LineTimeline>,
    /// Tracks inside, by zone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub zones: BTreeMap<String, ZoneTimeline>,
}

/// Crossings of a line in each interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LineTimeline {
    /// From its left to its right.
    #[serde(rename = "in")]
    pub inwards: Vec<u64>,
    /// From its right to its left.
    #[serde(rename = "out")]
    pub outwards: Vec<u64>,
}

/// How many tracks were in a zone at once in each interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ZoneTimeline {
    /// The fewest.
    pub least: Vec<u64>,
    /// The mean over the interval.
    pub mean: Vec<f64>,
    /// The most.
    pub most: Vec<u64>,
}

impl Timeline {
    /// Intervals of any video: short ones have fewer.
    pub const MOST_INTERVALS: usize = 128;
}
